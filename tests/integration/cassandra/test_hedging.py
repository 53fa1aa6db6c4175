"""A second request for a slow first one, on real nodes: a dead or frozen node costs a moment, and no load without."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cqlengine import connection
from tests.integration.cassandra.load import REPEATABLE, Load
from tests.integration.cassandra.watch import until
from tests.integration.speed import within

from undaunted.cassandra import BatchQuery, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.cassandra.reader import Reader
    from tests.integration.cassandra.tables import Tables

    from undaunted.lab import CassandraLab

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.alone]

GAP_S = 0.3
NOISE_S = 0.3
"""What a busy machine may add: three servers and nine threads share two cores. The timeout of an attempt is 2 s."""
LASTS_S = 5.0
EXTRA = 0.05
"""Hedges a request without faults, at most."""
WORKERS = (
    ("create", "read"),
    ("save_changed", "read"),
    ("change_set",),
    ("change_map",),
    ("delete",),
    *[("read",)] * 3,
)


class Sent:
    """Counts what the driver sends: each request that is not one of its own."""

    def __init__(self, session: Any) -> None:
        self._lock = threading.Lock()
        self.count = 0
        session.add_request_init_listener(self._one)

    def _one(self, _future: Any) -> None:
        with self._lock:
            self.count += 1


def quiet_share(shop: Tables, reader: Reader) -> float:
    """Requests that are sent on top, for each that is asked for, while all nodes are well."""
    with Load(shop, BatchQuery, reader, workers=(("create",), *[("read",)] * 5)) as load:
        since_s = time.monotonic()
        until(lambda: time.monotonic() > since_s + LASTS_S, timeout_s=LASTS_S + 5)  # the delay is known by then
        sent = Sent(connection.get_session("shop"))
        before = len(load.ledger)
        until(lambda: len(load.ledger) >= before + 1000, what="a thousand operations")
        asked, got = len(load.ledger) - before, sent.count
    load.audit().assert_kept(unknown=OutcomeUnknown)
    assert got >= asked - 10, "the requests were not counted"
    return got / asked - 1


@pytest.mark.parametrize("fault", [pytest.param("kill", marks=pytest.mark.soak), "freeze"])
def test_a_lost_node_costs_a_moment(
    lab: CassandraLab, configure: Callable[..., Tables], reader: Reader, fault: str
) -> None:
    shop = configure(hedge=True, retry={"deadline": "40s"})
    with Load(shop, BatchQuery, reader, workers=(*WORKERS, ("counter",))) as load:
        warm_s = time.monotonic()
        until(lambda: time.monotonic() > warm_s + 3, timeout_s=10)  # how long an answer takes is learnt from answers
        struck = getattr(lab, fault)("n2")
        since_s = time.monotonic()
        until(lambda: time.monotonic() > since_s + LASTS_S, timeout_s=LASTS_S + 5)
        longest = {kind: load.longest((kind,), since_s=since_s) for kind in REPEATABLE}
        lab.heal()
        load.go_on()
    audit = load.audit()
    print(f"{fault} of {struck.name}, hedged: {audit}; longest wait, s: {longest}")
    audit.assert_kept(unknown=OutcomeUnknown)
    within(max(longest.values()), GAP_S + NOISE_S, longest)


def test_it_adds_hardly_any_load(configure: Callable[..., Tables], lab: CassandraLab, reader: Reader) -> None:
    del lab  # it is well
    share = quiet_share(configure(hedge=True), reader)
    print(f"without faults {share:.1%} more requests than operations")
    assert share <= EXTRA + 0.01  # some were on their way at either end
