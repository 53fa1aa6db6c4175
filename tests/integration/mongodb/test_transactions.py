"""Units of work over several models: run again as a whole, from documents as they were, and committed once."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from mongoengine import NotUniqueError, OperationError, fields
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from pymongo.read_concern import ReadConcern

import undaunted
from undaunted.mongodb import Document, OutcomeUnknown, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.commands import Commands
    from tests.integration.mongodb.conftest import Strike
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

GONE = {"code": 91, "errmsg": "shutting down"}

FAULTS: dict[str, dict[str, Any]] = {
    "connection closed": {"commands": ["update"], "close_connection": True},
    "insert cut off": {"commands": ["insert"], "close_connection": True},
    "conflict": {"commands": ["update"], "error_code": 112, "labels": ["TransientTransactionError"]},
    "stepped down": {"commands": ["update"], "error_code": 11602, "labels": ["TransientTransactionError"]},
    "unknown transaction": {"commands": ["insert"], "error_code": 251, "labels": ["TransientTransactionError"]},
    "read cut off": {"commands": ["find"], "close_connection": True},
    "commit rolled back": {
        "commands": ["commitTransaction"],
        "error_code": 251,
        "labels": ["TransientTransactionError"],
    },
}

COMMIT_FAULTS: dict[str, dict[str, Any]] = {
    "connection closed": {"close_connection": True},
    "executed and gone": {"write_concern_error": GONE},
    "stepping down": {"error_code": 11602},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_run_again_as_a_whole(strike: Strike, shop: Documents, fault: str) -> None:
    """A new and a changed document, made outside of the body: each run begins with them as they were."""
    shop.Ticket.ensure_indexes()
    shop.Row.ensure_indexes()
    changed = shop.Item(key="changed", n=1, marks=["first"]).save()
    new = shop.Item(key="new")
    seen: list[tuple[Any, ...]] = []

    @transaction(shop.Item)
    def body(new: Any, changed: Any) -> str:
        seen.append((new.id, new._created, changed.n, list(changed.marks), list(changed._get_changed_fields())))
        new.save()
        changed.n += 1
        changed.marks.append("second")
        changed.save()
        shop.Row(k=1, level=shop.Item.objects.count()).save()
        assert shop.Item.objects.get(key="new").id == new.id
        return "done"

    struck = dict(FAULTS[fault])
    with strike(*struck.pop("commands"), times=3, **struck) as point:
        assert body(new, changed) == "done"
    assert point.hits == 3
    # the driver itself reads once more within the transaction, before that is run again
    assert len(seen) == 4 or (fault == "read cut off" and len(seen) > 1)
    assert seen == [(None, True, 1, ["first"], [])] * len(seen)
    assert shop.Item.objects.get(key="new").id == new.id
    assert not new._created
    stored = shop.Item.objects.get(key="changed")
    assert (stored.n, stored.marks) == (2, ["first", "second"])
    assert [(row.k, row.level) for row in shop.Row.objects] == [(1, 2)]
    new.n = 9  # afterwards they are as if there had been one run
    new.save()
    changed.n = 9
    changed.save()
    assert shop.Item.objects(n=9).count() == 2


@pytest.mark.parametrize("fault", COMMIT_FAULTS)
def test_unknown_commit_is_asked_again(strike: Strike, shop: Documents, commands: Commands, fault: str) -> None:
    """The body is not run again: the commit is."""
    item = shop.Item(key="a").save()
    runs = 0

    @transaction(shop.Item)
    def body() -> None:
        nonlocal runs
        runs += 1
        shop.Item.objects(key="a").update_one(inc__n=1)

    with strike("commitTransaction", times=3, **COMMIT_FAULTS[fault]) as point:
        body()
    assert point.hits == 3
    assert runs == 1
    assert item.reload().n == 1


def test_commit_unanswered_until_the_deadline(strike: Strike, shop: Documents) -> None:
    shop.Item.ensure_indexes()
    new = shop.Item(key="new")

    def body(new: Any) -> None:
        new.save()

    gone = strike("commitTransaction", times=None, write_concern_error=GONE)
    with gone, undaunted.deadline("1s"), pytest.raises(OutcomeUnknown) as caught:
        transaction(shop.Item).run(body, new)
    assert isinstance(caught.value, AutoReconnect)
    new.save()  # whatever became of the commit, this makes no second document
    assert shop.Item.objects(key="new").count() == 1


def test_an_error_of_its_own_undoes_all(shop: Documents) -> None:
    changed = shop.Item(key="changed", n=1).save()
    new = shop.Item(key="new")

    class ChangedError(Exception):
        pass

    @transaction(shop.Item)
    def body(new: Any, changed: Any) -> None:
        new.save()
        changed.n = 2
        changed.save()
        raise ChangedError

    with pytest.raises(ChangedError):
        body(new, changed)
    assert [item.key for item in shop.Item.objects] == ["changed"]
    assert (new.id, new._created, changed.n) == (None, True, 1)
    new.save()  # not a silent nothing: it has never been saved
    changed.n = 2
    changed.save()
    assert sorted((item.key, item.n) for item in shop.Item.objects) == [("changed", 2), ("new", 0)]


def test_native_errors_pass(shop: Documents) -> None:
    class Account(Document):
        meta = {"db_alias": "shop", "collection": "accounts"}
        name = fields.StringField(unique=True)

    Account(name="a").save()
    runs = 0

    @transaction(Account)
    def body() -> None:
        nonlocal runs
        runs += 1
        Account(name="b").save()
        Account(name="a").save()

    with pytest.raises(NotUniqueError):
        body()
    assert runs == 1
    assert Account.objects.distinct("name") == ["a"]


def test_counts_and_all_reads_inside(shop: Documents) -> None:
    shop.Owner(name="before").save()
    for k in range(10):
        shop.Row(k=k).save()

    @transaction(shop.Row)
    def body() -> dict[str, Any]:
        owner = shop.Owner(name="inside").save()
        shop.Row(k=10, owner=owner).save()
        shop.Row.objects.insert([shop.Row(k=k) for k in (11, 12)], load_bulk=False)
        shop.Row.objects(k__lt=2).update(set__level=5)
        shop.Row.objects(k=2).delete()
        return {
            "count": shop.Row.objects.count(),
            "filtered": shop.Row.objects(k__lt=5).count(),
            "sum": shop.Row.objects.sum("k"),
            "distinct": shop.Row.objects(level=5).distinct("k"),
            "first": shop.Row.objects.order_by("-k").first().k,
            "len": len(shop.Row.objects),
            "owner": shop.Row.objects.get(k=10).owner.name,
            "modify": shop.Row.objects(k=3).modify(set__level=6, new=True).level,
            "in_bulk": len(shop.Owner.objects.in_bulk([owner.id])),
        }

    assert body() == {
        "count": 12,
        "filtered": 4,
        "sum": 76,
        "distinct": [0, 1],
        "first": 12,
        "len": 12,
        "owner": "inside",
        "modify": 6,
        "in_bulk": 1,
    }
    assert shop.Row.objects.count() == 12


def test_a_collection_that_does_not_exist_yet(shop: Documents) -> None:
    """Its first use is in the transaction, where a server makes no index."""

    @transaction(shop.Item)
    def body() -> None:
        shop.Item(key="a").save()
        shop.Ticket(key="b").save()

    body()
    assert shop.Item.objects.count() == shop.Ticket.objects.count() == 1
    assert "key_1" in shop.Item._get_collection().index_information()


def test_one_within_another_is_part_of_it(shop: Documents) -> None:
    @transaction(shop.Item)
    def inner() -> None:
        shop.Item(key="inner").save()

    @transaction(shop.Item)
    def outer() -> None:
        shop.Item(key="outer").save()
        inner()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        outer()
    assert shop.Item.objects.count() == 0


def test_not_seen_before_its_commit(shop: Documents) -> None:
    found: list[int] = []

    @transaction(shop.Item)
    def body() -> None:
        shop.Item(key="a").save()
        other = threading.Thread(target=lambda: found.append(shop.Item.objects(key="a").count()))
        other.start()
        other.join(30)

    body()
    assert found == [0]
    assert shop.Item.objects.count() == 1


def test_a_loop_that_cannot_be_entered_twice(shop: Documents) -> None:
    with pytest.raises(TypeError, match="Decorate a function"), transaction(shop.Item):
        pass


def test_a_body_that_cannot_be_run_again_is_not(strike: Strike, shop: Documents) -> None:
    """A document reached for and changed in place before it could be remembered: an error, not a lost change."""
    shop.Item(key="a", marks=["first"]).save()
    holder = {"deep": [[shop.Item.objects.get(key="a")]]}

    @transaction(shop.Item)
    def body() -> None:
        item = holder["deep"][0][0]
        item.marks.append("second")
        item.save()

    with strike("update"), pytest.raises(AutoReconnect) as caught:
        body()
    assert any("Pass such" in note for note in getattr(caught.value, "__notes__", ["Pass such"]))
    assert shop.Item.objects.get(key="a").marks == ["first"]


def test_two_that_conflict(shop: Documents) -> None:
    """Real conflicts between real transactions: every increment of every thread counts once."""
    shop.Item(key="a").save()
    shop.Item(key="b").save()

    @transaction(shop.Item)
    def move() -> None:
        one = shop.Item.objects.get(key="a")
        one.n += 1
        one.save()
        shop.Item.objects(key="b").update_one(dec__n=1)

    def work() -> None:
        for _ in range(15):
            move()

    _run_threads([work] * 4)
    assert (shop.Item.objects.get(key="a").n, shop.Item.objects.get(key="b").n) == (60, -60)


def _run_threads(works: list[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("fault", ["kill", "freeze", "step down"])
def test_transfers_through_a_fault(lab: MongoLab, shop: Documents, fault: str) -> None:
    """Money moves between accounts and a slip of each transfer is filed: the sum stays, each slip is there once."""
    accounts = [shop.Item(key=f"account-{number}", n=100).save() for number in range(6)]
    shop.Ticket.ensure_indexes()
    shop.Row.ensure_indexes()
    stop = threading.Event()
    filed: list[Any] = []

    def transfer(source: Any, target: Any, slip: Any) -> None:
        source.n -= 1
        source.save()
        shop.Item.objects(key=target).update_one(inc__n=1)
        slip.level = shop.Item.objects.count()
        slip.save()

    def work(number: int) -> None:
        source = shop.Item.objects.get(key=f"account-{number}")  # this thread alone takes from it
        turn = 0
        while not stop.is_set():
            target = f"account-{3 + random.randrange(3)}"
            slip = shop.Row(k=number * 100_000 + turn)
            transaction(shop.Item).run(transfer, source, target, slip)
            filed.append((slip.id, slip.k))
            turn += 1

    failed: list[BaseException] = []
    threads = [threading.Thread(target=_noting, args=(work, number, failed)) for number in range(3)]
    for thread in threads:
        thread.start()
    _wait_until(lambda: len(filed) > 20 or bool(failed))
    if fault == "kill":
        struck = lab.kill("primary")
    elif fault == "freeze":
        struck = lab.freeze("primary")
    else:
        struck = lab.step_down()
    lab.wait_primary(other_than=struck)
    count = len(filed)
    _wait_until(lambda: len(filed) > count + 20 or bool(failed))
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if failed:
        raise failed[0]
    lab.heal()
    database = shop.Item._get_collection().database.name
    with MongoClient(lab.uri) as client:
        store = client.get_database(database, read_concern=ReadConcern("majority"))
        slips = sorted((row["_id"], row["k"]) for row in store.rows.find())
        assert slips == sorted(filed)
        assert sum(item["n"] for item in store.items.find()) == 600
        taken = sum(100 - store.items.find_one({"key": f"account-{number}"})["n"] for number in range(3))
        assert taken == len(filed)
        assert {row["level"] for row in store.rows.find()} == {len(accounts)}


def _noting(work: Callable[[int], None], number: int, failed: list[BaseException]) -> None:
    try:
        work(number)
    except BaseException as error:
        failed.append(error)


def _wait_until(condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_plain_transaction_drops_a_document(lab: MongoLab, plain: Documents) -> None:
    """The driver runs the body again, MongoEngine takes the document for saved: it is committed without it."""
    plain.Item.ensure_indexes()
    client = plain.Item._get_collection().database.client
    item = plain.Item(key="a")
    runs = 0

    def body(session: Any) -> None:
        nonlocal runs
        runs += 1
        with session.bind(end_session=False):
            item.save()

    fault = {"error_code": 251, "labels": ["TransientTransactionError"]}
    with lab.fail_command(["commitTransaction"], times=1, **fault), client.start_session() as session:
        session.with_transaction(body)
    assert runs == 2
    assert plain.Item.objects(key="a").count() == 0
    item.save()
    assert plain.Item.objects(key="a").count() == 0


def test_plain_transaction_is_not_run_again_behind_a_wrapped_error(lab: MongoLab, plain: Documents) -> None:
    plain.Item(key="a").save()
    client = plain.Item._get_collection().database.client
    runs = 0

    def body(session: Any) -> None:
        nonlocal runs
        runs += 1
        with session.bind(end_session=False):
            plain.Item.objects(key="a").update_one(inc__n=1)

    fault = {"error_code": 112, "labels": ["TransientTransactionError"]}
    with (
        client.start_session() as session,
        lab.fail_command(["update"], **fault),
        pytest.raises(OperationError),  # MongoEngine's own, which hides what the driver looks for
    ):
        session.with_transaction(body)
    assert runs == 1
