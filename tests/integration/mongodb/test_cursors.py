"""Scans that lose their node go on exactly: each document once, in order, none left out; or they raise, and again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect, OperationFailure
from tests.integration.mongodb.load import seed_rows

import undaunted
from undaunted.events import CursorResumed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.mongodb.commands import Commands
    from tests.integration.mongodb.conftest import Strike
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

ROWS = 20_000
BATCH = 200

IN_ORDER = list(range(ROWS))

GET_MORE_FAULTS: dict[str, dict[str, Any]] = {
    "connection closed": {"close_connection": True},
    "cursor not found": {"error_code": 43},
    "stepped down": {"error_code": 11602},
}


def _k(rows: Any) -> Iterator[int]:
    return (row["k"] for row in rows)


def _aggregate(documents: Documents, *stages: dict[str, Any]) -> Iterator[int]:
    return _k(documents.Row.objects.aggregate([{"$match": {"k": {"$gte": 0}}}, *stages], batchSize=BATCH))


SCANS: dict[str, tuple[Callable[[Documents], Iterator[int]], list[int] | None]] = {
    "sorted": (lambda d: _k(d.Row.objects.order_by("k").batch_size(BATCH)), IN_ORDER),
    "sorted, no cache": (lambda d: _k(d.Row.objects.order_by("k").batch_size(BATCH).no_cache()), IN_ORDER),
    "backwards": (lambda d: _k(d.Row.objects.order_by("-k").batch_size(BATCH).as_pymongo()), IN_ORDER[::-1]),
    "by a level that seven rows share": (
        lambda d: _k(d.Row.objects.order_by("level", "-k").batch_size(BATCH).as_pymongo()),
        sorted(IN_ORDER, key=lambda k: (k // 7, -k)),
    ),
    "without an order": (lambda d: _k(d.Row.objects.batch_size(BATCH).as_pymongo()), None),
    "filtered, limited and skipped": (
        lambda d: _k(d.Row.objects(k__gte=10).order_by("k").skip(5).limit(15_000).batch_size(BATCH).as_pymongo()),
        list(range(15, 15_015)),
    ),
    "only some fields": (lambda d: _k(d.Row.objects.only("k").order_by("k").batch_size(BATCH)), IN_ORDER),
    "aggregate": (lambda d: _aggregate(d, {"$sort": {"k": 1}}), IN_ORDER),
    "aggregate in groups": (
        lambda d: (row["_id"] for row in d.Row.objects.aggregate([{"$group": {"_id": "$k"}}], batchSize=BATCH)),
        None,
    ),
}


@pytest.fixture
def rows(shop: Documents) -> Documents:
    seed_rows(shop, ROWS)
    return shop


def _take(scan: Iterator[int], count: int) -> list[int]:
    return [next(scan) for _ in range(count)]


@pytest.mark.parametrize("fault", ["kill", "freeze", "step down"])
def test_twenty_thousand(lab: MongoLab, rows: Documents, fault: str) -> None:
    """Many scans are somewhere in their middle, idle between two batches or within one, as the fault comes."""
    scans = {name: start(rows) for name, (start, _) in SCANS.items()}
    found = {
        name: _take(scan, (place + 1) * 1000 + (place % 2) * 73) for place, (name, scan) in enumerate(scans.items())
    }
    told: list[Any] = []
    end = undaunted.subscribe(told.append, CursorResumed)
    if fault == "kill":
        struck = lab.kill("primary")
    elif fault == "freeze":
        struck = lab.freeze("primary")
    else:
        struck = lab.step_down()
    for name, scan in scans.items():
        found[name].extend(scan)
    end()
    for name, (_, expected) in SCANS.items():
        if expected is None:
            assert Counter(found[name]) == Counter(IN_ORDER), name
        else:
            assert found[name] == expected, name
    print(f"{fault}: {len(told)} of {len(scans)} scans resumed")
    if fault != "step down":  # a cursor outlives that
        assert len(told) >= len(scans)
        assert {event.node for event in told} <= {struck.address, None}  # None: no node was found the first time


def test_cached_queryset_after_a_kill(lab: MongoLab, shop: Documents) -> None:
    """The second pass over one queryset is as long as the first, and so is what was looked at by index."""
    seed_rows(shop, 1000)
    queryset = shop.Row.objects.order_by("k").batch_size(100)
    scan = iter(queryset)
    found = [next(scan).k for _ in range(250)]
    lab.kill("primary")
    found.extend(row.k for row in scan)
    assert found == list(range(1000))
    assert [row.k for row in queryset] == list(range(1000))
    assert len(queryset) == 1000
    assert queryset[700].k == 700


@pytest.mark.parametrize("fault", GET_MORE_FAULTS)
def test_batches_lost(strike: Strike, shop: Documents, fault: str) -> None:
    seed_rows(shop, 1000)
    scans = {name: start(shop) for name, (start, _) in SCANS.items() if "limited" not in name}
    times = 3 if fault == "cursor not found" else 1  # after the others the driver looks around for half a second
    for name, scan in scans.items():
        found = _take(scan, 10)
        with strike("getMore", times=times, **GET_MORE_FAULTS[fault]) as struck:
            found.extend(scan)
        assert struck.hits == times, name
        expected = SCANS[name][1]
        if expected is None:
            assert Counter(found) == Counter(range(1000)), name
        else:
            assert found == [k for k in expected if k < 1000], name


def _seeded_values(documents: Documents, values: list[Any]) -> Any:
    collection = documents.Row._get_collection()
    collection.insert_many([{"k": k, "v": value} if value is not ... else {"k": k} for k, value in enumerate(values)])
    return collection


@pytest.mark.parametrize("direction", [1, -1])
def test_sort_over_types_and_gaps(strike: Strike, shop: Documents, direction: int) -> None:
    """MongoDB sorts across types and compares only within one: nulls, absent fields and mixtures must all come once."""
    values = [None, ..., 1, 2.5, "a", "b", True, False, None, ..., 7, "c"] * 20
    collection = _seeded_values(shop, values)
    expected = [row["k"] for row in collection.find().sort([("v", direction), ("k", 1)])]
    for start in range(2, 240, 17):
        cursor = collection.find(batch_size=2).sort([("v", direction), ("k", 1)])
        found = [next(cursor)["k"] for _ in range(start)]
        with strike("getMore", error_code=43):
            found.extend(row["k"] for row in cursor)
        assert found == expected, start


UNRESUMABLE: dict[str, Callable[[Documents], Any]] = {
    "documents without their _id": lambda d: d.Row._get_collection().find({}, {"_id": 0}, batch_size=10),
    "skip without an order": lambda d: d.Row._get_collection().find(skip=5, batch_size=10),
    "an unwound pipeline": lambda d: d.Row.objects.aggregate([{"$unwind": "$k"}], batchSize=10),
    "a sampled pipeline": lambda d: d.Row.objects.aggregate([{"$sample": {"size": 500}}], batchSize=10),
    "a limited pipeline": lambda d: d.Row.objects.aggregate([{"$limit": 500}], batchSize=10),
    "a pipeline that renames": lambda d: d.Row.objects.aggregate(
        [{"$project": {"_id": "$level", "k": 1}}], batchSize=10
    ),
}


@pytest.mark.parametrize("kind", UNRESUMABLE)
@pytest.mark.parametrize("fault", ["connection closed", "cursor not found"])
def test_raises_and_raises_again(strike: Strike, shop: Documents, kind: str, fault: str) -> None:
    """Where nothing makes it exact, nothing is guessed: the error comes, with the reason, at each further step."""
    seed_rows(shop, 600)
    cursor = UNRESUMABLE[kind](shop)
    for _ in range(5):
        next(cursor)
    with strike("getMore", **GET_MORE_FAULTS[fault]), pytest.raises((AutoReconnect, OperationFailure)) as caught:
        list(cursor)
    if hasattr(caught.value, "__notes__"):
        assert any("cannot be resumed" in note for note in caught.value.__notes__)
    for _ in range(2):
        with pytest.raises(type(caught.value)):
            next(cursor)


def test_failed_queryset_raises_again(strike: Strike, shop: Documents) -> None:
    """Its second pass must not be a silently shorter one."""
    seed_rows(shop, 600)
    for queryset in (shop.Row.objects.batch_size(50), shop.Row.objects.order_by("k").batch_size(50)):
        with strike("getMore", error_code=2), pytest.raises(OperationFailure):  # BadValue: permanent
            list(queryset)
        with pytest.raises(OperationFailure):
            list(queryset)
        with pytest.raises(OperationFailure):
            len(queryset)
        assert len(list(queryset.clone())) == 600


def test_rewound_cursor_begins_anew(strike: Strike, shop: Documents) -> None:
    seed_rows(shop, 600)
    cursor = shop.Row._get_collection().find({}, {"_id": 0}, batch_size=50)
    with strike("getMore", error_code=43), pytest.raises(OperationFailure):
        list(cursor)
    cursor.rewind()
    assert len(list(cursor)) == 600


def test_no_more_commands_than_plain(shop: Documents, plain: Documents, commands: Commands) -> None:
    """A scan that nothing disturbs sends what the plain one sends."""
    seed_rows(shop, 1000)
    sent: list[Counter[str]] = []
    for documents in (plain, shop):
        documents.Row.objects.first()
        commands.clear()
        assert len(list(documents.Row.objects.order_by("k").batch_size(100))) == 1000
        assert sum(1 for _ in documents.Row.objects.aggregate([{"$sort": {"k": 1}}], batchSize=100)) == 1000
        sent.append(Counter(commands.names()))
    assert sent[0] == sent[1]


def test_plain_truncates(lab: MongoLab, plain: Documents) -> None:
    """The second pass over a queryset of the plain stack that failed is short, without a word."""
    seed_rows(plain, 600)
    queryset = plain.Row.objects.order_by("k").batch_size(50)
    with lab.fail_command(["getMore"], times=1, error_code=43), pytest.raises(OperationFailure):
        list(queryset)
    assert 0 < len(list(queryset)) < 600


def test_plain_raises_on_a_lost_batch(lab: MongoLab, plain: Documents) -> None:
    seed_rows(plain, 600)
    scan = iter(plain.Row.objects.order_by("k").batch_size(50).no_cache())
    next(scan)
    with lab.fail_command(["getMore"], times=1, close_connection=True), pytest.raises(AutoReconnect):
        list(scan)
