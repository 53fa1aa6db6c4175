"""Outcomes that nobody can know: told as such, never run again by itself, and run again where that was declared."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect
from tests.integration.mongodb.documents import define
from tests.integration.mongodb.operations import NUMBERED

import undaunted
from undaunted.errors import OutcomeUnknown as AnyOutcomeUnknown
from undaunted.events import OutcomeLeftUnknown
from undaunted.mongodb import Document, OutcomeUnknown, fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.commands import Commands
    from tests.integration.mongodb.conftest import Strike
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration


@pytest.fixture
def unnumbered(configure: Callable[..., None]) -> Documents:
    """Documents whose writes carry no transaction number."""
    configure(options={"retryWrites": False})
    return define(Document, "shop")


def _database(documents: Documents) -> Any:
    return documents.Item._get_collection().database


UNNUMBERED: dict[str, tuple[str, Callable[[Documents], Any]]] = {
    "drop collection": ("drop", lambda d: d.Item.drop_collection()),
    "drop index": ("dropIndexes", lambda d: d.Item._get_collection().drop_index("key_1")),
    "rename": ("renameCollection", lambda d: d.Item._get_collection().rename("renamed")),
    "create collection": ("create", lambda d: _database(d).create_collection("made")),
    "command": (
        "update",
        lambda d: _database(d).command({"update": "items", "updates": [{"q": {}, "u": {"$inc": {"n": 1}}}]}),
    ),
    "aggregate into": ("aggregate", lambda d: d.Item.objects.aggregate([{"$merge": {"into": "copied"}}])),
}  # fmt: skip


def test_it_is_both_classes() -> None:
    assert issubclass(OutcomeUnknown, AutoReconnect)
    assert issubclass(OutcomeUnknown, AnyOutcomeUnknown)
    assert AnyOutcomeUnknown is undaunted.OutcomeUnknown


@pytest.mark.parametrize("kind", NUMBERED)
def test_without_numbers(strike: Strike, unnumbered: Documents, commands: Commands, kind: str) -> None:
    write = NUMBERED[kind]
    made = write.prepare(unnumbered)
    commands.clear()
    told: list[Any] = []
    end = undaunted.subscribe(told.append, OutcomeLeftUnknown)
    with strike(write.command) as fault, pytest.raises(OutcomeUnknown) as caught:
        write.run(unnumbered, made)
    end()
    assert fault.hits == 1
    assert [sent.number for sent in commands.named(write.command)] == [None]
    assert len(caught.value.attempts) == 1
    assert isinstance(caught.value.__cause__, AutoReconnect)
    assert "idempotent" in str(caught.value)
    assert len(told) == 1
    assert write.effects(unnumbered, made) == 0  # this fault comes before the write is executed


@pytest.mark.parametrize("kind", NUMBERED)
def test_declared_idempotent(strike: Strike, unnumbered: Documents, commands: Commands, kind: str) -> None:
    write = NUMBERED[kind]
    made = write.prepare(unnumbered)
    commands.clear()
    with strike(write.command, times=2) as fault, undaunted.options(idempotent=True):
        write.run(unnumbered, made)
    assert fault.hits == 2
    assert len(commands.named(write.command)) == 3
    assert write.effects(unnumbered, made) == 1


def test_applied_and_unknown(strike: Strike, unnumbered: Documents, commands: Commands) -> None:
    """The node executes the write and shuts down: it may be rolled back, so nobody knows."""
    item = unnumbered.Item(key="a").save()
    commands.clear()
    error = {"code": 91, "errmsg": "shutting down"}
    with strike("update", write_concern_error=error), pytest.raises(OutcomeUnknown):
        item.update(inc__n=1)
    assert len(commands.named("update")) == 1
    assert item.reload().n == 1


def test_not_executed_is_run_again(strike: Strike, unnumbered: Documents, commands: Commands) -> None:
    """A node that is no primary has done nothing, so that is no unknown outcome."""
    item = unnumbered.Item(key="a").save()
    commands.clear()
    with strike("update", times=3, error_code=10107) as fault:
        item.update(inc__n=1)
    assert fault.hits == 3
    assert len(commands.named("update")) == 4
    assert item.reload().n == 1


def test_no_answer_until_the_deadline(strike: Strike, unnumbered: Documents, commands: Commands) -> None:
    item = unnumbered.Item(key="a").save()
    commands.clear()
    with strike("update", block_ms=3000), pytest.raises(OutcomeUnknown), undaunted.deadline("1s"):
        item.update(inc__n=1)
    assert len(commands.named("update")) == 1


@pytest.mark.parametrize("kind", UNNUMBERED)
def test_outside_of_numbers(strike: Strike, shop: Documents, commands: Commands, kind: str) -> None:
    command, run = UNNUMBERED[kind]
    shop.Item(key="a").save()
    commands.clear()
    with strike(command) as fault, pytest.raises(OutcomeUnknown):
        run(shop)
    assert fault.hits == 1
    assert len(commands.named(command)) == (1 if kind != "rename" else 0)  # that one goes to the database admin


@pytest.mark.parametrize("kind", UNNUMBERED)
def test_outside_of_numbers_declared_idempotent(strike: Strike, shop: Documents, kind: str) -> None:
    command, run = UNNUMBERED[kind]
    shop.Item(key="a").save()
    with strike(command, times=2) as fault, undaunted.options(idempotent=True):
        run(shop)
    assert fault.hits == 2


def test_indexes_are_made_again_by_themselves(strike: Strike, shop: Documents) -> None:
    """Making an index that is there does nothing, so it needs no declaration."""
    with strike("createIndexes", times=3) as fault:
        shop.Item(key="a").save()
    assert fault.hits == 3
    assert {"key_1", "group_1"} <= set(shop.Item._get_collection().index_information())


def test_unacknowledged(shop: Documents, commands: Commands) -> None:
    """A write with w:0 has no answer at all: when its connection breaks, nobody knows how far it came."""
    shop.Item(key="a").save()
    commands.clear()
    _break_idle_connections(shop)
    with pytest.raises(OutcomeUnknown):
        shop.Item.objects(key="a").update_one(inc__n=1, write_concern={"w": 0})
    assert len(commands.named("update")) <= 1


def test_unacknowledged_declared_idempotent(shop: Documents) -> None:
    shop.Item(key="a").save()
    _break_idle_connections(shop)
    with undaunted.options(idempotent=True):
        shop.Item.objects(key="a").update_one(set__n=1, write_concern={"w": 0})


def test_declared_by_the_model(strike: Strike, configure: Callable[..., None]) -> None:
    configure(options={"retryWrites": False})

    class Setting(Document):
        __undaunted__ = {"cluster": "shop", "idempotent": True}
        key = fields.StringField()
        n = fields.IntField()

    setting = Setting(key="a").save()
    with strike("update", times=2) as fault:
        setting.update(set__n=7)
    assert fault.hits == 2
    assert setting.reload().n == 7


def test_no_data_in_the_message(strike: Strike, unnumbered: Documents) -> None:
    item = unnumbered.Item(key="secret-key").save()
    with strike("update"), pytest.raises(OutcomeUnknown) as caught:
        unnumbered.Item.objects(key="secret-key").update_one(set__group="secret-group")
    assert "secret" not in f"{caught.value} {caught.value!r} {caught.value.attempts!r}"
    assert item.reload().group is None


def test_plain_many_is_a_coin_toss(lab: MongoLab, plain: Documents) -> None:
    """The same error whether the plain stack's update of many was applied or not."""
    plain.Item.objects.insert([plain.Item(group="g") for _ in range(3)])
    with lab.fail_command(["update"], times=1, close_connection=True), pytest.raises(AutoReconnect):
        plain.Item.objects(group="g").update(inc__n=1)
    assert plain.Item.objects(group="g").distinct("n") == [0]


def _break_idle_connections(documents: Documents) -> None:
    """Have the next thing sent on each connection fail, as when the node has just gone."""
    client = documents.Item._get_collection().database.client
    for server in client._topology._servers.values():
        for connection in server.pool.conns:
            connection.conn.sock.shutdown(socket.SHUT_WR)
