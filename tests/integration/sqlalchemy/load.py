"""A load with a ledger: threads for each kind of operation, and an audit of what they were told.

Every write leaves a mark of its own, or counts, so the audit can tell for each single one whether it was lost
(acknowledged and not there) or doubled (there twice; a counter above what was asked of it). The audit reads on the
primary that is there at the end, with plain psycopg. The side is a parameter: the same load runs on plain SQLAlchemy.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.integration.sqlalchemy.tables import COUNTERS, ROWS

from undaunted.errors import OutcomeUnknown
from undaunted.lab.timeline import longest_gap

if TYPE_CHECKING:
    from tests.integration.sqlalchemy.sides import Done, Side
    from typing_extensions import Self

    from undaunted.lab import PostgresLab
    from undaunted.lab.timeline import Gap

__all__ = ["READS", "WRITES", "Audit", "Entry", "Load"]

WRITES = ("entry", "note", "count")
READS = ("get",)
OWN = ("own",)

_WARM = 300
"""So many operations are done before a fault: pools are full, and every kind has been met."""
_PAUSE_S = 0.01
"""Between two operations of a thread: what an application thinks between them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation in the ledger; times are of `time.monotonic`.

    Attributes:
        kind: What was done.
        key: Its mark, or the name of its counter.
        worker: The number of its thread.
        began_s: When it was asked for.
        ended_s: When its caller went on.
        done: What it came back with; None where it raised.
        error: What it raised.
    """

    kind: str
    key: str
    worker: int
    began_s: float
    ended_s: float
    done: Done | None
    error: Exception | None

    @property
    def outcome(self) -> str:
        """``"done"``, ``"raised"``, or ``"unknown"`` where it was said that nobody can know."""
        if self.error is None:
            return "done"
        return "unknown" if isinstance(self.error, OutcomeUnknown) else "raised"


@dataclass
class Audit:
    """What the ledger and the database say together."""

    done: Counter[str]
    raised: list[Entry]
    unknown: list[Entry]
    hung: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Numbers of a counter that were told to two callers."""
    applied_though_raised: list[str] = field(default_factory=list)
    applied_though_unknown: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = Counter(f"{e.kind}: {type(e.error).__name__}" for e in (*self.raised, *self.unknown))
        figures = f"{sum(self.done.values())} done, {len(self.raised)} raised, {len(self.unknown)} unknown"
        return (
            f"{figures} ({len(self.applied_though_unknown)} of them applied), {self.hung} hung, "
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.wrong)} told twice, "
            f"{len(self.applied_though_raised)} raised and applied"
            f"{f' {dict(kinds)}' if kinds else ''} of {dict(self.done)}"
        )

    def assert_clean(self, *, may_be_unknown: bool = False, may_raise: tuple[type[Exception], ...] = ()) -> None:
        """Nothing hung, lost or doubled, and nothing raised but what may be; the first such error in full.

        Args:
            may_be_unknown: Whether an outcome may be left unknown.
            may_raise: What else may be raised, and then was not applied.
        """
        failed = [e for e in self.raised if not isinstance(e.error, may_raise)]
        failed += [] if may_be_unknown else self.unknown
        if failed:
            raise AssertionError(f"{failed[0].kind}: {self}") from failed[0].error
        assert (self.hung, self.lost, self.doubled, self.wrong, self.applied_though_raised) == (0, [], [], [], []), str(
            self
        )


class Load:
    """Runs operations of all kinds until it is stopped.

    Args:
        side: What does them.
        lab: Where the audit looks.
        workers: The kinds that each thread goes through in turn.
    """

    USUAL: tuple[tuple[str, ...], ...] = (
        *(("entry",),) * 3,
        *(("note", "note", "note", "own"),) * 3,
        *(("count",),) * 6,
        *(("get",),) * 6,
    )

    def __init__(self, side: Side, lab: PostgresLab, *, workers: tuple[tuple[str, ...], ...] = USUAL) -> None:
        self.side = side
        self.ledger: list[Entry] = []
        self.run = uuid.uuid4().hex[:8]
        self._lab = lab
        self._workers = workers
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._failures: list[BaseException] = []
        self._noted: dict[int, str] = {}
        """Of each thread that notes, the mark that it was told is there."""

    def __enter__(self) -> Self:
        """Start; returns when every thread has had its first success, and the load is under way."""
        with self._lab.connect(self._lab.primary()) as connection:
            for number in range(COUNTERS):
                connection.execute("INSERT INTO counter (name, n) VALUES (%s, 0)", [self._counter(number)])
        for number, kinds in enumerate(self._workers):
            thread = threading.Thread(target=self._work, args=(number, kinds), name=f"load-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.go_on(done=_WARM)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def go_on(self, *, after_s: float | None = None, done: int = 0, timeout_s: float = 30.0) -> float:
        """Wait until every thread has succeeded once, begun after `after_s` or from now on; returns when it had.

        Args:
            after_s: From when on. Default: now.
            done: How many operations must have come back in all.
            timeout_s: How long to wait.
        """
        since_s = time.monotonic() if after_s is None else after_s
        ends_s = time.monotonic() + timeout_s
        missing, seen = set(range(len(self._workers))), 0
        last_s = since_s
        while missing or seen < done:
            entries = self.ledger[seen:]
            seen += len(entries)
            for e in entries:
                if e.error is None and e.began_s >= since_s and e.worker in missing:
                    missing.remove(e.worker)
                    last_s = max(last_s, e.ended_s)
            if self._failures:
                raise self._failures[0]
            if time.monotonic() > ends_s:
                raise AssertionError(f"no success of {len(missing)} threads for {timeout_s:g} s: {self.errors()}")
            self._stop.wait(0.01)
        return last_s

    def errors(self) -> dict[str, int]:
        """How often each class of error was raised so far."""
        return dict(Counter(type(e.error).__name__ for e in self.ledger if e.error is not None))

    def stop(self, *, timeout_s: float = 40.0) -> None:
        """Let every thread finish its operation; those that do not are counted as hung."""
        self._stop.set()
        self.side.stop()
        ends_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, ends_s - time.monotonic()))
        if self._failures:
            raise self._failures[0]

    def hung(self) -> int:
        """How many threads are still in an operation, though they should have stopped."""
        return sum(thread.is_alive() for thread in self._threads)

    def _counter(self, number: int) -> str:
        return f"{self.run}-counter-{number % COUNTERS}"

    def _work(self, number: int, kinds: tuple[str, ...]) -> None:
        for kind in itertools.cycle(kinds):
            if self._stop.is_set():
                return
            turn = next(self._numbers)
            began_s = time.monotonic()
            done: Done | None = None
            error: Exception | None = None
            key = ""
            try:
                key, done = self._one(kind, number, turn)
            except AssertionError as failure:  # a wrong answer is worse than an error: it fails the test
                self._failures.append(failure)
                return
            except Exception as failure:
                error, key = failure, self._key(kind, number, turn)
            self.ledger.append(Entry(kind, key, number, began_s, time.monotonic(), done, error))
            self._stop.wait(_PAUSE_S)

    def _key(self, kind: str, number: int, turn: int) -> str:
        return self._counter(number) if kind == "count" else f"{self.run}-{turn}"

    def _one(self, kind: str, number: int, turn: int) -> tuple[str, Done]:
        key = self._key(kind, number, turn)
        if kind == "get":
            k = turn * 37 % ROWS
            done = self.side.get(k)
            assert done.value == f"row {k}", f"row {k} has the text {done.value!r}"
        elif kind == "own":
            mark = self._noted[number]
            done = self.side.own(mark)
            assert done.value >= 1, f"a reader on {done.node} does not see what its own thread has noted before"
        else:
            done = getattr(self.side, kind)(key)
            if kind == "note":
                self._noted[number] = key
        return key, done

    # -- times ------------------------------------------------------------------------------------------

    def gap(self, kinds: tuple[str, ...], *, since_s: float, until_s: float = float("inf")) -> Gap:
        """The longest time without a success of these kinds that ended after `since_s`."""
        ends = sorted(e.ended_s for e in self._succeeded(kinds))
        before_s = max((end for end in ends if end <= since_s), default=since_s)
        last_s = min(until_s, max(ends, default=since_s))
        return longest_gap(ends, started_s=before_s, ended_s=max(last_s, before_s))

    def all_back(self, kinds: tuple[str, ...], *, since_s: float) -> float:
        """When the last of their threads had its first success that ended after `since_s`."""
        first: dict[int, float] = {}
        for e in self._succeeded(kinds):
            if e.ended_s >= since_s:
                first[e.worker] = min(e.ended_s, first.get(e.worker, e.ended_s))
        return max(first.values(), default=float("inf"))

    def slowest(self, kinds: tuple[str, ...], *, since_s: float) -> float:
        """The longest that a caller of these kinds waited, of those that came back after `since_s`."""
        return max(
            (e.ended_s - e.began_s for e in self.ledger if e.kind in kinds and e.ended_s >= since_s), default=0.0
        )

    def _succeeded(self, kinds: tuple[str, ...]) -> list[Entry]:
        return [e for e in self.ledger if e.kind in kinds and e.error is None]

    # -- the audit --------------------------------------------------------------------------------------

    def audit(self) -> Audit:
        """Compare the ledger with what the primary holds."""
        assert self._stop.is_set(), "the load still runs"
        audit = Audit(
            done=Counter(e.kind for e in self.ledger if e.error is None),
            raised=[e for e in self.ledger if e.outcome == "raised"],
            unknown=[e for e in self.ledger if e.outcome == "unknown"],
            hung=self.hung(),
        )
        with self._lab.connect(self._lab.primary()) as connection:
            for kind in ("entry", "note"):
                found = connection.execute(
                    f"SELECT mark, count(*) FROM {kind} WHERE mark LIKE %s GROUP BY mark", [f"{self.run}-%"]
                )
                self._judge_marks(audit, kind, dict(found.fetchall()))
            found = connection.execute("SELECT name, n FROM counter WHERE name LIKE %s", [f"{self.run}-%"])
            self._judge_counters(audit, dict(found.fetchall()))
        return audit

    def _judge_marks(self, audit: Audit, kind: str, there: dict[str, int]) -> None:
        told = {e.key: e for e in self.ledger if e.kind == kind}
        audit.lost += [key for key, e in told.items() if e.error is None and key not in there]
        audit.doubled += [key for key, times in there.items() if times > 1]
        audit.applied_though_raised += [k for k, e in told.items() if e.outcome == "raised" and k in there]
        audit.applied_though_unknown += [k for k, e in told.items() if e.outcome == "unknown" and k in there]

    def _judge_counters(self, audit: Audit, there: dict[str, int]) -> None:
        told: defaultdict[str, Counter[str]] = defaultdict(Counter)
        numbers: defaultdict[str, Counter[int]] = defaultdict(Counter)
        for e in self.ledger:
            if e.kind == "count":
                told[e.key][e.outcome] += 1
                if e.done is not None:
                    numbers[e.key][e.done.value] += 1
        for name, outcomes in told.items():
            found = there.get(name, 0)
            more = found - outcomes["done"]
            audit.lost += [name] * max(0, -more)
            audit.doubled += [name] * max(0, more - outcomes["unknown"] - outcomes["raised"])
            audit.applied_though_unknown += [name] * max(0, min(more, outcomes["unknown"]))
            audit.applied_though_raised += [name] * max(0, min(more - outcomes["unknown"], outcomes["raised"]))
            audit.wrong += [f"{name} was {n} twice" for n, times in numbers[name].items() if times > 1]
