"""A load with a ledger: threads for each kind of operation, and an audit of what they were told.

Every write leaves a mark of its own, so the audit can tell for each single one whether it was lost (acknowledged and
not there) or doubled (there more often than it can have been asked for). The audit reads at consistency ALL, with the
plain driver. The tables are a parameter: the same load runs on plain cqlengine.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from cassandra.cqlengine.query import LWTException
from tests.integration.cassandra.tables import PARTS, ROWS

from undaunted.cassandra.results import Pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.integration.cassandra.reader import Reader
    from tests.integration.cassandra.tables import Tables
    from typing_extensions import Self

__all__ = ["BATCH", "ONCE", "REPEATABLE", "SCAN", "Audit", "Entry", "Load"]

WRITES = ("create", "save_changed", "change_set", "change_map", "delete")
READS = ("read",)
REPEATABLE = (*WRITES, *READS)
BATCH = ("batch",)
ONCE = ("counter", "append", "lwt_insert", "lwt_iff")
SCAN = ("scan",)

_PAGE = 200
_PAUSE_S = 0.02
"""Between two operations of a thread, so that the load leaves the servers some of the machine."""
_LONG = 40
"""So many marks go into one row; a row of thousands would be the load."""


_WAITS = threading.local()
"""Of each thread that scans: when it has waited for a page, and how long."""


def _timed(fetch: Callable[[Pages], None]) -> Callable[[Pages], None]:
    """cqlengine hands out the first row when it has got the last one, so the pages are timed where they are fetched."""

    def fetch_next_page(pages: Pages) -> None:
        began_s = time.monotonic()
        fetch(pages)
        _WAITS.of_pages.append((began_s, time.monotonic() - began_s))

    return fetch_next_page


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation in the ledger; times are of `time.monotonic`."""

    kind: str
    key: str
    worker: int
    began_s: float
    ended_s: float
    error: Exception | None
    waited_s: float
    """The longest time that its caller stood still: in a scan for one page, else from begin to end."""
    since_s: float
    """When that began."""


@dataclass
class Audit:
    """What the ledger and the database say together."""

    ok: Counter[str]
    raised: list[Entry]
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    """Batches that were applied in part."""
    applied_though_raised: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = Counter(f"{e.kind}: {type(e.error).__name__} after {_last(e.error)}" for e in self.raised)
        figures = f"{sum(self.ok.values())} acknowledged, {len(self.raised)} raised, {len(self.lost)} lost"
        return (
            f"{figures}, {len(self.doubled)} doubled, {len(self.half)} half done, "
            f"{len(self.applied_though_raised)} raised and applied {dict(kinds) or ''} of {dict(self.ok)}"
        )

    def assert_kept(self, *, may_be_unknown: tuple[str, ...] = ONCE, unknown: type[Exception]) -> None:
        """Nothing lost, doubled or half done; what may run twice never raised, the rest only that it is not known."""
        assert (self.lost, self.doubled, self.half) == ([], [], []), str(self)
        wrong = [e for e in self.raised if e.kind not in may_be_unknown or not isinstance(e.error, unknown)]
        if wrong:
            raise AssertionError(f"{wrong[0].kind}: {self}") from wrong[0].error


class Load:
    """Runs operations of all kinds until it is stopped.

    Args:
        tables: What it works with.
        batch: The class of a batch.
        reader: Where the audit reads.
        workers: The kinds that each thread goes through in turn.
    """

    USUAL: tuple[tuple[str, ...], ...] = (
        *(WRITES,) * 3,
        *(READS,) * 2,
        BATCH,
        BATCH,
        ("counter",),
        ("counter",),
        ("append",),
        ("lwt_insert", "lwt_iff"),
        ("lwt_iff", "append"),
        SCAN,
    )

    def __init__(
        self, tables: Tables, batch: Any, reader: Reader, *, workers: tuple[tuple[str, ...], ...] = USUAL
    ) -> None:
        self.tables, self.batch = tables, batch
        self.ledger: list[Entry] = []
        self.run = uuid.uuid4().hex[:8]
        self._reader = reader
        self._workers = workers
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._failures: list[BaseException] = []
        self.owns: list[_Own] = []

    def __enter__(self) -> Self:
        """Start; returns when every kind but a scan, which takes seconds, has had its first success."""
        self._timed = patch.object(Pages, "fetch_next_page", _timed(Pages.fetch_next_page)) if self._scans else None
        if self._timed is not None:
            self._timed.start()
        for number, kinds in enumerate(self._workers):
            own = _Own(self, number)
            self.owns.append(own)
            thread = threading.Thread(target=self._work, args=(own, kinds), name=f"load-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.stop()
        finally:
            if self._timed is not None:
                self._timed.stop()

    @property
    def _kinds(self) -> set[str]:
        return {kind for kinds in self._workers for kind in kinds}

    @property
    def _scans(self) -> bool:
        return bool(self._kinds & set(SCAN))

    def wait_for(self, kinds: set[str], *, timeout_s: float = 60.0, after_s: float = 0.0) -> None:
        """Wait until each of `kinds` has been acknowledged, begun after `after_s`."""
        deadline_s = time.monotonic() + timeout_s
        seen = 0
        missing = set(kinds)
        while missing:
            entries = self.ledger[seen:]
            seen += len(entries)
            missing -= {e.kind for e in entries if e.error is None and e.began_s >= after_s}
            if self._failures:
                raise self._failures[0]
            if time.monotonic() > deadline_s:
                raise AssertionError(f"no success of {sorted(missing)} for {timeout_s} s")
            time.sleep(0.01)

    def go_on(self, *, without: tuple[str, ...] = ()) -> None:
        """Wait until every kind but a scan, and those left out, has succeeded once more, begun from now on."""
        self.wait_for(self._kinds - {*SCAN, *without}, after_s=time.monotonic())

    def stop(self, *, timeout_s: float = 90.0) -> None:
        """Let every thread finish its operation."""
        self._stop.set()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} hangs"
        if self._failures:
            raise self._failures[0]

    def _work(self, own: _Own, kinds: tuple[str, ...]) -> None:
        for kind in itertools.cycle(kinds):
            if self._stop.is_set():
                return
            key = f"{self.run}-{next(self._numbers)}"
            operation: Callable[[str], tuple[float, float] | None] = getattr(own, kind)
            began_s = time.monotonic()
            error: Exception | None = None
            waited: tuple[float, float] | None = None
            try:
                waited = operation(key)
            except AssertionError as failure:  # a wrong answer is worse than an error: it fails the test
                self._failures.append(failure)
                return
            except Exception as failure:
                error = failure
            ended_s = time.monotonic()
            since_s, waited_s = waited or (began_s, ended_s - began_s)
            self.ledger.append(Entry(kind, key, own.number, began_s, ended_s, error, waited_s, since_s))
            own.told(kind, key, error)
            self._stop.wait(_PAUSE_S)

    # -- how long callers stood still -----------------------------------------------------------------

    def longest(
        self, kinds: tuple[str, ...], *, since_s: float, until_s: float = float("inf"), begun_s: float = 0.0
    ) -> float:
        """The longest that a caller of these kinds stood still in that time.

        Args:
            kinds: The kinds.
            since_s: It ended no sooner.
            until_s: It began no later.
            begun_s: It began no sooner.
        """
        running = [e for e in self.ledger if e.kind in kinds and e.since_s + e.waited_s >= since_s]
        return max((e.waited_s for e in running if begun_s <= e.since_s <= until_s), default=0.0)

    # -- the audit ------------------------------------------------------------------------------------

    def audit(self) -> Audit:
        """Compare the ledger with what all replicas hold."""
        assert self._stop.is_set(), "the load still runs"
        audit = Audit(
            ok=Counter(e.kind for e in self.ledger if e.error is None),
            raised=[e for e in self.ledger if e.error is not None],
        )
        for kind in sorted(self._kinds):
            judge = getattr(self, f"_judge_{kind}", None)
            if judge is not None:
                judge(audit, [e for e in self.ledger if e.kind == kind])
        for own in self.owns:
            own.judge_changed(audit, self._reader)
        return audit

    def _judge_create(self, audit: Audit, entries: list[Entry]) -> None:
        self._judge_present(audit, entries, self._reader.rows("item", "key", ["n"], [e.key for e in entries]))

    def _judge_lwt_insert(self, audit: Audit, entries: list[Entry]) -> None:
        self._judge_present(audit, entries, self._reader.rows("seat", "number", ["holder"], [e.key for e in entries]))

    def _judge_delete(self, audit: Audit, entries: list[Entry]) -> None:
        there = self._reader.rows("item", "key", ["n"], [e.key for e in entries])
        audit.lost += [e.key for e in entries if e.error is None and e.key in there]

    def _judge_batch(self, audit: Audit, entries: list[Entry]) -> None:
        wanted = {e.key: [f"{e.key}/a", f"{e.key}/b"] for e in entries}
        there = self._reader.rows("line", "order", ["item"], [key for keys in wanted.values() for key in keys])
        for e in entries:
            found = [key in there for key in wanted[e.key]]
            if any(found) and not all(found):
                audit.half.append(e.key)
            elif e.error is None and not all(found):
                audit.lost.append(e.key)
            elif e.error is not None and all(found):
                audit.applied_though_raised.append(e.key)

    @staticmethod
    def _judge_present(audit: Audit, entries: list[Entry], there: dict[str, Any]) -> None:
        for e in entries:
            if e.error is None and e.key not in there:
                audit.lost.append(e.key)
            elif e.error is not None and e.key in there:
                audit.applied_though_raised.append(e.key)


class _Own:
    """One thread's operations, named as their kinds, and the rows that only it writes to."""

    def __init__(self, load: Load, number: int) -> None:
        self._load, self._tables, self.number = load, load.tables, number
        self._turns = itertools.count()
        self._item: Any = None
        self._saved: list[tuple[int, bool]] = []
        self._told: dict[str, dict[str, tuple[str, bool]]] = defaultdict(dict)
        """By kind: each operation's key, with the row it went to and whether it was acknowledged."""
        self._where: dict[str, str] = {}
        self._counts: dict[str, int] = defaultdict(int)
        self._versions: dict[str, tuple[int, int]] = {}
        self._seat = ""

    def _row(self, kind: str) -> str:
        """Its own row for a while."""
        turn = self._counts[kind] = self._counts[kind] + 1
        return f"{self._load.run}-{kind}-{self.number}-{turn // _LONG}"

    def told(self, kind: str, key: str, error: Exception | None) -> None:
        """Keep what the caller was told of a write that goes to a row of several."""
        row = self._where.pop(key, None)
        if row is not None:
            self._told[kind][key] = (row, error is None)

    # -- what may run twice ---------------------------------------------------------------------------

    def create(self, key: str) -> None:
        self._tables.Item.create(key=key, n=1)

    def save_changed(self, key: str) -> None:
        if self._item is None:
            self._item = self._tables.Item.create(key=f"{self._load.run}-saved-{self.number}", n=0)
        n = self._item.n + 1
        self._item.n = n
        self._saved.append((n, False))
        self._item.save()
        self._saved[-1] = (n, True)

    def change_set(self, key: str) -> None:
        row = self._where[key] = self._row("change_set")
        self._tables.Item.objects(key=row).update(tags__add={key})

    def change_map(self, key: str) -> None:
        row = self._where[key] = self._row("change_map")
        self._tables.Item.objects(key=row).update(prices__update={key: 1})

    def delete(self, key: str) -> None:
        self._tables.Item.create(key=key, n=1)
        self._tables.Item.objects(key=key).delete()

    def batch(self, key: str) -> None:
        with self._load.batch() as batch:
            self._tables.Line.batch(batch).create(order=f"{key}/a", number=1, item=key)
            self._tables.Line.batch(batch).create(order=f"{key}/b", number=1, item=key)

    # -- what may not ---------------------------------------------------------------------------------

    def counter(self, key: str) -> None:
        row = self._where[key] = self._row("counter")
        self._tables.Hits.objects(page=row).update(count=1)

    def append(self, key: str) -> None:
        row = self._where[key] = self._row("append")
        if len(key) % 2:
            self._tables.Item.objects(key=row).update(log__append=[key])
        else:
            self._tables.Item.objects(key=row).update(log__prepend=[key])

    def lwt_insert(self, key: str) -> None:
        try:
            self._tables.Seat.if_not_exists().create(number=key, holder=key)
        except LWTException as error:
            raise AssertionError(f"{key}: 'not applied', though nobody else writes it") from error

    def lwt_iff(self, key: str) -> None:
        """A chain of versions in a row of its own, as long as each outcome is known."""
        if not self._seat:
            self._seat = f"{key}-iff"
            self._tables.Seat.create(number=self._seat, version=0)
            self._versions[self._seat] = (0, 0)
        seat = self._seat
        version = self._versions[seat][0]
        self._seat = ""
        self._versions[seat] = (version, version + 1)
        try:
            seats = self._tables.Seat.objects(number=seat).iff(version=version)
            seats.update(version=version + 1, token=uuid.uuid4())
        except LWTException as error:
            raise AssertionError(f"{seat}: 'not applied', though nobody else writes it") from error
        self._versions[seat] = (version + 1, version + 1)
        self._seat = seat

    # -- reads: they check what they get --------------------------------------------------------------

    def read(self, key: str) -> None:
        k = next(self._turns) * 37 % ROWS
        row = self._tables.Row.objects.get(part=k * PARTS // ROWS, k=k)
        assert row.text == f"row {k}", f"row {k} has the text {row.text!r}"

    def scan(self, key: str) -> tuple[float, float]:
        """All rows; returns when the longest wait for a page began, and how long it was."""
        waits: list[tuple[float, float]] = []
        _WAITS.of_pages = waits
        found = Counter(row.k for row in self._tables.Row.objects.limit(None).fetch_size(_PAGE))
        twice = [k for k, count in found.items() if count > 1]
        assert not twice, f"a scan brought {len(twice)} rows twice, such as {twice[0]}"
        assert len(found) == ROWS, f"a scan brought {len(found)} of {ROWS} rows and no error"
        assert len(waits) >= ROWS // _PAGE - 1, f"a scan of {ROWS} rows had only {len(waits)} further pages"
        return max(waits, key=lambda waited: waited[1])

    # -- the audit of the rows that several operations went to ------------------------------------------

    def judge_changed(self, audit: Audit, reader: Reader) -> None:
        """Look for each mark in its row, and count what was counted."""
        for kind, column in (("change_set", "tags"), ("change_map", "prices"), ("append", "log")):
            marks = self._told[kind]
            rows = reader.rows("item", "key", [column], {row for row, _ in marks.values()})
            for key, (row, is_acknowledged) in marks.items():
                count = Counter(_keys(rows.get(row, {}).get(column)))[key]
                if count > 1:
                    audit.doubled.append(key)
                elif is_acknowledged and not count:
                    audit.lost.append(key)
                elif count and not is_acknowledged:
                    audit.applied_though_raised.append(key)
        self._judge_counts(audit, reader)
        self._judge_versions(audit, reader)
        if self._saved:
            (found,) = reader.rows("item", "key", ["n"], [self._item.key]).values()
            last = max((n for n, is_acknowledged in self._saved if is_acknowledged), default=0)
            if not last <= found["n"] <= self._saved[-1][0]:
                audit.lost.append(f"{self._item.key}: n is {found['n']}, and {last} was acknowledged")

    def _judge_counts(self, audit: Audit, reader: Reader) -> None:
        told = self._told["counter"].values()
        rows = reader.rows("hits", "page", ["count"], {row for row, _ in told})
        acknowledged = Counter(row for row, is_acknowledged in told if is_acknowledged)
        asked = Counter(row for row, _ in told)
        for row, most in asked.items():
            found = rows.get(row, {}).get("count") or 0
            if found > most:
                audit.doubled.append(f"{row}: {found} of at most {most}")
            elif found < acknowledged[row]:
                audit.lost.append(f"{row}: {found} of {acknowledged[row]}")
            audit.applied_though_raised += [row] * max(0, found - acknowledged[row])

    def _judge_versions(self, audit: Audit, reader: Reader) -> None:
        rows = reader.rows("seat", "number", ["version"], self._versions)
        for seat, (least, most) in self._versions.items():
            found = rows.get(seat, {}).get("version")
            if found is None or found < least:
                audit.lost.append(f"{seat}: {found} of {least}")
            elif found > most:
                audit.doubled.append(f"{seat}: {found} of {most}")


def _last(error: Exception | None) -> str:
    """What the last attempt met, in the words of the driver or of the server."""
    attempts = getattr(error, "attempts", ())
    if not attempts:
        return "no attempt"
    met = attempts[-1].error
    return f"{type(met).__name__} {getattr(met, 'message', '')}".strip()


def _keys(found: Iterable[str] | None) -> list[str]:
    return list(found or ())
