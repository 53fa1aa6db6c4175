"""Writes to many documents: wholly done, exactly once, however often the connection breaks; or not done at all."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from mongoengine import OperationError, fields
from mongoengine.errors import BulkWriteError as MongoEngineBulkWriteError
from pymongo import DeleteMany, DeleteOne, InsertOne, ReplaceOne, UpdateMany, UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError

import undaunted
from undaunted.mongodb import Document, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.commands import Commands
    from tests.integration.mongodb.conftest import Strike
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration


def _update(d: Documents) -> None:
    assert d.Item.objects(group="g").update(inc__n=1) == 20


def _update_all(d: Documents) -> None:
    d.Item.objects.update(inc__n=1)


def _delete(d: Documents) -> None:
    assert d.Item.objects(group="g").delete() == 20


def _insert(d: Documents) -> None:
    d.Item.objects.insert([d.Item(group="new") for _ in range(20)], load_bulk=False)


def _bulk(d: Documents) -> None:
    result = d.Item._get_collection().bulk_write(
        [
            InsertOne({"group": "new"}),
            UpdateOne({"key": "0"}, {"$inc": {"n": 1}}),
            UpdateMany({"group": "g"}, {"$inc": {"n": 10}}),
            ReplaceOne({"key": "1"}, {"key": "1", "group": "g", "n": 100}),
            DeleteOne({"key": "2"}),
            DeleteMany({"key": {"$in": ["3", "4"]}}),
        ]
    )
    assert (result.inserted_count, result.modified_count, result.deleted_count) == (1, 22, 3)


def _ns(d: Documents) -> list[int]:
    return sorted(item["n"] for item in d.Item.objects(group="g").as_pymongo())


WRITES: dict[str, tuple[str, Callable[[Documents], Any], Callable[[Documents], Any], Any, Any]] = {
    "update": ("update", _update, _ns, [1] * 20, [0] * 20),
    "update all": ("update", _update_all, _ns, [1] * 20, [0] * 20),
    "delete": ("delete", _delete, lambda d: d.Item.objects(group="g").count(), 0, 20),
    "insert": ("insert", _insert, lambda d: d.Item.objects(group="new").count(), 20, 0),
    "bulk": (
        "update",
        _bulk,
        lambda d: [_ns(d), d.Item.objects(group="new").count()],
        [[10] * 15 + [11, 100], 1],
        [[0] * 20, 0],
    ),
}
"""The command that the faults strike, the write, what is looked at afterwards, and that once done and undone."""


def _seed(d: Documents) -> None:
    d.Item.objects.insert([d.Item(key=str(i), group="g", n=0) for i in range(20)], load_bulk=False)


@pytest.mark.parametrize("kind", WRITES)
def test_three_connections_closed(strike: Strike, shop: Documents, kind: str) -> None:
    command, write, look, done, _ = WRITES[kind]
    _seed(shop)
    with strike(command, times=3) as fault:
        write(shop)
    assert fault.hits == 3
    assert look(shop) == done


@pytest.mark.parametrize("kind", ["update", "bulk"])
def test_commit_unanswered(strike: Strike, shop: Documents, kind: str) -> None:
    """Three commits cut off before they are executed, and one executed whose answer is lost."""
    _, write, look, done, _ = WRITES[kind]
    _seed(shop)
    with strike("commitTransaction", times=3) as fault:
        write(shop)
    assert fault.hits == 3
    assert look(shop) == done


@pytest.mark.parametrize("kind", ["update", "insert"])
def test_commit_executed_then_gone(strike: Strike, shop: Documents, kind: str) -> None:
    _, write, look, done, _ = WRITES[kind]
    _seed(shop)
    error = {"code": 91, "errmsg": "shutting down"}
    with strike("commitTransaction", times=2, write_concern_error=error) as fault:
        write(shop)
    assert fault.hits == 2
    assert look(shop) == done


@pytest.mark.parametrize("code", [11602, 10107, 112, 251])
def test_refusals(strike: Strike, shop: Documents, code: int) -> None:
    """State changes, and what undoes a transaction: a conflict, an unknown transaction, a lock not to be had."""
    _seed(shop)
    with strike("update", times=3, error_code=code) as fault:
        _update(shop)
    assert fault.hits == 3
    assert _ns(shop) == [1] * 20


@pytest.mark.parametrize("kind", ["delete", "bulk"])
def test_deadline_leaves_nothing_half_done(strike: Strike, shop: Documents, kind: str) -> None:
    """It never got as far as its commit, so its outcome is known: a typed error, and nothing has happened."""
    command, write, look, _, undone = WRITES[kind]
    _seed(shop)
    with strike(command, times=None), undaunted.deadline("1s"), pytest.raises(undaunted.UndauntedError) as caught:
        write(shop)
    assert isinstance(caught.value, AutoReconnect)
    assert not isinstance(caught.value, OutcomeUnknown)
    assert look(shop) == undone


def test_commit_unanswered_until_the_deadline(strike: Strike, shop: Documents) -> None:
    _seed(shop)
    with strike("commitTransaction", times=None), undaunted.deadline("1s"), pytest.raises(OutcomeUnknown):
        _update(shop)
    assert _ns(shop) in ([0] * 20, [1] * 20)


def test_plain_by_option(strike: Strike, shop: Documents, commands: Commands) -> None:
    """Without a transaction its outcome cannot be known; declared idempotent it is run again."""
    _seed(shop)
    commands.clear()
    with undaunted.options(many_writes="plain"):
        _update(shop)
        assert commands.names() == ["update"]
        with strike("update"), pytest.raises(OutcomeUnknown):
            _update(shop)
        with strike("update", times=2), undaunted.options(idempotent=True):
            _update(shop)
    assert _ns(shop) == [2] * 20


def test_duplicate_in_the_middle(shop: Documents) -> None:
    """The meaning of a request that is wrong is kept: in order up to the mistake, or everything but it."""

    class Account(Document):
        meta = {"db_alias": "shop", "collection": "accounts"}
        name = fields.StringField(unique=True)

    Account(name="c").save()
    with pytest.raises(MongoEngineBulkWriteError):
        Account.objects.insert([Account(name=name) for name in "abcde"])
    assert Account.objects.distinct("name") == ["a", "b", "c"]
    with pytest.raises(BulkWriteError):
        Account._get_collection().insert_many([{"name": name} for name in "cdef"], ordered=False)
    assert Account.objects.distinct("name") == ["a", "b", "c", "d", "e", "f"]


def test_more_than_one_message_holds(lab: MongoLab, strike: Strike, shop: Documents) -> None:
    """An insert that the driver must send in two commands is still one: done, or not done."""
    for node in lab.nodes:  # the lab's small cache refuses 60 MB in one transaction when it has other work as well
        lab.command(node, {"setParameter": 1, "wiredTigerEngineRuntimeConfig": "cache_size=1G"})
    shop.Item.ensure_indexes()
    made = [shop.Item(key="k" * 1_000_000, group="g") for _ in range(60)]
    shop.Item._get_collection().drop_indexes()  # a key so long cannot be indexed sensibly
    with strike("commitTransaction"):
        shop.Item.objects.insert(made, load_bulk=False)
    assert shop.Item.objects(group="g").count() == 60


def test_capped_collection(lab: MongoLab, shop: Documents) -> None:
    """No transaction can write to it, so it is written to plainly."""

    class Line(Document):
        meta = {"db_alias": "shop", "collection": "lines", "max_size": 100_000}
        n = fields.IntField(default=0)

    Line.objects.insert([Line(n=1) for _ in range(5)])
    assert Line.objects.update(set__n=2) == 5
    assert Line.objects(n=2).count() == 5


def test_a_kill_while_it_runs(lab: MongoLab, strike: Strike, shop: Documents) -> None:
    """The server is held within the write as it is killed."""
    _seed(shop)
    with strike("update", block_ms=60_000) as fault:
        worker = threading.Thread(target=_update, args=(shop,))
        worker.start()
        deadline_s = time.monotonic() + 10
        while not fault.hits and time.monotonic() < deadline_s:
            time.sleep(0.01)
        lab.kill("primary")
        worker.join(30)
        assert not worker.is_alive()
    assert _ns(shop) == [1] * 20


@pytest.mark.parametrize("kind", ["update", "delete"])
def test_plain_raises_at_once(lab: MongoLab, plain: Documents, kind: str) -> None:
    command, write, *_ = WRITES[kind]
    _seed(plain)
    with lab.fail_command([command], times=1, close_connection=True) as fault, pytest.raises(AutoReconnect):
        write(plain)
    assert fault.hits == 1


def test_plain_cannot_tell_what_happened(lab: MongoLab, plain: Documents, database: str) -> None:
    """Applied, and raised: who runs it again counts twice."""
    _seed(plain)
    error = {"code": 91, "errmsg": "shutting down"}
    with lab.fail_command(["update"], write_concern_error=error), pytest.raises(OperationError):
        _update(plain)
    with lab.client() as client:
        assert client[database].items.distinct("n") == [1]
