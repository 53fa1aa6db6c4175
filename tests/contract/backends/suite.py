"""What every backend promises, in two parts: what any nodes can show, and what needs scripted ones.

`tests/contract/test_backends.py` runs both on scripted nodes.

A `Side` stands for the database; nothing here knows which one it is.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import os
import selectors
import signal
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.backends.side import CLUSTER

import undaunted
from undaunted.core.fault import Fault
from undaunted.events import CallFailed, CallRecovered, OutcomeLeftUnknown, RetryScheduled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.backends.side import ScriptedSide, Side


@contextlib.contextmanager
def within(bound_s: float) -> Iterator[None]:
    began_s = time.monotonic()
    yield
    took_s = time.monotonic() - began_s
    assert took_s < bound_s, f"took {took_s:.1f} s"


def until(condition: Callable[[], Any], timeout_s: float) -> None:
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_s, "the state did not come in time"
        time.sleep(0.01)


class BackendContract:
    """What any nodes can show. The fixture `side` is its only ground."""

    @pytest.fixture
    def configured(self, side: Side) -> Iterator[Callable[..., Any]]:
        """Configures the cluster as asked for; returns the model. All is forgotten after the test."""

        def make(**changes: Any) -> Any:
            undaunted.configure(side.settings(**changes))
            return side.model()

        try:
            yield make
        finally:
            side.go_on()
            undaunted.close()

    @pytest.fixture
    def events(self) -> Iterator[list[Any]]:
        """What is published of calls, in order."""
        seen: list[Any] = []
        kinds = (RetryScheduled, CallRecovered, CallFailed, OutcomeLeftUnknown)
        unsubscribe = undaunted.subscribe(seen.append, *kinds)
        yield seen
        unsubscribe()

    # -- settings, registration, status

    def test_status_is_plain_data_and_asks_nobody(self, side: Side, configured: Any) -> None:
        model = configured()
        side.save(model, 1, 5)
        side.hang()
        with within(1.0):
            told = undaunted.status()
        assert json.loads(json.dumps(told)) == told
        cluster = told["clusters"][CLUSTER]
        assert {node["address"] for node in cluster["nodes"]} == set(side.addresses())
        assert any(node["role"] in {"primary", "replica"} for node in cluster["nodes"])
        assert set(cluster["outage"]) == {"without_primary_s", "without_node_s"}
        assert cluster["budget"]["tokens"] <= cluster["budget"]["capacity"] == 100

    def test_status_says_how_long_a_node_took_to_answer(self, side: Side, configured: Any) -> None:
        side.save(configured(), 1, 5)

        def latencies() -> list[float]:
            nodes = undaunted.status()["clusters"][CLUSTER]["nodes"]
            return [node["latency_ms"] for node in nodes if node["latency_ms"] is not None]

        until(latencies, side.lively_s)
        assert all(0 < each < side.lively_s * 1000 for each in latencies())

    def test_it_may_be_closed_twice_and_the_name_is_free_again(self, side: Side, configured: Any) -> None:
        side.save(configured(), 1, 5)
        undaunted.close()
        undaunted.close()
        assert not side.registered()
        assert undaunted.status()["clusters"] == {}
        assert side.read(configured(), 1) == 5

    def test_it_may_be_configured_anew(self, side: Side, configured: Any) -> None:
        model = configured(retry={"deadline": "30s"})
        side.save(model, 1, 5)
        undaunted.configure(side.settings(retry={"deadline": "300ms"}))
        with undaunted.options(deadline=side.lively_s):  # it connects anew
            assert side.read(model, 1) == 5
        side.hang()
        with within(side.lively_s), pytest.raises(undaunted.DeadlineExceeded):
            side.read(model, 1)

    def test_wrong_settings_leave_what_is_there_alone(self, side: Side, configured: Any) -> None:
        model = configured()
        side.save(model, 1, 5)
        with pytest.raises(undaunted.ConfigurationError, match=r"retry\.attempts"):
            undaunted.configure(side.settings(retry={"attempts": 0}))
        assert side.read(model, 1) == 5

    def test_a_model_of_an_unknown_cluster_is_told_which_there_are(self, side: Side, configured: Any) -> None:
        configured()
        lost = side.model(cluster="warehouse")
        with pytest.raises(undaunted.ConfigurationError, match=r"'?warehouse'?(.|\n)*shop"):
            side.read(lost, 1)

    def test_wrong_options_of_a_model_are_told(self, side: Side, configured: Any) -> None:
        configured()
        with pytest.raises(undaunted.ConfigurationError, match="retry"):
            side.read(side.model(**{"retry.deadlien": "5s"}), 1)

    # -- what is raised

    def check_error(self, side: Side, error: Any, fault: Fault) -> None:
        """A typed error, which is also the driver's own, and says what was tried."""
        name = type(error).__name__
        assert isinstance(error, getattr(undaunted, name))
        assert isinstance(error, side.native[name])
        assert error.attempts
        assert error.__cause__ is error.attempts[-1].error
        for tried in error.attempts:
            assert tried.fault is fault
            assert tried.node in side.addresses()
            assert 0 <= tried.elapsed_s < side.lively_s
            assert isinstance(tried.error, Exception)
            assert str(tried.node) in str(error)

    def test_errors_of_the_request_pass_untouched(self, side: Side, configured: Any, events: list[Any]) -> None:
        model = configured()
        wrong, native = side.wrong(model)
        with pytest.raises(native) as caught:
            wrong()
        assert not isinstance(caught.value, undaunted.UndauntedError)
        with pytest.raises(model.DoesNotExist):
            side.read(model, 404)
        assert not [event for event in events if isinstance(event, RetryScheduled)]

    # -- time

    def test_a_deadline_ends_a_read_that_hangs(self, side: Side, configured: Any) -> None:
        model = configured()
        side.save(model, 1, 5)
        side.hang()
        with (
            undaunted.options(deadline="600ms"),
            within(side.lively_s),
            pytest.raises(undaunted.DeadlineExceeded) as caught,
        ):
            side.read(model, 1)
        assert isinstance(caught.value, side.native["DeadlineExceeded"])
        side.go_on()
        with undaunted.options(deadline=side.lively_s):
            assert side.read(model, 1) == 5

    def test_a_deadline_ends_a_write_that_hangs_with_what_is_known(self, side: Side, configured: Any) -> None:
        model = configured()
        side.save(model, 1, 0)
        side.hang()
        with undaunted.options(deadline="600ms"), within(side.lively_s), pytest.raises(side.hung_write):
            side.count(model, 1)
        side.go_on()
        with undaunted.options(deadline=side.lively_s):
            side.read(model, 1)  # it is served again
        # A node executes what it was sent before it froze, unless it lost its role; a transaction without its COMMIT
        # it does not keep.
        assert side.counted(model, 1) <= (side.hung_write is undaunted.OutcomeUnknown)

    def test_past_fail_fast_after_calls_end_at_once_and_work_again_by_themselves(
        self, side: Side, configured: Any
    ) -> None:
        model = configured(retry={"deadline": "60s", "fail_fast_after": "2s"})
        side.save(model, 1, 5)
        side.stop()
        with undaunted.options(deadline="1s"), within(side.lively_s), pytest.raises(undaunted.Exhausted):
            side.read(model, 1)
        until(lambda: undaunted.status()["clusters"][CLUSTER]["outage"]["without_node_s"] > 2.0, side.lively_s)
        with within(side.lively_s), pytest.raises(side.errors.NoNodeAvailable) as caught:
            side.read(model, 1)
        assert isinstance(caught.value, side.native["NoNodeAvailable"])
        side.go_on()

        def works() -> bool:
            with contextlib.suppress(undaunted.NoNodeAvailable):
                return side.read(model, 1) == 5
            return False

        until(works, side.lively_s)

    def test_calls_wait_for_nodes_that_are_not_there_yet(self, side: Side, configured: Any) -> None:
        model = configured()
        side.save(model, 1, 5)
        undaunted.configure(side.settings())
        side.stop()
        with undaunted.options(deadline="300ms"), within(side.lively_s), pytest.raises(undaunted.Exhausted):
            side.read(model, 1)
        side.go_on()
        with within(side.lively_s):
            assert side.read(model, 1) == 5

    def test_a_read_waits_out_nodes_that_hang(self, side: Side, configured: Any, events: list[Any]) -> None:
        model = configured()
        side.save(model, 1, 5)
        side.hang()
        with ThreadPoolExecutor(1) as pool, undaunted.deadline(side.lively_s):
            reading = pool.submit(contextvars.copy_context().run, side.read, model, 1)
            until(lambda: any(isinstance(event, RetryScheduled) for event in events), side.lively_s)
            side.go_on()
            assert reading.result(side.lively_s) == 5
        until(lambda: isinstance(events[-1], CallRecovered), 1.0)
        assert events[-1].attempts == 1 + sum(isinstance(event, RetryScheduled) for event in events)

    # -- fork

    def test_a_forked_child_works_at_once_and_so_does_its_parent(self, side: Side, configured: Any) -> None:
        model = configured()
        side.save(model, 1, 5)
        assert self.in_a_child(lambda: side.read(model, 1), side.lively_s) == 5
        assert side.read(model, 1) == 5

    def in_a_child(self, what: Callable[[], int], timeout_s: float) -> int:
        """The small number that a forked child finds; 255 stands for an error, which it prints."""
        reads, writes = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork together are what is tested
            child = os.fork()
        if child == 0:
            found = 255
            try:
                found = what()
            finally:
                os.write(writes, bytes([found]))
                os._exit(0)
        os.close(writes)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(reads, selectors.EVENT_READ)
                answered = bool(selector.select(timeout_s))
            if not answered:
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            assert answered, "the child hung"
            return os.read(reads, 1)[0]
        finally:
            os.close(reads)


class ScriptedContract(BackendContract):
    """What needs nodes that do as they are told: one lost reply, one refusal, and a count of what arrived."""

    def test_settings_register_the_cluster_and_connect_to_nothing(self, side: ScriptedSide) -> None:
        before = side.asked()
        assert not side.registered()
        undaunted.configure(side.settings())
        try:
            assert side.registered()
            told = undaunted.status()["clusters"][CLUSTER]
            assert told["backend"] == side.backend
            assert {node["address"] for node in told["nodes"]} == set(side.addresses())
            assert {node["role"] for node in told["nodes"]} == {"unknown"}
            assert side.asked() == before
        finally:
            undaunted.close()
        assert not side.registered()

    def test_a_read_and_a_write_survive_a_lost_reply(
        self, side: ScriptedSide, configured: Any, events: list[Any]
    ) -> None:
        model = configured()
        side.lose_reply("save")
        side.save(model, 1, 5)
        side.lose_reply("read")
        assert side.read(model, 1) == 5
        assert {type(event) for event in events} <= {RetryScheduled, CallRecovered}

    def test_what_runs_again_is_told_in_order(self, side: ScriptedSide, configured: Any, events: list[Any]) -> None:
        model = configured()
        side.save(model, 1, 5)
        events.clear()
        side.lose_reply("read")
        assert side.read(model, 1) == 5
        assert [type(event) for event in events] == [RetryScheduled, CallRecovered]
        for event in events:
            assert (event.cluster, event.backend) == (CLUSTER, side.backend)
            assert json.loads(json.dumps(event.as_dict()))
        kept = [told for told in undaunted.status()["events"] if told["event"] in {"RetryScheduled", "CallRecovered"}]
        assert kept[-2:] == [event.as_dict() for event in events]

    def test_what_may_not_run_twice_is_applied_once_and_said_to_be_unknown(
        self, side: ScriptedSide, configured: Any, events: list[Any]
    ) -> None:
        model = configured()
        side.save(model, 1, 0)
        side.lose_reply("count")
        with pytest.raises(side.errors.OutcomeUnknown) as caught:
            side.count(model, 1)
        until(lambda: side.counted(model, 1) == 1, side.lively_s)
        assert side.arrived("count") == 1
        self.check_error(side, caught.value, Fault.UNKNOWN)
        left = [event for event in events if isinstance(event, CallFailed)]
        assert [type(event) for event in left] == [OutcomeLeftUnknown]

    def test_what_is_declared_to_do_no_harm_twice_runs_again(self, side: ScriptedSide, configured: Any) -> None:
        model = configured()
        side.save(model, 1, 0)
        side.lose_reply("count")
        with undaunted.options(idempotent=True):
            side.count(model, 1)
        until(lambda: side.counted(model, 1) == 2, side.lively_s)
        assert side.arrived("count") == 2

    def test_attempts_are_bounded_and_listed(self, side: ScriptedSide, configured: Any, events: list[Any]) -> None:
        model = configured()
        side.save(model, 1, 5)
        events.clear()
        side.refuse("read", times=9)
        with pytest.raises(side.errors.Exhausted) as caught:
            side.read(model, 1)
        assert len(caught.value.attempts) == 3
        self.check_error(side, caught.value, Fault.SHED)
        assert [type(event) for event in events] == [RetryScheduled, RetryScheduled, CallFailed]

    def test_nobodys_value_stands_in_an_error(self, side: ScriptedSide, configured: Any) -> None:
        model = configured()
        side.refuse("read", times=9)
        with pytest.raises(undaunted.Exhausted) as caught:
            side.read(model, 1234567)
        assert "1234567" not in str(caught.value)
        assert "1234567" not in json.dumps(undaunted.status())
