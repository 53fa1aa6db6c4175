"""Writes down every operation of a drill: when it was begun, when it came back, and how.

What an application was told is half of the truth; the other half is in the database. A ledger keeps the first half,
and `undaunted.lab.verdict` holds the two against each other.

An operation is written down before it is begun, so one that never comes back, or whose process dies, is known to be
open: nobody can say whether it was applied. A ledger may hand each line to a `sink`, such as a pipe, and another
ledger in another process may be fed with these lines.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Entry", "Ledger", "Note", "Outcome"]


class Outcome(str, Enum):
    """What the application was told; equal to its plain word."""

    OK = "ok"
    """It returned normally: the application counts on it."""

    RAISED = "raised"
    """It raised: applied or not, the application must look."""

    OPEN = "open"
    """It was begun and has not come back."""

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation as its caller saw it.

    Attributes:
        operation: What kind it is, such as ``"save new"``.
        key: Its own name, by which its effect is found in the database.
        started_s: When it was begun, by the ledger's clock.
        ended_s: When it came back; None while it is open.
        outcome: How it came back.
        error: The class of what it raised, with its code where it has one; None where it raised nothing.
        note: What was noted about its result, such as whether a scan was complete.
    """

    operation: str
    key: str
    started_s: float
    ended_s: float | None
    outcome: Outcome
    error: str | None = None
    note: str | None = None


class Note:
    """Takes a remark on an operation's result, while it is being recorded."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text: str | None = None


_OUTCOMES = {outcome.value: outcome for outcome in (Outcome.OK, Outcome.RAISED)}
"""Those that a line may tell; nobody tells that an operation has not come back."""


@dataclass(frozen=True, slots=True)
class _Begun:
    operation: str
    key: str
    at_s: float


class Ledger:
    """The record of all operations of one client. Threads may write to it and read it at any time.

    Args:
        clock: Tells the time in seconds. Default: `time.monotonic`, which all processes of a machine share.
        sink: Called with each line as it is written, under the ledger's lock; what it raises reaches the caller.

    Example:
        >>> ledger = Ledger()
        >>> with ledger.record("save new", "order-1"):
        ...     pass  # Order(number="order-1").save()
        >>> [str(entry.outcome) for entry in ledger.entries()]
        ['ok']
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, sink: Callable[[str], object] | None = None
    ) -> None:
        self._clock = clock
        self._sink = sink
        self._lock = threading.Lock()
        self._begun = 0
        self._open: dict[int, _Begun] = {}
        self._ended: list[Entry] = []

    @contextmanager
    def record(self, operation: str, key: str) -> Generator[Note]:
        """Write down what the block does: ok when it ends, raised when an `Exception` leaves it, which is passed on.

        What ends a program (`KeyboardInterrupt`, `SystemExit`) leaves the operation open.
        """
        note = Note()
        number = self._begin(operation, key)
        try:
            yield note
        except Exception as error:
            self._end(number, Outcome.RAISED, error=_name_of(error), note=note.text)
            raise
        self._end(number, Outcome.OK, error=None, note=note.text)

    def feed(self, line: str) -> None:
        """Take over a line that another ledger gave to its sink.

        Raises:
            LabError: It is no line of a ledger.
        """
        try:
            found: dict[str, Any] = json.loads(line)
            kind, number, at_s = found["is"], int(found["number"]), float(found["at"])
            with self._lock:
                if kind == "begin":
                    self._open[number] = _Begun(str(found["operation"]), str(found["key"]), at_s)
                else:
                    outcome = _OUTCOMES[kind]
                    self._close(number, outcome, error=found["error"], note=found["note"], at_s=at_s)
        except (ValueError, TypeError, KeyError) as error:
            raise LabError(f"This is no line of a ledger: {line.strip()[:80]!r}.") from error

    def entries(self) -> list[Entry]:
        """Every operation, in the order in which they were begun; those that have not come back are open."""
        with self._lock:
            found = [*self._ended, *(_still_open(begun) for begun in self._open.values())]
        return sorted(found, key=lambda entry: entry.started_s)

    def ended(self, *, since: int = 0) -> list[Entry]:
        """Those that came back, in that order, without the first `since` of them: what a display has not shown yet."""
        with self._lock:
            return self._ended[since:]

    @property
    def open_count(self) -> int:
        """How many have not come back yet."""
        return len(self._open)

    def _begin(self, operation: str, key: str) -> int:
        at_s = self._clock()
        with self._lock:
            self._begun = number = self._begun + 1
            self._open[number] = _Begun(operation, key, at_s)
            self._tell({"is": "begin", "number": number, "at": at_s, "operation": operation, "key": key})
        return number

    def _end(self, number: int, outcome: Outcome, *, error: str | None, note: str | None) -> None:
        at_s = self._clock()
        with self._lock:
            self._close(number, outcome, error=error, note=note, at_s=at_s)
            self._tell({"is": outcome.value, "number": number, "at": at_s, "error": error, "note": note})

    def _close(self, number: int, outcome: Outcome, *, error: str | None, note: str | None, at_s: float) -> None:
        begun = self._open.pop(number)
        self._ended.append(
            Entry(
                operation=begun.operation,
                key=begun.key,
                started_s=begun.at_s,
                ended_s=at_s,
                outcome=outcome,
                error=error,
                note=note,
            )
        )

    def _tell(self, line: dict[str, Any]) -> None:
        if self._sink is not None:
            self._sink(json.dumps(line, separators=(",", ":")) + "\n")


def _still_open(begun: _Begun) -> Entry:
    return Entry(operation=begun.operation, key=begun.key, started_s=begun.at_s, ended_s=None, outcome=Outcome.OPEN)


def _name_of(error: BaseException) -> str:
    """Class and code: what an error is, without the user's data that its text may hold."""
    code = getattr(error, "code", None)
    return f"{type(error).__name__}({code})" if isinstance(code, int) else type(error).__name__
