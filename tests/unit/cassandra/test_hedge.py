"""Hedging: a second request for a slow first one, bounded, and only for what may run twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from cassandra import OperationTimedOut, Unavailable
from cassandra.cqlengine import connection
from tests.unit.cassandra.conftest import until

import undaunted
from undaunted.cassandra import OutcomeUnknown, request, sync_table
from undaunted.cassandra.hedge import Hedger
from undaunted.core.operation import Kind, Operation
from undaunted.core.policy import HedgePolicy

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hedged(fake: Any, settings_of: Any, shop_models: Any) -> Iterator[Any]:
    undaunted.configure(settings_of(fake, hedge=True, timeout="2s"))
    for model in shop_models:
        sync_table(model)
    fake.clear_journal()
    yield shop_models
    undaunted.close()
    fake.clear_scripts()


def sent(fake: Any, word: str) -> list[Any]:
    return [each for each in fake.requests if word in each.text and not each.internal]


def test_a_slow_first_request_is_overtaken(fake: Any, hedged: Any) -> None:
    fake.script("INSERT").hang()
    began_s = time.monotonic()
    hedged.Product.create(sku=1, name="lamp")
    assert time.monotonic() - began_s < 1.0  # half the timeout of an attempt
    first, second = sent(fake, "INSERT")
    assert first.timestamp == second.timestamp
    assert first.node != second.node


def test_a_silent_node_is_overtaken_though_the_allowance_is_used_up(fake: Any, hedged: Any) -> None:
    """By slow answers, of which there are always some more than the allowance is for."""
    hedger = connection.get_session("catalog").hedger
    while hedger.takes():
        pass
    fake.script("UPDATE").hang()
    began_s = time.monotonic()
    hedged.Product.objects(sku=1).update(name="x")
    assert time.monotonic() - began_s < 1.0  # half the timeout of an attempt
    first, second = sent(fake, "UPDATE")
    assert first.node != second.node


def test_a_node_is_silent_from_its_last_answer_to_anybody() -> None:
    hedger = Hedger(HedgePolicy(enabled=True))
    for _ in range(640):
        hedger.answered("node", 0.080, at_s=6.0)
    assert hedger.silence_s == pytest.approx(0.160)
    assert hedger.silent_from_s("node", asked_s=5.0) == pytest.approx(6.160)
    assert hedger.silent_from_s("node", asked_s=7.0) == pytest.approx(7.160)
    assert hedger.silent_from_s("another", asked_s=5.0) == pytest.approx(5.160)


def test_what_may_not_run_twice_is_never_hedged(fake: Any, hedged: Any) -> None:
    fake.script("UPDATE").hang()
    with pytest.raises(OutcomeUnknown):
        hedged.Hits.objects(page="home").update(count=1)
    assert len(sent(fake, "UPDATE")) == 1


def test_a_node_that_loses_again_and_again_is_left_alone(fake: Any, hedged: Any) -> None:
    fake.freeze(1)
    for number in range(60):
        hedged.Product.objects(sku=number).update(name="x")
    fake.thaw(1)  # from here on it reads what it was sent
    until(lambda: [each for each in sent(fake, "UPDATE") if each.node == 1])
    assert len([each for each in sent(fake, "UPDATE") if each.node == 1]) <= 6


def test_the_load_on_top_is_bounded_without_faults(fake: Any, hedged: Any) -> None:
    for number in range(400):
        hedged.Product.objects(sku=number).update(name="x")
    assert len(sent(fake, "UPDATE")) <= 400 * 1.05 + 20


def test_the_delay_follows_what_the_nodes_take() -> None:
    hedger = Hedger(HedgePolicy(enabled=True))
    for _ in range(640):
        hedger.answered("node", 0.010, at_s=1.0)
    assert hedger.delay_s == pytest.approx(0.010)
    for _ in range(640):
        hedger.answered("node", 5.0, at_s=1.0)
    assert hedger.delay_s == pytest.approx(0.2)


def test_no_more_than_the_allowance() -> None:
    hedger = Hedger(HedgePolicy(enabled=True))
    taken = sum(hedger.takes() for _ in range(100))
    assert taken == 20
    for _ in range(1000):
        hedger.answered("node", 0.010, at_s=1.0)
    assert sum(hedger.takes() for _ in range(100)) == 20


@pytest.mark.parametrize(
    ("error", "is_unknown"), [(OperationTimedOut(), True), (Unavailable("x", required_replicas=2), False)]
)
def test_of_two_failures_the_one_that_may_have_been_executed_counts(error: Exception, is_unknown: bool) -> None:
    class Failed:
        attempted_hosts = ("node",)

        def result(self) -> None:
            raise error

    assert request._left_unknown(Failed(), Operation(name="insert", kind=Kind.WRITE, idempotent=True)) is is_unknown
