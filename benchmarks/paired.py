"""Sides that take turns, call by call, and what one of them takes more than another: for the benchmarks beside this."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Spread", "Times", "difference", "measure", "ratio", "tenth"]

_WARM_UP = 60
_BLOCKS = 30
_RESAMPLES = 2000


class Times:
    """The calls of one side, in the order in which they were made; microseconds."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []


@dataclass(frozen=True)
class Spread:
    """How one side compares to another, and where that would lie in 95 of 100 such runs."""

    middle: float
    low: float
    high: float

    def shown(self, form: str) -> str:
        """All three in a format."""
        return f"{self.middle:{form}} ({self.low:{form}} to {self.high:{form}})"


def measure(sides: Mapping[str, Callable[[], Any]], seconds: float, in_a_row: int = 1) -> dict[str, Times]:
    """Call the sides in turn, each so often in a row, for as long as given; the order rotates."""
    found = {name: Times() for name in sides}
    names = list(sides)
    ends = time.perf_counter() + seconds
    number = -_WARM_UP
    while time.perf_counter() < ends or number < _BLOCKS:
        order = names if number % 2 else names[::-1]
        shift = number % len(order)
        for name in order[shift:] + order[:shift]:
            for _ in range(in_a_row):
                wall_us, cpu_us = _timed(sides[name])
                if number >= 0:
                    found[name].wall.append(wall_us)
                    found[name].cpu.append(cpu_us)
        number += 1
    return found


def _timed(function: Callable[[], Any]) -> tuple[float, float]:
    """One call in microseconds, by the wall and by the processor."""
    cpu = time.thread_time_ns()
    began = time.perf_counter_ns()
    function()
    ended = time.perf_counter_ns()
    return (ended - began) / 1e3, (time.thread_time_ns() - cpu) / 1e3


def tenth(times: Sequence[float]) -> float:
    """The time that a tenth of the calls stays below: that of a call which nothing has disturbed."""
    return sorted(times)[len(times) // 10]


def difference(
    base: Sequence[float], other: Sequence[float], *, of: Callable[[Sequence[float]], float] = statistics.median
) -> Spread:
    """The difference of the medians, or of whatever else is to stand for a block of calls."""
    return _compared(base, other, lambda mine, theirs: theirs - mine, of)


def ratio(base: Sequence[float], other: Sequence[float]) -> Spread:
    """How often the one's median goes into the other's."""
    return _compared(base, other, lambda mine, theirs: theirs / mine, statistics.median)


def _compared(
    base: Sequence[float],
    other: Sequence[float],
    how: Callable[[float, float], float],
    of: Callable[[Sequence[float]], float],
) -> Spread:
    """Compare two sides within blocks of neighbouring calls, with the interval of a bootstrap over blocks.

    Blocks, since neighbours share the state of the machine: single calls are no independent samples.
    """
    size = len(base) // _BLOCKS
    spans = [slice(n * size, (n + 1) * size) for n in range(_BLOCKS)]
    blocks = [how(of(base[span]), of(other[span])) for span in spans]
    chance = random.Random(1)  # the same data give the same interval
    medians = sorted(statistics.median(chance.choices(blocks, k=_BLOCKS)) for _ in range(_RESAMPLES))
    tail = _RESAMPLES // 40
    return Spread(statistics.median(blocks), medians[tail], medians[-1 - tail])
