"""What the monitors see becomes a primary, events and an outage clock."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from undaunted.core.budget import Budget
from undaunted.core.outage import Outage
from undaunted.core.policy import BudgetPolicy, Policy
from undaunted.engine.guard import Guard
from undaunted.sqlalchemy.diagnosis import diagnose, fatal, problems_of
from undaunted.sqlalchemy.errors import CredentialsRefused, UnusableCluster, error_classes
from undaunted.sqlalchemy.faults import classify
from undaunted.sqlalchemy.monitor import sight_of
from undaunted.sqlalchemy.sights import Sight
from undaunted.sqlalchemy.tokens import Token
from undaunted.sqlalchemy.watch import Watch


class Seen:
    """A watch over three nodes, and what it told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.cut: list[str] = []
        self.asked_s = 1000.0
        self.guard = Guard(
            cluster="ledger",
            backend="sqlalchemy",
            policy=Policy(),
            budget=Budget(BudgetPolicy()),
            outage=Outage(),
            classify=classify,
            errors=error_classes(),
            publish=self.events.append,
        )
        self.watch = Watch(self.guard, ["a", "b", "c"], cut=self.cut.append)
        self.watch.begin()

    def names(self) -> list[str]:
        told = [type(event).__name__ for event in self.events]
        self.events.clear()
        return told

    def primary(self, address: str, timeline: int = 1, **more: Any) -> None:
        self.saw(Sight(**{"address": address, "role": "primary", "timeline": timeline, **LOG, **more}))

    def replica(self, address: str, timeline: int = 1, **more: Any) -> None:
        self.saw(Sight(**{"address": address, "role": "replica", "timeline": timeline, **LOG, **more}))

    def lost(self, address: str, error: str = "Refused") -> None:
        self.saw(Sight(address=address, error=error))

    def saw(self, sight: Sight, **more: Any) -> None:
        self.watch.saw(sight, **more)


LOG: dict[str, Any] = {"lsn": 100, "flushed_lsn": 100, "system_identifier": 7, "server_version": 150018, "asked_s": 1.0}


@pytest.fixture
def seen() -> Seen:
    return Seen()


def test_it_begins_without_a_primary(seen: Seen) -> None:
    assert seen.watch.primary is None
    assert not seen.guard.outage.is_over
    assert seen.names() == []


def test_a_primary_is_found(seen: Seen) -> None:
    seen.replica("b")
    assert seen.names() == ["NodeFound"]
    seen.primary("a")
    assert seen.names() == ["NodeFound", "PrimaryFound"]
    assert seen.watch.primary == "a"
    assert seen.guard.outage.is_over
    seen.primary("a")
    assert seen.names() == []


def test_a_failover(seen: Seen) -> None:
    for name in "bc":
        seen.replica(name)
    seen.primary("a")
    seen.names()
    epoch = seen.watch.epoch("a")
    seen.lost("a", "Silent")
    assert seen.names() == ["NodeLost", "PrimaryLost"]
    assert seen.cut == ["a"]
    assert seen.watch.epoch("a") == epoch + 1
    assert not seen.watch.is_current("a", epoch, for_writes=False)
    assert seen.guard.outage.without_primary_since is not None
    assert seen.guard.outage.without_node_since is None
    seen.primary("b", 2)
    (found, completed) = seen.events
    assert type(found).__name__ == "PrimaryFound"
    assert (completed.from_node, completed.to_node) == ("a", "b")
    assert completed.elapsed_s >= 0


def test_a_promotion_beside_a_living_primary_cuts_that(seen: Seen) -> None:
    seen.primary("a")
    epoch = seen.watch.epoch("a")
    seen.replica("b")
    seen.names()
    seen.primary("b", 2)
    assert seen.watch.primary == "b"
    assert seen.cut == ["a"]
    assert not seen.watch.is_current("a", epoch, for_writes=False)
    assert "FailoverCompleted" in seen.names()


def test_two_primaries_are_told_of_once_both_have_answered_again(seen: Seen) -> None:
    seen.primary("a")
    seen.primary("b", 2)
    assert "TwoPrimaries" not in seen.names()
    for name, timeline in (("a", 1), ("b", 2)):
        seen.primary(name, timeline, asked_s=1e12)
    (told,) = [event for event in seen.events if type(event).__name__ == "TwoPrimaries"]
    assert (told.nodes, told.chosen) == (("a", "b"), "b")
    seen.names()
    seen.primary("a", 1, asked_s=1e12)
    assert seen.names() == []
    seen.lost("a")
    assert seen.watch.contested == ()


def test_a_restart_ends_all_connections(seen: Seen) -> None:
    seen.primary("a")
    epoch = seen.watch.epoch("a")
    seen.saw(Sight(address="a", role="primary", timeline=1, **LOG), restarted=True)
    assert seen.cut == ["a"]
    assert not seen.watch.is_current("a", epoch, for_writes=True)
    assert seen.watch.is_current("a", seen.watch.epoch("a"), for_writes=True)


def test_an_outage(seen: Seen) -> None:
    seen.lost("a")
    seen.lost("b")
    assert seen.names() == []
    seen.lost("c")
    assert seen.names() == ["OutageBegan"]
    assert seen.guard.outage.without_node_since is not None
    seen.replica("a")
    assert seen.names() == ["NodeFound", "OutageEnded"]
    assert seen.guard.outage.without_primary_since is not None


def test_a_node_that_is_not_of_this_cluster_is_left_alone(seen: Seen) -> None:
    seen.replica("b", system_identifier=8)
    assert seen.watch.sight("b").role == "replica"
    seen.primary("a")
    assert seen.watch.sight("b").error == "another cluster"
    seen.primary("c", 9, system_identifier=8)
    assert (seen.watch.primary, seen.watch.newest) == ("a", 1)


def test_two_primaries_of_different_clusters(seen: Seen) -> None:
    seen.watch.begin_anew()
    sights = (
        Sight(address="a", role="primary", timeline=1, **LOG),
        Sight(address="b", role="primary", timeline=1, **{**LOG, "system_identifier": 8}),
    )
    error = fatal("ledger", sights, identity=None, address=None)
    assert isinstance(error, UnusableCluster)
    assert "belong to different clusters, by their system identifiers (a to 7, b to 8)" in str(error)


def test_a_server_that_is_too_old(seen: Seen) -> None:
    seen.primary("a", server_version=130012)
    assert seen.watch.primary is None
    error = fatal("ledger", [seen.watch.sight("a")], identity=None, address=None)
    assert str(error) == "clusters.ledger.nodes: a runs PostgreSQL 13.12, and 14 or later is needed. Upgrade it."
    assert isinstance(error, UnusableCluster)
    old = Sight(address="a", role="primary", timeline=1, **{**LOG, "server_version": 130012})
    assert [str(problem) for problem in problems_of("ledger", [old])] == [str(error)]


def test_a_refused_login_is_told_only_while_no_node_can_be_used(seen: Seen) -> None:
    refused = Sight(address="a", error="28P01")
    up = Sight(address="b", role="replica", **LOG)
    assert isinstance(fatal("ledger", [refused], identity=None, address=None), CredentialsRefused)
    assert isinstance(fatal("ledger", [refused, up], identity=7, address="a"), CredentialsRefused)
    assert fatal("ledger", [refused, up], identity=7, address=None) is None
    assert fatal("ledger", [Sight(address="a", error="57P03")], identity=None, address=None) is None


def test_what_is_said_of_nodes() -> None:
    def said(*sights: Sight, primary: str | None = None) -> str | None:
        return diagnose("ledger", sights, primary=primary, newest=2)

    up = Sight(address="a", role="primary", timeline=2, **LOG)
    assert said(up, primary="a") is None
    assert said(Sight(address="a"), Sight(address="b")) is None
    text = said(
        Sight(address="a", role="primary", timeline=1, **LOG),
        Sight(address="b", role="replica", **LOG),
        Sight(address="c", error="Silent"),
        Sight(address="d", error="53300"),
        Sight(address="e", error="57P03"),
        Sight(address="f"),
    )
    assert text == (
        "clusters.ledger.nodes: no node takes writes (a was replaced: its timeline is 1, the newest 2; b is a standby; "
        "c does not answer; d refuses (53300); e is starting or stopping; f was not asked yet). Promote a standby, "
        "start the primary, or name it, if it is not here."
    )
    twins = (up, Sight(address="b", role="primary", timeline=2, **LOG))
    text = said(*twins)
    assert text is not None
    assert "a and b take writes on the same timeline, so it cannot be told which is right" in text


def test_acknowledged_positions_that_are_lost_are_told_of_once(seen: Seen) -> None:
    seen.primary("a")
    seen.watch.acknowledged(Token(1, 100))
    seen.watch.acknowledged(Token(1, 90))
    seen.lost("a")
    seen.names()
    seen.primary("b", 2, fork_lsn=60, asked_s=1e12)
    (told,) = [event for event in seen.events if type(event).__name__ == "AcknowledgedLost"]
    assert (told.node, told.from_node, told.lost_bytes) == ("b", "a", 40)
    assert seen.watch.lost_acknowledged == 1
    seen.names()
    seen.primary("b", 2, fork_lsn=60, asked_s=1e12)
    assert seen.names() == []


def test_a_token_is_what_was_asked_for_afterwards(seen: Seen) -> None:
    assert seen.watch.token_since(0.0) is None
    seen.primary("a", asked_s=5.0)
    assert seen.watch.token_since(5.1) is None
    assert seen.watch.token_since(5.0) == Token(1, 100)
    assert seen.watch.flushed("a") == (1, 100)
    assert seen.watch.flushed("z") is None


def test_who_waits_in_a_thread_is_woken(seen: Seen) -> None:
    woken = threading.Event()
    thread = threading.Thread(target=lambda: (seen.watch.wait_for(None, 10.0), woken.set()))
    thread.start()
    seen.replica("b")
    seen.primary("a")
    assert woken.wait(5.0)
    thread.join()


async def test_who_waits_in_a_task_is_woken(seen: Seen) -> None:
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def ring() -> None:
        loop.call_soon_threadsafe(woken.set)

    seen.watch.add_waker(ring)
    await asyncio.to_thread(seen.primary, "a")
    await asyncio.wait_for(woken.wait(), 5.0)
    seen.watch.remove_waker(ring)


def test_an_unknown_address_is_no_ones(seen: Seen) -> None:
    seen.primary("z")
    assert seen.watch.primary is None
    assert seen.watch.sight("z").role == "unknown"
    assert not seen.watch.is_current("z", 0, for_writes=False)


PRIMARY = ["f", "000000020000000000000003", "0/3000100", "0/3000100", "0/2000000", None, "f", "off"]


def answer(**changes: Any) -> Sight:
    names = ("in_recovery", "walfile", "flushed", "inserted", "replayed", "received", "waits", "read_only")
    row = list(PRIMARY)
    for name, value in changes.items():
        row[names.index(name)] = value
    return sight_of("a", row, asked_s=1.0, answered_s=1.5)


def test_a_primarys_answer() -> None:
    sight = answer()
    assert (sight.role, sight.timeline, sight.lsn, sight.flushed_lsn) == ("primary", 2, 0x3000100, 0x3000100)
    assert (sight.fork_lsn, sight.latency_s, sight.waits_for_standby) == (0x2000000, 0.5, False)
    assert answer(waits="t").waits_for_standby
    assert answer(read_only="on").role == "replica"


@pytest.mark.parametrize(
    ("flushed", "inserted", "lsn"),
    [
        ("0/3002000", "0/3002018", 0x3002000),
        ("0/3000000", "0/3000028", 0x3000000),
        ("0/3002000", "0/3002030", 0x3002030),
        ("0/3000100", "0/3000118", 0x3000118),
    ],
    ids=["a page's header", "a segment's header", "a record behind the header", "a record that is not flushed"],
)
def test_where_the_log_of_a_primary_ends(flushed: str, inserted: str, lsn: int) -> None:
    assert answer(flushed=flushed, inserted=inserted).lsn == lsn


def test_a_standbys_answer() -> None:
    sight = sight_of("a", ["t", None, None, None, "0/3000100", "2", "f", "on"], asked_s=1.0, answered_s=1.5)
    assert (sight.role, sight.timeline, sight.lsn, sight.flushed_lsn) == ("replica", 2, 0x3000100, None)
    assert sight.known_as(7, 150018).system_identifier == 7
