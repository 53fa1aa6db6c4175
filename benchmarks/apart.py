"""Sides that take turns, each in a process of its own: for the benchmarks beside this.

Sides that share a process falsify each other. CPython keeps in the bytecode of a driver which classes it has met
there, so a client of one class slows down the calls of another; and whichever side runs least finds its own code
coldest. Measured on one ``get``: with three plain sides and one of ours in turn, ours took 32 us more; with one plain
side and three of ours, nothing more. An application has but one kind.

A process has its own luck too: where its objects lie in memory is worth some microseconds to every call it will ever
make. So each side has several, whose calls count as one side's.
"""

from __future__ import annotations

import ast
import gc
import json
import multiprocessing
import time
from typing import TYPE_CHECKING, Any

from paired import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection
    from types import TracebackType

    from typing_extensions import Self

    Operations = Mapping[str, Callable[[], Any]]
    Prepare = Callable[..., Operations]

__all__ = ["Sides"]

_WARM_UP = 60
_LEAST_TURNS = 4
_STARTS_S = 60.0
_LEAVES_S = 10.0


class Sides:
    """Processes, as many for each side as told; a context manager.

    Args:
        prepare: Makes the operations of a side in its process; importable, since that process begins empty.
        sides: What `prepare` is given, for each side by its name.
        work: Whether something else is done before each call, as an application does between two waits for a server.
            Without, the caches of the processor hold little but what is measured.
        twins: Processes for each side.
    """

    def __init__(self, prepare: Prepare, sides: Mapping[str, tuple[Any, ...]], *, work: bool, twins: int = 2) -> None:
        self._prepare = prepare
        self._sides = sides
        self._work = work
        self._twins = twins
        self._pipes: list[tuple[str, Connection]] = []
        self._processes: list[Any] = []

    def __enter__(self) -> Self:
        fresh = multiprocessing.get_context("spawn")
        for name, given in [*self._sides.items()] * self._twins:
            ours, theirs = fresh.Pipe()
            process = fresh.Process(target=_serve, args=(theirs, self._prepare, given), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append((name, ours))
            self._processes.append(process)
        for name, pipe in self._pipes:
            if not pipe.poll(_STARTS_S):
                raise TimeoutError(f"The side {name!r} has not started within {_STARTS_S:g} s.")
            pipe.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, pipe in self._pipes:
            pipe.close()  # at which the process leaves
        for process in self._processes:
            process.join(_LEAVES_S)

    def measure(self, operation: str, seconds: float, calls: int) -> dict[str, Times]:
        """Have the sides call an operation in turn, each so often in a row, for as long as given; the order rotates."""
        found = {name: Times() for name in self._sides}
        ends = time.perf_counter() + seconds
        number = 0
        while time.perf_counter() < ends or number < _LEAST_TURNS:
            order = self._pipes if number % 2 else self._pipes[::-1]
            shift = number % len(order)
            for name, pipe in order[shift:] + order[:shift]:
                pipe.send((operation, calls, self._work))
                wall, cpu = pipe.recv()
                found[name].wall += wall
                found[name].cpu += cpu
            number += 1
        return found


def _serve(pipe: Connection, prepare: Prepare, given: tuple[Any, ...]) -> None:
    """One side: makes its operations, and then calls what it is told to until the pipe is closed."""
    operations = prepare(*given)
    for operation in operations.values():
        for _ in range(_WARM_UP):
            operation()
    gc.collect()
    gc.freeze()
    pipe.send(None)
    while True:
        try:
            name, calls, work = pipe.recv()
        except EOFError:
            return
        pipe.send(_timed(operations[name], calls, work=work))


def _timed(operation: Callable[[], Any], calls: int, *, work: bool) -> tuple[list[float], list[float]]:
    """Calls in a row, in microseconds by the wall and by the processor; one before them, which is not counted."""
    wall: list[float] = []
    cpu: list[float] = []
    operation()
    for _ in range(calls):
        if work:
            _something_else()
        cpu_ns = time.thread_time_ns()
        wall_ns = time.perf_counter_ns()
        operation()
        wall.append((time.perf_counter_ns() - wall_ns) / 1e3)
        cpu.append((time.thread_time_ns() - cpu_ns) / 1e3)
    return wall, cpu


_TEXT = "\n".join(f"def view_{n}(request, *, page=1):\n    return [row.name for row in page if row]" for n in range(4))
_DATA = {"rows": [{"id": n, "name": f"name {n}", "tags": ["a", "b"]} for n in range(10)]}
_LUMP = bytearray(2**20)


def _something_else() -> None:
    """A little of an application's life, and a megabyte of its data, to cool the caches."""
    ast.parse(_TEXT)
    json.loads(json.dumps(_DATA))
    _LUMP.count(1)
