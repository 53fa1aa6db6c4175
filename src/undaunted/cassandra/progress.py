"""How far `sync` has come, told in one line: with rich where it is there, else plainly."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["Line", "Synced", "line_for"]

Outcome = Literal["made", "changed", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """One table or type that is now as its model says.

    Attributes:
        cluster: Name of the cluster.
        kind: What it is.
        name: Its name, ``"keyspace.table"``.
        model: Dotted path of the class that it was made from.
        outcome: What had to be done.
        place: Which of all it is, from 1.
        total: How many there are.
    """

    cluster: str
    kind: Literal["type", "table"]
    name: str
    model: str
    outcome: Outcome
    place: int
    total: int


class Line(Protocol):
    """Where progress is told."""

    def begins(self, what: str, place: int, total: int) -> None:
        """Work on a table or type begins."""
        ...

    def ends(self, done: Synced) -> None:
        """It has ended."""
        ...

    def close(self) -> None:
        """All has ended, or nothing more will."""
        ...


def line_for(progress: bool | Callable[[Synced], object], stream: TextIO | None = None) -> Line:  # noqa: FBT001  # as `sync` takes it
    """Where progress is told: on standard error, to a function, or nowhere."""
    if callable(progress):
        return _Told(progress)
    stream = stream or getattr(sys, "stderr", None)
    if not progress or stream is None:  # as in a process that has no standard error
        return _Told(lambda _: None)
    has_rich = importlib.util.find_spec("rich") is not None
    return _Bar(stream) if has_rich and stream.isatty() else _Plain(stream)


class _Told:
    """Hands what has ended to a function."""

    def __init__(self, tell: Callable[[Synced], object]) -> None:
        self._tell = tell

    def begins(self, what: str, place: int, total: int) -> None:
        """Nothing is told yet."""

    def ends(self, done: Synced) -> None:
        """Tell it."""
        self._tell(done)

    def close(self) -> None:
        """Nothing was opened."""


class _Plain:
    """One line for each table and type, for a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def begins(self, what: str, place: int, total: int) -> None:
        """A log gets whole lines only."""

    def ends(self, done: Synced) -> None:
        """Write the line."""
        self._stream.write(f"{done.place}/{done.total} {done.kind} {done.name} ({done.cluster}): {done.outcome}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing was opened."""


class _Bar:
    """One line that is written anew, with a bar."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415  # an extra, imported when it is used
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

        columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        self._bar: Any = Progress(*columns, console=Console(file=stream))
        self._task: Any = None

    def begins(self, what: str, place: int, total: int) -> None:
        """Say what is worked on."""
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task(what, total=total)
        self._bar.update(self._task, description=what, completed=place - 1)

    def ends(self, done: Synced) -> None:
        """Move on."""
        self._bar.update(self._task, description=f"{done.kind} {done.name}: {done.outcome}", completed=done.place)

    def close(self) -> None:
        """Leave the last line where it is, and the cursor as it was."""
        if self._task is not None:
            self._bar.stop()
