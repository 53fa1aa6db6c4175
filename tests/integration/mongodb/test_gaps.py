"""Each fault under a load of every kind of operation: nothing raised, lost or doubled, and soon writing again.

One run of the load checks all of it at once: single-document writes, writes to many, reads, scans, and the time
without writes. The figures are printed (``pytest -rP``).
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from tests.integration.mongodb.load import READS, SINGLE, Load

if TYPE_CHECKING:
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

NOISE_S = 0.5
"""What a busy machine may add to a bound: the load's ten threads and three servers share its cores with others."""


def check_gap(
    fault: str, load: Load, *, since_s: float, visible_s: float, bound_s: float, noise_s: float = NOISE_S
) -> None:
    """Hold the time without writes, from when they were possible again, against its bound."""
    writes, reads = load.without(SINGLE, since_s=visible_s), load.without(READS, since_s=visible_s)
    slowest = load.slowest(SINGLE, since_s=visible_s)
    print(
        f"{fault}: writes possible {visible_s - since_s:.2f} s after it; beyond that without writes {writes:.3f} s, "
        f"without reads {reads:.3f} s, the slowest of the writers {slowest:.3f} s; longest gap {load.gap(SINGLE):.2f} s"
    )
    assert writes <= bound_s + noise_s
    assert reads <= bound_s + noise_s


def replicate_from_primary(lab: MongoLab) -> None:
    """Have every secondary fetch from the primary itself: who loses it must find another source, the worst case."""
    primary = lab.primary()
    others = [node for node in lab.nodes if node is not primary]
    for node in others:
        lab.command(node, {"replSetSyncFrom": primary.address})
    deadline_s = time.monotonic() + 30
    while {lab.command(node, {"replSetGetStatus": 1})["syncSourceHost"] for node in others} != {primary.address}:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.alone
def test_kill(lab: MongoLab, shop: Documents) -> None:
    with Load(shop, lab.uri) as load:
        killed = lab.kill("primary")
        since_s = time.monotonic()
        visible_s = lab.wait_primary(other_than=killed)
        load.go_on()
        lab.start(killed)
        load.go_on()
    load.audit().assert_clean()
    check_gap("kill", load, since_s=since_s, visible_s=visible_s, bound_s=0.5)


def freeze(lab: MongoLab, shop: Documents) -> None:
    with Load(shop, lab.uri) as load:
        frozen = lab.freeze("primary")
        since_s = time.monotonic()
        visible_s = lab.wait_primary(other_than=frozen)
        load.go_on()
        lab.thaw(frozen)
        load.go_on()
    load.audit().assert_clean()
    check_gap("freeze", load, since_s=since_s, visible_s=visible_s, bound_s=1.0, noise_s=0.0)


@pytest.mark.alone
def test_freeze(lab: MongoLab, shop: Documents) -> None:
    freeze(lab, shop)


@pytest.mark.soak
def test_freeze_of_the_node_that_both_others_replicate_from(lab: MongoLab, shop: Documents) -> None:
    """The worst case for the servers: once in five runs they confirmed nothing at all for more than 15 s."""
    replicate_from_primary(lab)
    freeze(lab, shop)


@pytest.mark.alone
def test_step_down(lab: MongoLab, shop: Documents) -> None:
    with Load(shop, lab.uri) as load:
        since_s = time.monotonic()
        former = lab.step_down()
        visible_s = lab.wait_primary(other_than=former)
        load.go_on()
    load.audit().assert_clean()
    check_gap("step-down", load, since_s=since_s, visible_s=visible_s, bound_s=0.5)


@pytest.mark.alone
def test_clean_stop(lab: MongoLab, shop: Documents) -> None:
    with Load(shop, lab.uri) as load:
        since_s = time.monotonic()
        stopped = lab.stop("primary")
        visible_s = lab.wait_primary(other_than=stopped)
        load.go_on()
        lab.start(stopped)
        load.go_on()
    load.audit().assert_clean()
    check_gap("clean stop", load, since_s=since_s, visible_s=visible_s, bound_s=0.5)


@pytest.mark.slow
def test_rolling_restart(lab: MongoLab, shop: Documents) -> None:
    with Load(shop, lab.uri) as load:
        lab.rolling_restart()
        load.go_on()
    print(
        f"rolling restart: longest gap without writes {load.gap(SINGLE):.2f} s, without reads {load.gap(READS):.2f} s"
    )
    load.audit().assert_clean()


@pytest.mark.slow
def test_twenty_faults_in_a_row(lab: MongoLab, shop: Documents) -> None:
    """Mixed, each as soon as the one before is healed; the order is printed, so that a failure can be repeated."""
    faults = ["kill", "freeze", "step down", "stop"] * 5
    random.shuffle(faults)
    print("order:", ", ".join(faults))
    began_s = time.monotonic()
    with Load(shop, lab.uri) as load:
        for fault in faults:
            if fault == "kill":
                struck = lab.kill("primary")
            elif fault == "freeze":
                struck = lab.freeze("primary")
            elif fault == "stop":
                struck = lab.stop("primary")
            else:
                struck = lab.step_down(hold="2s")
            lab.wait_primary(other_than=struck)
            lab.heal()
    audit = load.audit()
    print(f"{len(faults)} faults in {time.monotonic() - began_s:.0f} s: {audit}; longest gap {load.gap(SINGLE):.2f} s")
    audit.assert_clean()
