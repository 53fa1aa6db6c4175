"""Each fault under a load of units of work and of readonly sessions.

One run of the load checks all of it at once: nothing raised, lost or doubled, no number told to two callers, no reader
behind its own writer, and how long nobody wrote or read, held against the moment when the new primary could confirm a
write, by its own log. The figures are printed (``pytest -rP``).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from tests.integration.speed import within
from tests.integration.sqlalchemy.cut import committing
from tests.integration.sqlalchemy.load import READS, WRITES, Load
from tests.integration.sqlalchemy.sides import Done, Undaunted
from tests.integration.sqlalchemy.watch import Events, Logs, until

import undaunted
from undaunted.errors import DeadlineExceeded, NoNodeAvailable
from undaunted.events import CallFailed, CallRecovered, NodeLost, TwoPrimaries

if TYPE_CHECKING:
    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

DETECTION_S = 1.0
"""How long after a kill no standby is promoted, as by a failover tool, which has to notice it first."""
HEARTBEAT_S = 1.0
"""The default: so long may a node say nothing until it is lost."""
INTERVAL_S = 0.2
"""The default: so often is a node asked while there is a primary."""
NOISE_S = 0.1
"""What a busy machine may add: eighteen threads and three servers share two cores."""


@dataclass(frozen=True)
class Times:
    """How long nobody wrote, or read; in seconds.

    Attributes:
        writes_s: The longest time without a write.
        behind_s: How long behind the moment when a write was possible again the first one came back.
        all_behind_s: The same for the last of the writers.
        reads_s: The longest time without a read.
        slowest_read_s: The longest that a single reader waited.
    """

    writes_s: float
    behind_s: float
    all_behind_s: float
    reads_s: float
    slowest_read_s: float


def measure(fault: str, load: Load, *, since_s: float, possible_s: float, until_s: float) -> Times:
    """Read off the ledger how long nobody wrote, or read.

    Args:
        fault: Its name, for the figures.
        load: What ran.
        since_s: When the fault began.
        possible_s: When a write was possible again.
        until_s: When all threads had gone on.
    """
    writes = load.gap(WRITES, since_s=since_s, until_s=until_s)
    times = Times(
        writes_s=writes.length_s,
        behind_s=writes.ended_s - possible_s,
        all_behind_s=load.all_back(WRITES, since_s=possible_s) - possible_s,
        reads_s=load.gap(READS, since_s=since_s, until_s=until_s).length_s,
        slowest_read_s=load.slowest(READS, since_s=since_s),
    )
    print(
        f"{fault}: writes were possible again after {possible_s - since_s:.3f} s; without them {times.writes_s:.3f} s, "
        f"the first {times.behind_s:+.3f} s and each writer {times.all_behind_s:+.3f} s behind that; "
        f"without reads {times.reads_s:.3f} s, the slowest took {times.slowest_read_s:.3f} s"
    )
    return times


def told(events: Events) -> str:
    return f"{len(events.of(CallRecovered))} calls recovered, {len(events.of(CallFailed))} failed"


def test_kill(lab: PostgresLab, ledger: Tables) -> None:
    with Events() as events, Load(Undaunted(ledger), lab) as load:
        logs = Logs(lab)
        since_s = time.monotonic()
        lab.kill("primary")
        until(lambda: time.monotonic() >= since_s + DETECTION_S)
        promoted_s = logs.writable_s(lab.promote())
        until_s = load.go_on(after_s=promoted_s)
    audit = load.audit()
    times = measure("kill", load, since_s=since_s, possible_s=promoted_s, until_s=until_s)
    print(f"kill: {told(events)}; {audit}")
    audit.assert_clean()
    within(times.behind_s, 0.1 + NOISE_S)
    within(times.reads_s, 0.1 + NOISE_S)


def test_freeze(lab: PostgresLab, ledger: Tables) -> None:
    """The frozen primary thaws under the load, unfenced, and takes itself for the primary still."""
    with Events() as events, Load(Undaunted(ledger), lab) as load:
        logs = Logs(lab)
        since_s = time.monotonic()
        frozen = lab.freeze("primary")
        until(lambda: time.monotonic() >= since_s + DETECTION_S)
        chosen = lab.promote()
        promoted_s = logs.writable_s(chosen)
        until_s = load.go_on(after_s=promoted_s)
        lab.thaw(frozen)
        until(lambda: events.of(TwoPrimaries), what="the event of two primaries")
        load.go_on()
    audit = load.audit()
    possible_s = max(promoted_s, since_s + HEARTBEAT_S)
    times = measure("freeze", load, since_s=since_s, possible_s=possible_s, until_s=until_s)
    print(f"freeze: {told(events)}; {audit}")
    audit.assert_clean()
    event = events.of(TwoPrimaries)[0]
    assert set(event.nodes) == {frozen.address, chosen.address}
    assert event.chosen == chosen.address
    within(times.behind_s, 0.2 + NOISE_S)
    within(times.reads_s, HEARTBEAT_S + 0.1 + NOISE_S)


def test_fast_stop(lab: PostgresLab, ledger: Tables) -> None:
    with Events() as events, Load(Undaunted(ledger), lab) as load:
        logs = Logs(lab)
        since_s = time.monotonic()
        lab.stop("primary")
        promoted_s = logs.writable_s(lab.promote())
        until_s = load.go_on(after_s=promoted_s)
    audit = load.audit()
    times = measure("fast stop", load, since_s=since_s, possible_s=promoted_s, until_s=until_s)
    print(f"fast stop: {told(events)}; {audit}")
    audit.assert_clean()
    within(times.behind_s, 0.1 + NOISE_S)
    within(times.reads_s, 0.1 + NOISE_S)


def test_promotion_beside_a_primary_that_goes_on(lab: PostgresLab, ledger: Tables) -> None:
    """Nobody has fenced it; but its standbys have gone over, so it can confirm nothing, and nothing is lost."""
    with Events() as events, Load(Undaunted(ledger), lab) as load:
        logs = Logs(lab)
        former = lab.primary()
        since_s = time.monotonic()
        chosen = lab.promote()
        promoted_s = logs.writable_s(chosen)
        until_s = load.go_on(after_s=promoted_s)
        until(lambda: events.of(TwoPrimaries), what="the event of two primaries")
    audit = load.audit()
    times = measure("promotion", load, since_s=since_s, possible_s=promoted_s, until_s=until_s)
    print(f"promotion: {told(events)}; {audit}")
    audit.assert_clean()
    assert set(events.of(TwoPrimaries)[0].nodes) == {former.address, chosen.address}
    within(times.behind_s, INTERVAL_S + 0.1 + NOISE_S)
    within(times.reads_s, 0.1 + NOISE_S)


def test_loss_of_the_synchronous_standby(lab: PostgresLab, ledger: Tables) -> None:
    """The other one takes its place; a COMMIT that waits meanwhile is no error, and readers go elsewhere."""
    with Events() as events, Load(Undaunted(ledger), lab) as load:
        with lab.operator(lab.primary()) as server:
            found = server.execute("SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'")
            ((name,),) = found.fetchall()
        since_s = time.monotonic()
        lab.kill(name)
        until_s = load.go_on()
    audit = load.audit()
    times = measure("standby loss", load, since_s=since_s, possible_s=since_s, until_s=until_s)
    print(f"standby loss: {told(events)}; {audit}")
    audit.assert_clean()
    within(times.writes_s, 0.1 + NOISE_S)
    within(times.reads_s, 0.1 + NOISE_S)


def test_frozen_standby(lab: PostgresLab, ledger: Tables) -> None:
    """Readers that wait for it are free at the end of the heartbeat, and go elsewhere; nobody else notices."""
    with Events() as events, Load(Undaunted(ledger), lab) as load:
        with lab.operator(lab.primary()) as server:
            found = server.execute("SELECT application_name FROM pg_stat_replication WHERE sync_state <> 'sync'")
            ((name,),) = found.fetchall()
        since_s = time.monotonic()
        frozen = lab.freeze(name)
        until(lambda: [event for event in events.of(NodeLost) if event.node == frozen.address], what="its loss")
        until_s = load.go_on()
        lab.thaw(frozen)
        load.go_on()
    audit = load.audit()
    times = measure("frozen standby", load, since_s=since_s, possible_s=since_s, until_s=until_s)
    print(f"frozen standby: {told(events)}; {audit}")
    audit.assert_clean()
    within(times.writes_s, 0.1 + NOISE_S)
    within(times.reads_s, HEARTBEAT_S + 0.1 + NOISE_S)
    within(times.slowest_read_s, HEARTBEAT_S + 0.1 + NOISE_S)


class Hurried(Undaunted):
    """With a deadline for each write."""

    DEADLINE_S = 1.0

    def entry(self, mark: str) -> Done:
        with undaunted.deadline(self.DEADLINE_S):
            return super().entry(mark)

    def note(self, mark: str) -> Done:
        with undaunted.deadline(self.DEADLINE_S):
            return super().note(mark)

    def count(self, name: str) -> Done:
        with undaunted.deadline(self.DEADLINE_S):
            return super().count(name)


def test_no_standby_is_left(lab: PostgresLab, ledger: Tables) -> None:
    """No COMMIT is confirmed then: at its deadline nobody knows its outcome, and that is said, on time."""
    leader = lab.primary()
    with Load(Hurried(ledger), lab) as load, lab.operator(leader) as server:
        since_s = time.monotonic()
        for node in lab.nodes:
            if node is not leader:
                lab.kill(node)
        until(lambda: committing(server), what="a COMMIT that waits for a standby")
        until(lambda: sum(e.outcome == "unknown" for e in load.ledger) >= 12, what="outcomes left unknown")
        server.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        server.execute("SELECT pg_reload_conf()")
        until_s = load.go_on()
    audit = load.audit()
    slowest_s = load.slowest(WRITES, since_s=since_s)
    print(f"no standby: {audit}; the slowest write came back after {slowest_s:.3f} s of its {Hurried.DEADLINE_S:g} s")
    print(f"no standby: without reads {load.gap(READS, since_s=since_s, until_s=until_s).length_s:.3f} s")
    assert audit.unknown
    assert audit.applied_though_unknown
    # Who waited for the row lock of one of those had not come to his COMMIT: he is told that, and it holds.
    audit.assert_clean(may_be_unknown=True, may_raise=(DeadlineExceeded,))
    within(slowest_s, Hurried.DEADLINE_S + 0.1 + NOISE_S)


def test_frozen_and_nobody_promotes(lab: PostgresLab, ledger: Tables) -> None:
    """Whoever waits for the frozen node, or for a connection, is free at his deadline, and told what is known."""
    with Load(Hurried(ledger), lab) as load:
        since_s = time.monotonic()
        frozen = lab.freeze("primary")
        until(lambda: time.monotonic() >= since_s + 2.5 * Hurried.DEADLINE_S)
        until_s = time.monotonic()
        (thawed,) = lab.thaw(frozen)
        load.go_on()
    audit = load.audit()
    slowest_s = load.slowest(WRITES, since_s=since_s)
    print(f"frozen: {audit}; the slowest write came back after {slowest_s:.3f} s of its {Hurried.DEADLINE_S:g} s")
    print(f"frozen: without reads {load.gap(READS, since_s=since_s, until_s=until_s).length_s:.3f} s")
    assert thawed is frozen
    assert len(audit.raised) + len(audit.unknown) >= 12
    audit.assert_clean(may_be_unknown=True, may_raise=(DeadlineExceeded, NoNodeAvailable))
    within(slowest_s, Hurried.DEADLINE_S + 0.1 + NOISE_S)


def in_a_row(lab: PostgresLab, ledger: Tables, *, count: int) -> None:
    """Mixed, each as soon as the one before is healed; the order is printed, so that a failure can be repeated."""
    faults = [("kill", "freeze", "stop")[number % 3] for number in range(count)]
    random.shuffle(faults)
    print("order:", ", ".join(faults))
    began_s = time.monotonic()
    gaps: list[tuple[float, float]] = []
    with Events() as events, Load(Undaunted(ledger), lab) as load:
        for fault in faults:
            logs = Logs(lab)
            since_s = time.monotonic()
            getattr(lab, fault)("primary")
            promoted_s = logs.writable_s(lab.promote())
            until_s = load.go_on(after_s=promoted_s)
            gaps.append((promoted_s - since_s, load.gap(WRITES, since_s=since_s, until_s=until_s).length_s))
            lab.heal()
    audit = load.audit()
    print(f"{count} failovers in {time.monotonic() - began_s:.0f} s: {told(events)}; {audit}")
    print("promoted, without writes: " + ", ".join(f"{promoted:.2f} {gap:.2f}" for promoted, gap in gaps))
    audit.assert_clean()


@pytest.mark.slow
def test_five_failovers_in_a_row(lab: PostgresLab, ledger: Tables) -> None:
    in_a_row(lab, ledger, count=5)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_thirty_failovers_in_a_row(lab: PostgresLab, ledger: Tables) -> None:
    in_a_row(lab, ledger, count=30)
