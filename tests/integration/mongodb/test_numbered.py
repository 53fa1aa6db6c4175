"""More failures in a row of one write than the driver survives: the same transaction number each time, one effect."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect
from tests.integration.mongodb.documents import define
from tests.integration.mongodb.operations import NUMBERED

import undaunted
from undaunted.events import CallRecovered
from undaunted.mongodb import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.commands import Commands
    from tests.integration.mongodb.conftest import Strike
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

STATE_CHANGES = {"interrupted by a new state": 11602, "stepped down": 189, "shutting down": 91, "not primary": 10107}


def assert_one_number(commands: Commands, name: str, *, times: int) -> None:
    sent = commands.named(name)
    assert len(sent) == times
    assert sent[0].number is not None
    assert {(s.session, s.number) for s in sent} == {(sent[0].session, sent[0].number)}


@pytest.mark.parametrize("kind", NUMBERED)
def test_three_connections_closed(strike: Strike, shop: Documents, commands: Commands, kind: str) -> None:
    write = NUMBERED[kind]
    made = write.prepare(shop)
    commands.clear()
    with strike(write.command, times=3) as fault:
        write.run(shop, made)
    assert fault.hits == 3
    assert_one_number(commands, write.command, times=4)
    assert write.effects(shop, made) == 1


@pytest.mark.parametrize("kind", NUMBERED)
def test_three_replies_lost(lab: MongoLab, shop: Documents, commands: Commands, kind: str) -> None:
    """Applied the first time, and the answer lost three times: the server tells the fourth what the first has done."""
    write = NUMBERED[kind]
    made = write.prepare(shop)
    commands.clear()
    with lab.lost_reply(times=1) as lost:
        write.run(shop, made)
    assert lost.hits >= 1
    assert_one_number(commands, write.command, times=2)
    assert write.effects(shop, made) == 1


@pytest.mark.parametrize("code", STATE_CHANGES.values(), ids=STATE_CHANGES)
def test_three_state_changes(strike: Strike, shop: Documents, commands: Commands, code: int) -> None:
    write = NUMBERED["update_one"]
    made = write.prepare(shop)
    commands.clear()
    with strike(write.command, times=3, error_code=code) as fault:
        write.run(shop, made)
    assert fault.hits == 3
    assert_one_number(commands, write.command, times=4)
    assert write.effects(shop, made) == 1


def test_different_faults_in_a_row(lab: MongoLab, strike: Strike, shop: Documents, commands: Commands) -> None:
    """Applied with the reply lost, then refused, then cut off: still the first number."""
    write = NUMBERED["modify"]
    made = write.prepare(shop)
    commands.clear()
    with strike("findAndModify", times=2) as cut, lab.lost_reply(times=1) as lost:
        write.run(shop, made)
    assert (cut.hits, lost.hits) == (2, 1)
    assert_one_number(commands, write.command, times=4)
    assert write.effects(shop, made) == 1


def test_numbered_though_first_not_sent(strike: Strike, configure: Callable[..., None], commands: Commands) -> None:
    """The first attempt finds no free connection, so nothing is sent; what is sent later has its number."""
    configure(pool={"max": 1}, options={"waitQueueTimeoutMS": 200})
    shop = define(Document, "shop")
    item = shop.Item(key="a").save()
    commands.clear()
    slow = threading.Thread(target=lambda: list(shop.Item.objects(__raw__={"$where": "sleep(1000) || true"})))
    slow.start()
    while not commands.named("find"):
        time.sleep(0.001)
    with strike("update", times=2) as fault:
        item.update(inc__n=1)
    slow.join(30)
    assert fault.hits == 2
    assert_one_number(commands, "update", times=3)
    assert item.reload().n == 1


def test_next_write_has_its_own_number(strike: Strike, shop: Documents, commands: Commands) -> None:
    item = shop.Item(key="a").save()
    commands.clear()
    with strike("update", times=3):
        item.update(inc__n=1)
    item.update(inc__n=1)
    sent = commands.named("update")
    assert len(sent) == 5
    assert len({(s.session, s.number) for s in sent[:4]}) == 1
    assert (sent[4].session, sent[4].number) != (sent[3].session, sent[3].number)
    assert item.reload().n == 2


def test_recovery_is_told(strike: Strike, shop: Documents) -> None:
    item = shop.Item(key="a").save()
    told: list[Any] = []
    end = undaunted.subscribe(told.append, CallRecovered)
    try:
        with strike("update", times=3):
            item.update(inc__n=1)
    finally:
        end()
    assert [(event.cluster, event.operation, event.attempts) for event in told] == [("shop", "update", 4)]


@pytest.mark.parametrize("kind", ["save new", "update_one", "modify"])
def test_plain_raises_after_two(lab: MongoLab, plain: Documents, kind: str) -> None:
    write = NUMBERED[kind]
    made = write.prepare(plain)
    with lab.fail_command([write.command], times=3, close_connection=True) as fault:
        with pytest.raises(AutoReconnect):
            write.run(plain, made)
        assert fault.hits == 2
