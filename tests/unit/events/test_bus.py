from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from undaunted.core.fault import Fault
from undaunted.events import BreakerOpened, Bus, CallFailed, Event, OutcomeLeftUnknown, PrimaryLost, RetryScheduled


def lost(node: str = "n1:1") -> PrimaryLost:
    return PrimaryLost(cluster="orders", backend="mongodb", node=node)


def failed(kind: type[CallFailed] = CallFailed) -> CallFailed:
    return kind(
        cluster="orders",
        backend="mongodb",
        operation="find",
        node=None,
        attempts=1,
        elapsed_s=1.0,
        reason="budget",
        error="E",
    )


def test_a_listener_hears_what_it_subscribed_to_until_it_stops() -> None:
    bus = Bus()
    all_heard: list[Event] = []
    some_heard: list[Event] = []
    stop = bus.subscribe(all_heard.append)
    bus.subscribe(some_heard.append, CallFailed)
    events = [lost(), failed(), failed(OutcomeLeftUnknown)]
    for each in events:
        bus.publish(each)
    assert all_heard == events
    assert some_heard == events[1:]  # what inherits from a type is of that type
    stop()
    stop()
    bus.publish(lost())
    assert len(all_heard) == 3


def test_the_same_listener_subscribed_twice_is_ended_one_by_one() -> None:
    bus = Bus()
    heard: list[Event] = []
    stop = bus.subscribe(heard.append)
    bus.subscribe(heard.append)
    bus.publish(lost())
    stop()
    bus.publish(lost())
    assert len(heard) == 3


def test_a_failing_listener_is_logged_and_the_others_hear_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()
    heard: list[Event] = []

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    bus.subscribe(fail)
    bus.subscribe(heard.append)
    bus.publish(lost())
    assert len(heard) == 1
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == (
        "undaunted.events",
        "ERROR",
        "a listener failed on PrimaryLost",
    )
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_of_a_listener_passes(error: type[BaseException]) -> None:
    bus = Bus()

    def interrupt(event: Event) -> None:
        raise error

    bus.subscribe(interrupt)
    with pytest.raises(error):
        bus.publish(lost())


async def coroutine(event: Event) -> None: ...


@pytest.mark.parametrize("listener", [None, 3, coroutine])
def test_what_cannot_listen_is_refused(listener: Any) -> None:
    with pytest.raises(TypeError, match="cannot listen"):
        Bus().subscribe(listener)


@pytest.mark.parametrize("given", [int, "PrimaryLost", None])
def test_what_is_no_event_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="not an event class"):
        Bus().subscribe(print, given)


def test_the_last_hundred_are_kept() -> None:
    bus = Bus()
    for number in range(150):
        bus.publish(lost(str(number)))
    assert [each.node for each in bus.recent()] == [str(n) for n in range(50, 150)]  # type: ignore[attr-defined]


def test_a_listener_may_publish_subscribe_and_stop_within_an_event() -> None:
    bus = Bus()
    heard: list[str] = []

    def listen(event: Event) -> None:
        heard.append(type(event).__name__)
        stop()
        bus.subscribe(lambda event: heard.append("late"))
        bus.publish(failed())

    stop = bus.subscribe(listen)
    bus.publish(lost())
    assert heard == ["PrimaryLost", "late"]


def test_64_threads_publish_subscribe_and_look() -> None:
    bus = Bus()
    heard: list[Event] = []
    errors: list[BaseException] = []
    bus.subscribe(heard.append)
    gate = threading.Barrier(64)

    def work() -> None:
        try:
            gate.wait()
            for _ in range(50):
                stop = bus.subscribe(lambda event: None)
                bus.publish(lost())
                assert len(bus.recent()) <= 100
                stop()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(64)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    assert len(heard) == 64 * 50
    assert len(bus._listeners) == 1


def test_a_forked_child_keeps_listeners_and_is_not_stuck() -> None:
    bus = Bus()
    heard: list[Event] = []
    bus.subscribe(heard.append)
    with bus._lock:
        bus.after_fork_in_child()
        bus.subscribe(heard.append)
    bus.publish(lost())
    assert len(heard) == 2


def test_an_event_is_plain_data_for_json() -> None:
    event = RetryScheduled(
        cluster="orders", backend="mongodb", at=1.5, operation="find", attempt=1, node=None, fault=Fault.NOT_SENT,
        error="E", delay_s=0.0, is_hop=True,
    )  # fmt: skip
    plain = event.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["event"] == "RetryScheduled"
    assert plain["fault"] == "not_sent"
    assert BreakerOpened(cluster="c", backend="b", node="n", open_s=1).at > 1e9
