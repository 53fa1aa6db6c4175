"""Each fault of one node under a load of every kind of operation, and what plain cqlengine does beside it.

One run of the load checks all of it at once: what may run twice is never raised and never lost, what may not is applied
at most as often as it was asked for, scans bring every row once, and nobody waits for a sick node again. The figures
are printed (``pytest -rP``).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import cassandra
import pytest
from cassandra.cqlengine.query import BatchQuery as PlainBatch
from tests.integration.cassandra.load import BATCH, ONCE, REPEATABLE, SCAN, Load
from tests.integration.cassandra.watch import Watch, until
from tests.integration.speed import within

from undaunted.cassandra import BatchQuery, OutcomeUnknown
from undaunted.events import NodeFound, NodeLost

if TYPE_CHECKING:
    from tests.integration.cassandra.reader import Reader
    from tests.integration.cassandra.tables import Tables

    from undaunted.lab import CassandraLab
    from undaunted.lab.node import LabNode

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TIMEOUT_S = 2.0
"""Of one attempt: the default."""
FIRST_S = TIMEOUT_S + 0.2
SERVER_S = 3.0
"""How far a logged batch, or a page of a scan, may outlast the time in which a dead node is not known to be dead: each
coordinator may send a batch's log to it, and read a range from it, for which Cassandra asks no second replica."""
NOISE_S = 0.8
"""What a busy machine may add: twenty threads, three servers and the other tests share two cores."""
PLAIN = (("counter",), ("counter",), ("batch",), ("read",), ("read",))
"""Beside the load of ours, so that the same fault is shown; few, so that they do not take its place."""


def check_gaps(
    fault: str, load: Load, *, since_s: float, known_s: float, until_s: float = float("inf"), server_s: float
) -> None:
    """Hold how long callers stood still against the bounds: who met the fault, and all who came later.

    Args:
        fault: Its name, for the figures.
        load: What ran.
        since_s: When it began.
        known_s: When it had been met, so that nobody should wait for it any more.
        until_s: When it ended.
        server_s: How long a logged batch, and a page of a scan, may stand still.
    """
    first = {kind: load.longest((kind,), since_s=since_s, until_s=known_s) for kind in REPEATABLE}
    later = load.longest(REPEATABLE, since_s=known_s, begun_s=known_s, until_s=until_s)
    page = load.longest(SCAN, since_s=since_s, until_s=until_s)
    batch = load.longest(BATCH, since_s=since_s, until_s=until_s)
    once = load.longest(ONCE, since_s=since_s, until_s=until_s)
    figures = ", ".join(f"{kind} {took_s:.2f}" for kind, took_s in first.items())
    print(f"{fault}: longest wait of who met it, s: {figures}; of who came later {later:.2f}")
    slow = [e for e in load.ledger if e.kind in (*REPEATABLE, *SCAN) and e.waited_s > 1 and e.since_s > since_s - 3]
    told = ", ".join(f"{e.kind} {e.waited_s:.2f} from {e.since_s - since_s:.2f}" for e in slow)
    print(f"{fault}: waits over 1 s: {told or 'none'}")
    print(
        f"{fault}: longest wait, s: of a page {page:.2f}, of a batch {batch:.2f}, of what may not run twice {once:.2f}"
    )
    within(max(first.values()), FIRST_S + NOISE_S, fault)
    within(later, TIMEOUT_S / 2 + NOISE_S, fault)
    within(batch, server_s + NOISE_S, fault)
    within(page, server_s + NOISE_S, fault)


def pick(lab: CassandraLab) -> LabNode:
    return random.choice(lab.nodes)


def test_kill(lab: CassandraLab, shop: Tables, plain: Tables, reader: Reader) -> None:
    """Until the others know that it is dead, counters and batches of plain cqlengine fail."""
    beside = Load(plain, PlainBatch, reader, workers=PLAIN)
    with Watch(lab) as watch, beside, Load(shop, BatchQuery, reader) as load:
        killed = lab.kill(pick(lab))
        since_s = time.monotonic()
        convicted_s = watch.convicted(killed)
        load.go_on()
        lab.start(killed)
        load.go_on()
        load.wait_for({*SCAN}, after_s=since_s)
    print("kill: reads tried again: " + watch.tries("select", since_s=since_s))
    audit = load.audit()
    print(f"kill: convicted after {convicted_s - since_s:.1f} s; {audit}")
    audit.assert_kept(unknown=OutcomeUnknown)
    check_gaps("kill", load, since_s=since_s, known_s=since_s + FIRST_S, server_s=convicted_s - since_s + SERVER_S)
    seen = Counter(type(e.error) for e in beside.ledger if e.error is not None)
    print(f"kill: plain cqlengine raised {dict(seen)}")
    assert seen[cassandra.WriteTimeout], seen


def freeze(lab: CassandraLab, shop: Tables, plain: Tables, reader: Reader, *, lasts_s: float) -> None:
    with Watch(lab) as watch, Load(plain, PlainBatch, reader, workers=PLAIN) as beside:
        with Load(shop, BatchQuery, reader) as load:
            frozen = lab.freeze(pick(lab))
            since_s = time.monotonic()
            convicted_s = watch.convicted(frozen)
            until(lambda: time.monotonic() >= since_s + lasts_s, timeout_s=lasts_s + 1)
            load.go_on()
            load.wait_for({*SCAN}, after_s=since_s)
            thawed_s = time.monotonic()
            lab.thaw(frozen)
            until(lambda: watch.told(NodeFound, frozen, since_s=thawed_s), what="the probe's success")
            found_s = watch.told(NodeFound, frozen, since_s=thawed_s)[0]
            load.go_on()
        lab.wait_healthy()
    print("freeze: reads tried again: " + watch.tries("select", since_s=since_s))
    audit = load.audit()
    print(f"freeze of {thawed_s - since_s:.0f} s: convicted after {convicted_s - since_s:.1f} s; {audit}")
    audit.assert_kept(unknown=OutcomeUnknown)
    # Whoever was sent there before the first timeout waits for one of his own; after that nobody does.
    known_s = since_s + 2 * FIRST_S
    lost_s = watch.told(NodeLost, frozen, since_s=since_s)
    print(f"freeze: told lost after {lost_s[0] - since_s:.2f} s, found {found_s - thawed_s:.2f} s after the thaw")
    check_gaps(
        "freeze",
        load,
        since_s=since_s,
        known_s=since_s + FIRST_S,
        until_s=thawed_s,
        server_s=convicted_s - since_s + SERVER_S,
    )
    late = watch.met(frozen, since_s=known_s + NOISE_S, until_s=thawed_s)
    print(f"freeze: {len(watch.met(frozen, since_s=since_s, until_s=known_s))} attempts waited for it, later {late}")
    assert not late
    seen = Counter(type(e.error) for e in beside.ledger if e.error is not None)
    print(f"freeze: plain cqlengine raised {dict(seen)}, and a caller stood still for {stood_still(beside):.1f} s")
    assert seen[cassandra.OperationTimedOut], seen


def stood_still(load: Load) -> float:
    return max(e.waited_s for e in load.ledger)


@pytest.mark.alone
def test_freeze(lab: CassandraLab, shop: Tables, plain: Tables, reader: Reader) -> None:
    """A frozen node is met once by whoever is on his way to it, and then left alone until it answers again."""
    freeze(lab, shop, plain, reader, lasts_s=12.0)


@pytest.mark.alone
@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("lasts_s", [40.0, 100.0])
def test_long_freeze(lab: CassandraLab, shop: Tables, plain: Tables, reader: Reader, lasts_s: float) -> None:
    """What waits in the sockets of the frozen node is executed when it thaws: nothing is there twice all the same."""
    freeze(lab, shop, plain, reader, lasts_s=lasts_s)


@pytest.mark.alone
@pytest.mark.soak  # the ordinary run stops a node in `test_three_faults_in_a_row`
def test_clean_stop(lab: CassandraLab, shop: Tables, reader: Reader) -> None:
    with Load(shop, BatchQuery, reader) as load:
        since_s = time.monotonic()
        stopped = lab.stop(pick(lab))
        load.go_on()
        lab.start(stopped)
        load.go_on()
        load.wait_for({*SCAN}, after_s=since_s)
    audit = load.audit()
    print(f"clean stop: {audit}")
    audit.assert_kept(unknown=OutcomeUnknown)
    check_gaps("clean stop", load, since_s=since_s, known_s=since_s + FIRST_S, server_s=FIRST_S)


@pytest.mark.alone
def test_rolling_restart(lab: CassandraLab, shop: Tables, reader: Reader) -> None:
    with Load(shop, BatchQuery, reader) as load:
        since_s = time.monotonic()
        lab.rolling_restart()
        load.go_on()
    audit = load.audit()
    print(f"rolling restart: {audit}")
    audit.assert_kept(unknown=OutcomeUnknown)
    longest = {kind: load.longest((kind,), since_s=since_s) for kind in (*REPEATABLE, *BATCH, *SCAN, *ONCE)}
    print("rolling restart: longest wait, s: " + ", ".join(f"{kind} {took:.2f}" for kind, took in longest.items()))
    within(max(longest[kind] for kind in (*REPEATABLE, *SCAN)), FIRST_S + NOISE_S)


def in_a_row(lab: CassandraLab, shop: Tables, reader: Reader, *, count: int) -> None:
    """Mixed, each as soon as the one before is healed; the order is printed, so that a failure can be repeated."""
    faults = [("kill", "freeze", "stop")[number % 3] for number in range(count)]
    random.shuffle(faults)
    began_s = time.monotonic()
    struck: list[str] = []
    struck_s = began_s
    with Load(shop, BatchQuery, reader) as load:
        for fault in faults:
            node = pick(lab)
            struck.append(f"{fault} {node.name}")
            getattr(lab, fault)(node)
            struck_s = time.monotonic()
            load.go_on(without=BATCH)  # they would wait until the dead node is known to be dead
            lab.heal()
            load.go_on()
        load.wait_for({*SCAN}, after_s=struck_s)
    audit = load.audit()
    longest = max(load.longest((kind,), since_s=began_s) for kind in (*REPEATABLE, *SCAN))
    print("in a row: " + ", ".join(struck))
    print(f"{count} faults in {time.monotonic() - began_s:.0f} s: {audit}; longest wait {longest:.2f} s")
    audit.assert_kept(unknown=OutcomeUnknown)


@pytest.mark.alone
def test_three_faults_in_a_row(lab: CassandraLab, shop: Tables, reader: Reader) -> None:
    in_a_row(lab, shop, reader, count=3)


@pytest.mark.alone
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_twenty_faults_in_a_row(lab: CassandraLab, shop: Tables, reader: Reader) -> None:
    in_a_row(lab, shop, reader, count=20)
