"""Reads a drill as a line in time: how much was done when, and how long nothing was.

Pure; every moment is in seconds of one clock.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Episode", "Gap", "Sighting", "longest_gap", "rates", "reigns"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One fault, from its strike until it was mended.

    Attributes:
        name: What was done, such as ``"SIGKILL"``.
        node: To which node.
        started_s: When it struck.
        ended_s: When it was mended: the node started again, or thawed; for a step-down, a new primary seen.
        elected_s: When another primary was first seen; None where none was.
    """

    name: str
    node: str
    started_s: float
    ended_s: float
    elected_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time in which nothing happened."""

    started_s: float
    ended_s: float

    @property
    def length_s(self) -> float:
        """How long it was."""
        return self.ended_s - self.started_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Which node was seen to be primary at a moment; None where none was."""

    at_s: float
    node: str | None


def longest_gap(moments: Iterable[float], *, started_s: float, ended_s: float) -> Gap:
    """The longest time without one of `moments`; the start and the end of the drill count as moments.

    Raises:
        LabError: The drill ends before it starts.
    """
    if ended_s < started_s:
        raise LabError(f"A drill cannot end {started_s - ended_s:.1f} s before it starts.")
    inside = sorted(moment for moment in moments if started_s <= moment <= ended_s)
    edges = [started_s, *inside, ended_s]
    at = max(range(len(edges) - 1), key=lambda place: edges[place + 1] - edges[place])
    return Gap(started_s=edges[at], ended_s=edges[at + 1])


def rates(moments: Iterable[float], *, started_s: float, ended_s: float, width_s: float = 0.5) -> list[float]:
    """How many of `moments` a second, for each slice of `width_s` from the start on.

    Raises:
        LabError: A slice has no width.
    """
    if width_s <= 0:
        raise LabError(f"A slice of {width_s:g} s holds nothing; give it a width above 0.")
    ordered = sorted(moments)
    found: list[float] = []
    slices = max(1, -int(-(ended_s - started_s) // width_s))
    for place in range(slices):
        low, high = started_s + place * width_s, started_s + (place + 1) * width_s
        found.append((bisect.bisect_left(ordered, high) - bisect.bisect_left(ordered, low)) / width_s)
    return found


def reigns(sightings: Sequence[Sighting], *, ended_s: float) -> list[tuple[str, Gap]]:
    """Who was primary from when to when; a time without one is in none of them."""
    found: list[tuple[str, Gap]] = []
    for place, sighting in enumerate(sightings):
        until_s = sightings[place + 1].at_s if place + 1 < len(sightings) else ended_s
        if sighting.node is None or until_s <= sighting.at_s:
            continue
        if found and found[-1][0] == sighting.node and found[-1][1].ended_s == sighting.at_s:
            found[-1] = (sighting.node, Gap(started_s=found[-1][1].started_s, ended_s=until_s))
        else:
            found.append((sighting.node, Gap(started_s=sighting.at_s, ended_s=until_s)))
    return found
