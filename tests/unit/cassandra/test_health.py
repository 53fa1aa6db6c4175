"""Who did not answer is left alone, and asked by nobody but a prober of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import undaunted
from undaunted.registry import REGISTRY
from undaunted.testing.cql import WriteTimeout

if TYPE_CHECKING:
    from collections.abc import Callable


def probers() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "prober" in thread.name]


def test_a_node_that_was_only_waited_for_is_well_at_once_although_another_one_hangs(shop: Any) -> None:
    """A coordinator may wait for a dead replica: that says nothing of itself, and it must not wait its turn."""
    health = REGISTRY.handle("catalog")._health
    shop.fake.freeze(1)
    for number in range(12):
        shop.Product.objects(sku=number).update(name="x")
    (frozen,) = health.sick
    other = next(host for host in health.hosts() if host is not frozen)
    took: list[float] = []
    for _ in range(8):
        began_s = time.monotonic()
        health.unanswered(other)
        shop.until(lambda: health.sick == {frozen})
        took.append(time.monotonic() - began_s)
        time.sleep(0.2)  # so that each falls into another moment of the prober's round
    assert max(took) <= 0.4, took
    shop.fake.thaw(1)
    shop.until(lambda: not health.sick)
    shop.until(lambda: not probers())


def test_one_node_has_one_prober_however_many_wait_for_it(shop: Any) -> None:
    health = REGISTRY.handle("catalog")._health
    shop.fake.freeze(1)
    for number in range(12):
        shop.Product.objects(sku=number).update(name="x")
    (frozen,) = health.sick
    for _ in range(20):
        health.unanswered(frozen)
        health.on_up(frozen)  # the driver may think it well
        health.unanswered(frozen)
    shop.until(lambda: len(probers()) == 1)
    shop.fake.thaw(1)
    shop.until(lambda: not health.sick)
    shop.until(lambda: not probers())


def test_a_batch_outlasts_its_dead_log_however_its_timeout_is_told(shop: Any) -> None:
    """Server and caller wait equally long for a batch log: whichever gives up first, it counts as no attempt."""
    timeout = WriteTimeout(consistency="LOCAL_QUORUM", received=0, required=1, write_type="BATCH_LOG")
    shop.fake.script("BEGIN", times=3).hang()
    shop.fake.script("BEGIN", times=3).error(timeout)
    with undaunted.cassandra.BatchQuery() as batch:
        shop.Line.batch(batch).create(order=1, number=1, item="lamp")
        shop.Line.batch(batch).create(order=2, number=2, item="bulb")
    assert shop.Line.objects.get(order=2, number=2).item == "bulb"


def test_a_range_outlasts_a_dead_replica_that_each_coordinator_waits_for(shop: Any) -> None:
    health = REGISTRY.handle("catalog")._health
    shop.fake.freeze(1)
    for number in range(12):
        shop.Product.objects(sku=number).update(name="x")
    shop.until(lambda: not health.are_all_well())
    shop.fake.script("SELECT.*product", node=2, times=2).hang()
    shop.fake.script("SELECT.*product", node=3, times=2).hang()
    assert sorted(each.sku for each in shop.Product.objects) == list(range(12))
    shop.fake.thaw(1)


def test_a_range_that_is_too_slow_for_a_cluster_that_is_well_ends_after_its_attempts(shop: Any) -> None:
    hang = shop.fake.script("SELECT.*product", times=None).hang()
    with pytest.raises(undaunted.cassandra.Exhausted) as caught:
        list(shop.Product.objects)
    assert len(caught.value.attempts) == 3
    assert len(hang.fired) == 3


SECOND_TRY = """
import json, sys
import undaunted
from undaunted.cassandra import Model, columns

class Product(Model):
    __undaunted__ = {"cluster": "catalog"}
    sku = columns.Integer(primary_key=True)
    name = columns.Text()

undaunted.configure(json.loads(sys.argv[1]))
tried = []
undaunted.subscribe(tried.append, undaunted.events.RetryScheduled)
Product.objects(sku=1).first()
before = set(sys.modules)
Product.objects(sku=1).update(name="x")
undaunted.close()
ours = {name for name in sys.modules if name.partition(".")[0] in ("undaunted", "tenacity")}  # the driver has threads
print(len(tried), sorted(ours - before))
"""


def test_who_meets_a_failure_imports_nothing_for_it(shop: Any, settings_of: Callable[..., dict[str, Any]]) -> None:
    """All who meet a frozen node would wait for those imports together, behind their timeouts."""
    shop.fake.script("UPDATE").lose_reply()
    done = subprocess.run(
        [sys.executable, "-c", SECOND_TRY, json.dumps(settings_of(shop.fake))],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1 []"
