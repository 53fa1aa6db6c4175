"""A small load with a ledger: threads for each kind of operation, and an audit of what they were told.

Every write leaves a mark of its own, so the audit can tell for each single one whether it was lost (acknowledged and
not there) or doubled (there more than once). The audit reads with read concern majority, with plain pymongo.
The documents are a parameter: the same load runs on plain MongoEngine.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo import InsertOne, MongoClient, UpdateMany, UpdateOne
from pymongo.read_concern import ReadConcern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.mongodb.documents import Documents
    from typing_extensions import Self

__all__ = ["Audit", "Entry", "Load", "seed_rows"]

_ROWS = 600
_BATCH = 40
_MANY = 5
_PAUSE_S = 0.004
"""Between two operations of a thread, so that the load leaves the servers some of the machine."""

SINGLE = ("save_new", "save_changed", "update_one", "modify", "insert_one", "delete_one", "sequence", "file")
MANY = ("update_many", "delete_many", "insert_many", "bulk")
READS = ("get", "count", "distinct", "in_bulk", "sum", "reload", "dereference", "first")
SCANS = ("scan_sorted", "scan_by_id", "scan_aggregate", "scan_cached", "scan_idle")


@dataclass(frozen=True)
class Entry:
    """One operation in the ledger; times are of `time.monotonic`."""

    kind: str
    key: str
    worker: int
    began_s: float
    ended_s: float
    error: BaseException | None


@dataclass
class Audit:
    """What the ledger and the database say together."""

    ok: Counter[str]
    raised: list[Entry]
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    half: list[str] = field(default_factory=list)
    """Writes to many that were applied in part."""

    def __str__(self) -> str:
        kinds = Counter(f"{e.kind}: {type(e.error).__name__}" for e in self.raised)
        figures = f"{sum(self.ok.values())} acknowledged, {len(self.raised)} raised, {len(self.lost)} lost"
        return f"{figures}, {len(self.doubled)} doubled, {len(self.half)} half done {dict(kinds) or ''}"

    def assert_clean(self) -> None:
        """Nothing raised, lost, doubled or half done; the first error in full where one was raised."""
        if self.raised:
            raise AssertionError(str(self)) from self.raised[0].error
        assert (self.lost, self.doubled, self.half) == ([], [], []), str(self)


def seed_rows(documents: Documents, count: int) -> None:
    """Write `count` rows and two owners: plainly, since the seed is not what is tested."""
    owners = documents.Owner.objects.insert([documents.Owner(name=name) for name in ("a", "b")], load_bulk=False)
    rows = [{"k": k, "level": k // 7, "owner": owners[k % 2]} for k in range(count)]
    for start in range(0, count, 5000):
        documents.Row._get_collection().insert_many(rows[start : start + 5000])


class Load:
    """Runs operations of all kinds until it is stopped.

    Args:
        documents: What it works with.
        uri: Where the audit reads.
        kinds: Pairs of a tuple of kinds and how many threads go through them in turn.
    """

    def __init__(
        self,
        documents: Documents,
        uri: str,
        *,
        kinds: tuple[tuple[tuple[str, ...], int], ...] = ((SINGLE, 4), (MANY, 2), (READS, 2), (SCANS, 2)),
    ) -> None:
        self.documents = documents
        self.ledger: list[Entry] = []
        self._uri = uri
        self._kinds = kinds
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._failures: list[BaseException] = []

    def __enter__(self) -> Self:
        """Seed and start; returns when every kind has had its first success."""
        seed_rows(self.documents, _ROWS)
        self._groups = [f"group-{number}" for number in range(20)]
        items = [self.documents.Item(key=f"{g}-{i}", group=g) for g in self._groups for i in range(_MANY)]
        self.documents.Item.objects.insert(items, load_bulk=False)
        self._ids = [row["_id"] for row in self.documents.Row._get_collection().find({}, {"_id": 1}).sort("k")]
        workers = [kinds for kinds, threads in self._kinds for _ in range(threads)]
        for number, kinds in enumerate(workers):
            thread = threading.Thread(target=self._work, args=(number, kinds), name=f"load-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self.wait_for({kind for kinds, _ in self._kinds for kind in kinds})
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def wait_for(self, kinds: set[str], *, timeout_s: float = 60.0, after_s: float = 0.0) -> None:
        """Wait until each of `kinds` has been acknowledged, begun after `after_s`."""
        deadline_s = time.monotonic() + timeout_s
        seen = 0
        missing = set(kinds)
        while missing:
            entries = self.ledger[seen:]
            seen += len(entries)
            missing -= {e.kind for e in entries if e.error is None and e.began_s >= after_s}
            if time.monotonic() > deadline_s:
                raise AssertionError(f"no success of {sorted(missing)} for {timeout_s} s")
            time.sleep(0.01)

    def go_on(self) -> None:
        """Wait until every kind has succeeded once more, begun from now on."""
        self.wait_for({kind for kinds, _ in self._kinds for kind in kinds}, after_s=time.monotonic())

    def stop(self, *, timeout_s: float = 60.0) -> None:
        """Let every thread finish its operation."""
        self._stop.set()
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name} hangs"
        if self._failures:
            raise self._failures[0]

    # -- the operations ---------------------------------------------------------------------------

    def _work(self, number: int, kinds: tuple[str, ...]) -> None:
        own = _Own(self, number)
        for kind in itertools.cycle(kinds):
            if self._stop.is_set():
                return
            key = f"{kind}-{next(self._numbers)}"
            operation: Callable[[str], object] = getattr(own, kind)
            began_s = time.monotonic()
            error: BaseException | None = None
            try:
                operation(key)
            except AssertionError as failure:  # a wrong answer is worse than an error: it fails the test
                self._failures.append(failure)
                return
            except Exception as failure:
                error = failure
            self.ledger.append(Entry(kind, key, number, began_s, time.monotonic(), error))
            self._stop.wait(_PAUSE_S)

    # -- time without success -----------------------------------------------------------------------

    def without(self, kinds: tuple[str, ...], *, since_s: float) -> float:
        """Seconds from `since_s` until an operation of these kinds first succeeded."""
        ends = [e.ended_s for e in self.ledger if e.kind in kinds and e.error is None and e.ended_s >= since_s]
        return min(ends, default=float("inf")) - since_s

    def slowest(self, kinds: tuple[str, ...], *, since_s: float) -> float:
        """Seconds from `since_s` until the last of the threads had its first success again."""
        first: dict[int, float] = {}
        for e in self.ledger:
            if e.kind in kinds and e.error is None and e.ended_s >= since_s:
                first[e.worker] = min(e.ended_s, first.get(e.worker, e.ended_s))
        return max(first.values(), default=float("inf")) - since_s

    def gap(self, kinds: tuple[str, ...]) -> float:
        """The longest time between two successes of these kinds."""
        ends = sorted(e.ended_s for e in self.ledger if e.kind in kinds and e.error is None)
        return max((b - a for a, b in itertools.pairwise(ends)), default=0.0)

    # -- the audit ------------------------------------------------------------------------------------

    def audit(self) -> Audit:
        """Compare the ledger with what a majority of the nodes holds."""
        assert self._stop.is_set(), "the load still runs"
        audit = Audit(
            ok=Counter(e.kind for e in self.ledger if e.error is None),
            raised=[e for e in self.ledger if e.error is not None],
        )
        database = self.documents.Item._get_collection().database.name
        with MongoClient[dict[str, Any]](self._uri) as client:
            store = client.get_database(database, read_concern=ReadConcern("majority"))
            for found in _COUNTS:
                for entry, count, whole in found(self.ledger, store):
                    self._judge(audit, entry, count, whole)
            _judge_changed(audit, self.ledger, store)
        return audit

    @staticmethod
    def _judge(audit: Audit, entry: Entry, count: int, whole: int) -> None:
        if count > whole:
            audit.doubled.append(entry.key)
        elif count < whole and entry.error is None:
            audit.lost.append(entry.key)
        elif 0 < count < whole:
            audit.half.append(entry.key)


class _Own:
    """One thread's operations, named as their kinds, and the documents that only it writes to."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._documents = load.documents
        self._number = number
        self._turns = itertools.count()
        self._changed: Any = None
        self._last = 0

    @property
    def _key(self) -> str:
        """Its own document for a while: a list of thousands of marks would be the load."""
        return f"group-{self._number}-0" if self._number < 20 else "group-0-0"

    def save_new(self, key: str) -> None:
        self._documents.Item(key=key).save()

    def save_changed(self, key: str) -> None:
        if self._changed is None:
            self._changed = self._documents.Item(key=f"changed-{self._number}").save()
        self._changed.n = self._last = int(key.rpartition("-")[2])
        self._changed.save()

    def update_one(self, key: str) -> None:
        self._documents.Item.objects(key=self._key).update_one(push__marks=key, inc__n=1)

    def modify(self, key: str) -> None:
        found = self._documents.Item.objects(key=self._key).modify(push__marks=key, inc__n=1, new=True)
        assert key in found.marks, "modify returned the document without its own change"

    def insert_one(self, key: str) -> None:
        self._documents.Item.objects.insert(self._documents.Item(key=key), load_bulk=False)

    def delete_one(self, key: str) -> None:
        self._documents.Item(key=key).save().delete()

    def sequence(self, key: str) -> None:
        self._documents.Ticket(key=key).save()

    def file(self, key: str) -> None:
        attachment = self._documents.Attachment(key=key)
        attachment.content.put(key.encode(), filename=key)
        attachment.save()

    def update_many(self, key: str) -> None:
        groups = self._load._groups
        group = groups[next(self._turns) % len(groups)]
        self._documents.Item.objects(group=group).update(push__marks=key, inc__n=1)

    def delete_many(self, key: str) -> None:
        made = [self._documents.Item(key=key, group=key) for _ in range(_MANY)]
        self._documents.Item.objects.insert(made, load_bulk=False)
        deleted = self._documents.Item.objects(group=key).delete()
        assert deleted == _MANY, f"{deleted} of {_MANY} deleted"

    def insert_many(self, key: str) -> None:
        made = [self._documents.Item(key=key) for _ in range(_MANY)]
        self._documents.Item.objects.insert(made, load_bulk=False)

    def bulk(self, key: str) -> None:
        group = f"group-{self._number % 20}"
        self._documents.Item._get_collection().bulk_write(
            [
                InsertOne({"key": key}),
                UpdateOne({"key": f"{group}-0"}, {"$push": {"marks": key}}),
                UpdateMany({"group": group, "key": {"$ne": f"{group}-0"}}, {"$push": {"marks": key}}),
            ]
        )

    # Reads and scans check what they get; an AssertionError there fails the test at once.

    def get(self, key: str) -> None:
        k = next(self._turns) % _ROWS
        assert self._documents.Row.objects.get(k=k).k == k

    def count(self, key: str) -> None:
        assert self._documents.Row.objects(k__lt=100).count() == 100

    def distinct(self, key: str) -> None:
        assert sorted(self._documents.Row.objects(k__lt=70).distinct("level")) == list(range(10))

    def in_bulk(self, key: str) -> None:
        ids = self._load._ids[10:15]
        assert sorted(row.k for row in self._documents.Row.objects.in_bulk(ids).values()) == list(range(10, 15))

    def sum(self, key: str) -> None:
        assert self._documents.Row.objects(k__lt=100).sum("k") == 4950

    def reload(self, key: str) -> None:
        row = self._documents.Row(id=self._load._ids[33])
        assert row.reload().k == 33

    def dereference(self, key: str) -> None:
        assert self._documents.Row.objects.get(k=5).owner.name == "b"

    def first(self, key: str) -> None:
        assert self._documents.Row.objects.order_by("-k").first().k == _ROWS - 1

    def scan_sorted(self, key: str) -> None:
        _check_scan(row.k for row in self._documents.Row.objects.order_by("k").batch_size(_BATCH).no_cache())

    def scan_by_id(self, key: str) -> None:
        found = [row["k"] for row in self._documents.Row.objects.batch_size(_BATCH).as_pymongo()]
        _check_scan(iter(sorted(found)))

    def scan_aggregate(self, key: str) -> None:
        pipeline: list[dict[str, Any]] = [{"$match": {"k": {"$gte": 0}}}, {"$sort": {"k": 1}}]
        _check_scan(row["k"] for row in self._documents.Row.objects.aggregate(pipeline, batchSize=_BATCH))

    def scan_cached(self, key: str) -> None:
        rows = self._documents.Row.objects.order_by("level", "k").batch_size(_BATCH)
        _check_scan(row.k for row in rows)
        _check_scan(row.k for row in rows)

    def scan_idle(self, key: str) -> None:
        """The fault comes between two batches, while nothing is on its way."""
        found: list[int] = []
        for row in self._documents.Row.objects.order_by("k").batch_size(_BATCH).no_cache().as_pymongo():
            found.append(row["k"])
            if len(found) in (2 * _BATCH, 10 * _BATCH):
                self._load._stop.wait(0.3)
        _check_scan(iter(found))


def _check_scan(found: Iterator[int]) -> None:
    keys = list(found)
    if keys != list(range(_ROWS)):
        times = Counter(keys)
        twice = sorted(k for k, n in times.items() if n > 1)
        missing = sorted(set(range(_ROWS)) - set(keys))
        raise AssertionError(
            f"a scan gave {len(keys)} rows: {len(twice)} twice from {twice[:1]}, "
            f"{len(missing)} missing from {missing[:1]}"
        )


# -- how often each write is in the database: (entry, times, how often it must be) -----------------------


def _inserted(ledger: list[Entry], store: Any) -> Iterator[tuple[Entry, int, int]]:
    expected = {"save_new": 1, "insert_one": 1, "insert_many": _MANY}
    times = Counter(found["key"] for found in store.items.find({}, {"key": 1}))
    for entry in ledger:
        if entry.kind in expected:
            yield entry, times[entry.key], expected[entry.kind]
        elif entry.kind in ("delete_one", "delete_many") and entry.error is None:
            yield entry, times[entry.key], 0  # one that is there is a deletion lost, and told as doubled


def _marked(ledger: list[Entry], store: Any) -> Iterator[tuple[Entry, int, int]]:
    expected = {"update_one": 1, "modify": 1, "update_many": _MANY, "bulk": _MANY + 1}
    times: Counter[str] = Counter()
    for found in store.items.find({}, {"key": 1, "marks": 1}):
        times.update(found.get("marks", ()))
        times[found["key"]] += found["key"].startswith("bulk-")
    for entry in ledger:
        if entry.kind in expected:
            yield entry, times[entry.key], expected[entry.kind]


def _filed(ledger: list[Entry], store: Any) -> Iterator[tuple[Entry, int, int]]:
    tickets = list(store.tickets.find({}, {"key": 1, "number": 1}))
    numbers = [ticket["number"] for ticket in tickets]
    assert len(set(numbers)) == len(numbers), "a sequence gave out one number twice"
    by_ticket = Counter(ticket["key"] for ticket in tickets)
    attached = {found["key"]: found["content"] for found in store.attachments.find()}
    files = Counter(found["filename"] for found in store.fs.files.find({}, {"filename": 1}))
    chunks = {found["files_id"]: found["data"] for found in store.fs.chunks.find()}
    for entry in ledger:
        if entry.kind == "sequence":
            yield entry, by_ticket[entry.key], 1
        elif entry.kind == "file":
            yield entry, files[entry.key], 1
            if entry.error is None:
                yield entry, int(chunks.get(attached.get(entry.key)) == entry.key.encode()), 1


_COUNTS = (_inserted, _marked, _filed)


def _judge_changed(audit: Audit, ledger: list[Entry], store: Any) -> None:
    """What is in the database is at least as new as the last change that was acknowledged."""
    acknowledged: dict[int, int] = {}
    for entry in ledger:
        if entry.kind == "save_changed" and entry.error is None:
            acknowledged[entry.worker] = int(entry.key.rpartition("-")[2])
    for worker, last in acknowledged.items():
        found = [item["n"] for item in store.items.find({"key": f"changed-{worker}"})]
        if len(found) > 1:
            audit.doubled.append(f"changed-{worker}")
        if not found or max(found) < last:
            audit.lost.append(f"save_changed-{last}")
