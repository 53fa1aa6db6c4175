"""Every node is gone: patient calls wait and succeed, hasty ones fail by their deadline, and soon at once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pymongo.errors import AutoReconnect
from tests.integration.mongodb.documents import define
from tests.integration.speed import within

import undaunted
from undaunted.mongodb import DeadlineExceeded, Document, NoNodeAvailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

NOISE_S = 0.5
"""What a busy machine may add: three servers start on it while these calls end."""

LATE_S = 0.1 + 0.2
"""How far a call may outlive its deadline, with what eight threads of a busy machine add: less than the half second for
which the driver sleeps between two looks for a primary."""

CALLS: dict[str, Callable[[Documents, str], Any]] = {
    "save": lambda d, key: d.Item(key=key).save(),
    "update": lambda d, key: d.Item.objects(key="seed").update_one(inc__n=1),
    "update many": lambda d, key: d.Item.objects(group="seed").update(inc__n=1),
    "insert many": lambda d, key: d.Item.objects.insert([d.Item(key=key), d.Item(key=key)], load_bulk=False),
    "get": lambda d, key: d.Item.objects.get(key="seed"),
    "count": lambda d, key: d.Item.objects.count(),
    "iterate": lambda d, key: list(d.Item.objects.batch_size(2)),
    "modify": lambda d, key: d.Item.objects(key="seed").modify(inc__n=1),
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


def _call(documents: Documents, kind: str) -> Called:
    began_s = time.monotonic()
    error: BaseException | None = None
    try:
        CALLS[kind](documents, f"{kind} of {documents.alias}")
    except Exception as found:
        error = found
    return Called(kind, began_s, time.monotonic(), error)


class _Calls:
    """One call of each kind, each in a thread of its own."""

    def __init__(self, documents: Documents) -> None:
        self.results: list[Called] = []
        self._threads = [
            threading.Thread(target=lambda k=kind: self.results.append(_call(documents, k)), daemon=True)
            for kind in CALLS
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout_s: float) -> list[Called]:
        deadline_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            assert not thread.is_alive(), "a call hangs"
        return self.results


def _configure(lab: MongoLab, database: str, *, patient: str, hasty: str, fail_fast_after: str) -> list[Documents]:
    """Two clusters on the same nodes: one that waits out the outage, and one that does not."""
    settings: dict[str, Any] = {"clusters": {}}
    for name, retry in (
        ("patient", {"deadline": patient}),
        ("hasty", {"deadline": hasty, "fail_fast_after": fail_fast_after}),
    ):
        settings["clusters"] |= lab.settings_for(name)["clusters"]
        settings["clusters"][name] |= {"database": database, "retry": retry}
    undaunted.configure(settings)
    made = [define(Document, name) for name in ("patient", "hasty")]
    for documents in made:
        documents.Item(key="seed", group="seed").save()
        for call in CALLS.values():
            call(documents, f"warm up {documents.alias}")
        documents.Item.objects(key="seed").delete()
    made[0].Item(key="seed", group="seed").save()
    return made


def _outage(
    lab: MongoLab, database: str, *, lasts_s: float, patient: str, hasty_s: float, fail_fast_after_s: float
) -> None:
    patient_shop, hasty_shop = _configure(
        lab, database, patient=patient, hasty=f"{hasty_s}s", fail_fast_after=f"{fail_fast_after_s}s"
    )
    try:
        for node in lab.nodes:
            lab.kill(node)
        began_s = time.monotonic()
        waiting = _Calls(patient_shop)
        hasty = _Calls(hasty_shop).wait(hasty_s + 20)
        for call in hasty:
            assert isinstance(call.error, undaunted.UndauntedError), call
            assert isinstance(call.error, AutoReconnect), call
            within(call.took_s, hasty_s + LATE_S, call)
        last = max(hasty, key=lambda call: call.took_s)
        print(f"deadline {hasty_s:g} s: the last error, of {last.kind}, after {last.took_s:.3f} s")
        while time.monotonic() < began_s + fail_fast_after_s + 2.5:  # heartbeats find the outage within 2 s
            time.sleep(0.05)
        fast = [_call(hasty_shop, kind) for kind in CALLS]
        for call in fast:
            assert isinstance(call.error, NoNodeAvailable), call
            within(call.took_s, 0.05 + NOISE_S / 2, call)
        print(f"past fail_fast_after: the slowest error after {1000 * max(call.took_s for call in fast):.1f} ms")
        while time.monotonic() < began_s + lasts_s:
            assert not waiting.results, waiting.results
            time.sleep(0.05)

        found: list[float] = []
        watch = threading.Thread(target=lambda: found.append(lab.wait_primary(timeout="60s")))
        watch.start()
        lab.start()
        watch.join(90)
        (visible_s,) = found
        results = waiting.wait(30)
        for call in results:
            assert call.error is None, call
            within(call.ended_s, visible_s + 2.0 + NOISE_S, call)
        late_s = max(call.ended_s for call in results) - visible_s
        print(f"outage of {visible_s - began_s:.1f} s: the last waiting call done {late_s:.3f} s after the primary")
        _comes_back(hasty_shop, visible_s)
        assert patient_shop.Item.objects.get(key="seed").n >= 3
        assert patient_shop.Item.objects(key="save of patient").count() == 1
        assert patient_shop.Item.objects(key="insert many of patient").count() == 2
    finally:
        undaunted.close()


def _comes_back(hasty_shop: Documents, visible_s: float) -> None:
    """The cluster that failed fast works again by itself, without anybody restarting anything."""
    while True:
        calls = [_call(hasty_shop, kind) for kind in CALLS]
        if all(call.error is None for call in calls):
            break
        assert time.monotonic() <= visible_s + 2.0 + NOISE_S, calls
        time.sleep(0.02)
    print(f"the hasty one works again {max(0.0, calls[0].began_s - visible_s):.3f} s after the primary")
    within(calls[0].began_s, visible_s + 2.0 + NOISE_S)


def test_short_outage(lab: MongoLab, database: str) -> None:
    _outage(lab, database, lasts_s=8.0, patient="30s", hasty_s=2.0, fail_fast_after_s=3.0)


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_long_outage(lab: MongoLab, database: str) -> None:
    """The issue's own figures: a minute without any node, deadlines of 90 s and of 5 s, the default fail_fast_after."""
    _outage(lab, database, lasts_s=60.0, patient="90s", hasty_s=5.0, fail_fast_after_s=15.0)


def test_frozen_nodes_hold_nobody(lab: MongoLab, database: str) -> None:
    """Every node hangs: sockets stay open, and no call outlasts its deadline by more than 0.1 s."""
    _, hasty_shop = _configure(lab, database, patient="30s", hasty="1s", fail_fast_after="60s")
    try:
        for node in lab.nodes:
            lab.freeze(node)
        for call in _Calls(hasty_shop).wait(30):
            assert isinstance(call.error, undaunted.UndauntedError), call
            within(call.took_s, 1.0 + LATE_S, call)
        lab.thaw()
        lab.wait_primary()
        _comes_back(hasty_shop, lab.wait_primary())
    finally:
        undaunted.close()


def test_deadline_is_the_callers_own(lab: MongoLab, database: str) -> None:
    """It comes from the block, over the cluster's; the error names the remedy, the tries and no data."""
    patient_shop, _ = _configure(lab, database, patient="30s", hasty="1s", fail_fast_after="60s")
    try:
        for node in lab.nodes:
            lab.kill(node)
        for call in CALLS.values():
            began_s = time.monotonic()
            with undaunted.deadline("300ms"), pytest.raises(undaunted.UndauntedError) as caught:
                call(patient_shop, "a-secret-key")
            within(time.monotonic() - began_s, 0.3 + LATE_S)
            assert isinstance(caught.value, (DeadlineExceeded, AutoReconnect))
            assert "a-secret-key" not in str(caught.value)
    finally:
        undaunted.close()
