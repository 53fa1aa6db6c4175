"""Every node is gone: patient calls wait and succeed, hasty ones fail by their deadline, and soon at once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cluster import NoHostAvailable
from tests.integration.cassandra.conftest import KEYSPACE
from tests.integration.cassandra.tables import Tables, define
from tests.integration.cassandra.watch import until, usable
from tests.integration.speed import within

import undaunted
from undaunted.cassandra import BatchQuery, Model, NoNodeAvailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import CassandraLab

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.slow]

NOISE_S = 0.8
"""What a busy machine may add: three servers start on it while these calls end."""
LATE_S = 0.1 + 0.2
"""How far a call may outlive its deadline, with what eight threads of a busy machine add."""


def _batch(tables: Tables, key: str) -> None:
    with BatchQuery() as batch:
        tables.Line.batch(batch).create(order=key, number=1, item="a")
        tables.Line.batch(batch).create(order=f"{key}/b", number=1, item="b")


CALLS: dict[str, Callable[[Tables, str], Any]] = {
    "create": lambda t, key: t.Item.create(key=key, n=1),
    "update": lambda t, key: t.Item.objects(key="seed").update(n=1),
    "set": lambda t, key: t.Item.objects(key="seed").update(tags__add={key}),
    "counter": lambda t, key: t.Hits.objects(page=key).update(count=1),
    "append": lambda t, key: t.Item.objects(key=f"{key}-log").update(log__append=[key]),
    "if not exists": lambda t, key: t.Seat.if_not_exists().create(number=key, holder=key),
    "batch": _batch,
    "get": lambda t, key: t.Row.objects.get(part=0, k=7),
    "iterate": lambda t, key: list(t.Row.objects(part=1).fetch_size(30)),
}


@dataclass
class Called:
    """One call and what became of it."""

    kind: str
    began_s: float
    ended_s: float
    error: BaseException | None

    @property
    def took_s(self) -> float:
        return self.ended_s - self.began_s


def _call(tables: Tables, kind: str, key: str) -> Called:
    began_s = time.monotonic()
    error: BaseException | None = None
    try:
        CALLS[kind](tables, key)
    except Exception as found:
        error = found
    return Called(kind, began_s, time.monotonic(), error)


class _Calls:
    """One call of each kind, each in a thread of its own."""

    def __init__(self, tables: Tables, key: str) -> None:
        self.results: list[Called] = []
        self._threads = [
            threading.Thread(target=lambda k=kind: self.results.append(_call(tables, k, f"{key} {k}")), daemon=True)
            for kind in CALLS
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout_s: float) -> list[Called]:
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            assert not thread.is_alive(), f"a call hangs; ended are {[call.kind for call in self.results]}"
        return self.results


def _configure(lab: CassandraLab, *, patient: str, hasty: str, fail_fast_after: str) -> list[Tables]:
    """Two clusters on the same nodes: one that waits out the outage, and one that does not."""
    settings: dict[str, Any] = {"clusters": {}}
    for name, retry in (
        ("patient", {"deadline": patient}),
        ("hasty", {"deadline": hasty, "fail_fast_after": fail_fast_after}),
    ):
        settings["clusters"] |= lab.settings_for(name, keyspace=KEYSPACE)["clusters"]
        settings["clusters"][name] |= {"retry": retry}
    undaunted.configure(settings)
    return [define(Model, KEYSPACE, __undaunted__={"cluster": name}) for name in ("patient", "hasty")]


def _comes_back(hasty: Tables, usable_s: float) -> None:
    """The cluster that failed fast works again by itself, without anybody restarting anything."""
    turn = 0
    while True:
        turn += 1
        calls = [_call(hasty, kind, f"back {usable_s} {turn} {kind}") for kind in CALLS]
        if all(call.error is None for call in calls):
            break
        assert time.monotonic() <= usable_s + 10.0, calls
        time.sleep(0.02)
    print(f"the hasty one works again {max(0.0, calls[0].began_s - usable_s):.3f} s after the first usable node")
    within(calls[0].began_s, usable_s + 2.0 + NOISE_S)


def _outage(lab: CassandraLab, *, lasts_s: float, patient: str, hasty_s: float, fail_fast_after_s: float) -> None:
    patient_shop, hasty_shop = _configure(
        lab, patient=patient, hasty=f"{hasty_s}s", fail_fast_after=f"{fail_fast_after_s}s"
    )
    try:
        run = f"{time.monotonic()}"
        for tables in (patient_shop, hasty_shop):
            for kind in CALLS:
                assert _call(tables, kind, f"warm up {tables is hasty_shop} {run} {kind}").error is None
        for node in lab.nodes:
            lab.kill(node)
        began_s = time.monotonic()
        waiting = _Calls(patient_shop, run)
        hasty = _Calls(hasty_shop, f"hasty {run}").wait(hasty_s + 20)
        for call in hasty:
            assert isinstance(call.error, undaunted.UndauntedError), call
            within(call.took_s, hasty_s + LATE_S, call)
        last = max(hasty, key=lambda call: call.took_s)
        print(f"deadline {hasty_s:g} s: the last error, of {last.kind}, after {last.took_s:.3f} s")
        until(lambda: time.monotonic() > began_s + fail_fast_after_s + 1.0)
        fast = [_call(hasty_shop, kind, f"fast {run}") for kind in CALLS]
        for call in fast:
            assert isinstance(call.error, NoNodeAvailable), call
            assert isinstance(call.error, NoHostAvailable), call
            within(call.took_s, 0.05 + NOISE_S / 2, call)
        print(f"past fail_fast_after: the slowest error after {1000 * max(call.took_s for call in fast):.1f} ms")
        until(lambda: time.monotonic() >= began_s + lasts_s, timeout_s=lasts_s + 1)
        assert not waiting.results, waiting.results

        found: list[float] = []
        watch = threading.Thread(target=lambda: found.append(usable(lab, KEYSPACE)))
        watch.start()
        lab.start()
        watch.join(90)
        (usable_s,) = found
        results = waiting.wait(30)
        late_s = max(call.ended_s for call in results) - usable_s
        print(f"outage of {usable_s - began_s:.1f} s: the last waiting call done {late_s:.3f} s after the first node")
        for call in results:
            assert call.error is None, call
            within(call.ended_s, usable_s + 2.0 + NOISE_S, call)
        _comes_back(hasty_shop, usable_s)
        assert patient_shop.Hits.objects.get(page=f"{run} counter").count == 1
        assert patient_shop.Item.objects.get(key=f"{run} append-log").log == [f"{run} append"]
    finally:
        undaunted.close()


def test_short_outage(lab: CassandraLab) -> None:
    _outage(lab, lasts_s=12.0, patient="60s", hasty_s=2.0, fail_fast_after_s=3.0)


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_long_outage(lab: CassandraLab) -> None:
    """Two minutes without any node, and the default time after which calls fail at once."""
    _outage(lab, lasts_s=120.0, patient="180s", hasty_s=5.0, fail_fast_after_s=15.0)


def test_frozen_nodes_hold_nobody(lab: CassandraLab) -> None:
    """Every node hangs: sockets stay open, and no call outlasts its deadline by more than 0.1 s."""
    _, hasty_shop = _configure(lab, patient="30s", hasty="1s", fail_fast_after="60s")
    try:
        run = f"{time.monotonic()}"
        for kind in CALLS:
            assert _call(hasty_shop, kind, f"warm up {run} {kind}").error is None
        for node in lab.nodes:
            lab.freeze(node)
        for _ in range(2):  # the second time all nodes are known to be sick
            calls = _Calls(hasty_shop, f"frozen {run}").wait(30)
            print("deadline 1 s: " + ", ".join(f"{call.kind} {call.took_s:.3f} s" for call in calls))
            for call in calls:
                assert isinstance(call.error, undaunted.UndauntedError), call
                within(call.took_s, 1.0 + LATE_S, call)
        lab.thaw()
        _comes_back(hasty_shop, usable(lab, KEYSPACE))
    finally:
        lab.thaw()
        undaunted.close()
