"""A guarded call within another runs once; the outer one decides. In both engines, and across them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from undaunted import errors
from undaunted.core.fault import Fault
from undaunted.core.policy import Policy
from undaunted.engine import sync
from undaunted.engine.call import Call, current_call

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=["same", "other"])
def guard(bench: Any, request: pytest.FixtureRequest) -> Any:
    """The guard of the nested call: of the same cluster, and of another."""
    return bench.guard if request.param == "same" else replace(bench.guard, cluster="other")


def nest(
    bench: Any, guard: Any, inner: Callable[[Call], Any], *, outer: Any = None, policy: Policy | None = None
) -> Any:
    """Run `inner` guarded within the body of an outer call, on the engine of the bench."""
    operation = outer or bench.read
    if not bench.is_async:
        return bench.run_here(
            bench.guard, operation, lambda call: bench.run_here(guard, bench.read, inner, policy=policy)
        )

    async def awaited(call: Call) -> Any:
        await asyncio.sleep(0)
        return inner(call)

    def within(call: Call) -> Any:
        return bench.run_awaited(guard, bench.read, awaited, policy=policy)

    return asyncio.run(bench.run_awaited(bench.guard, operation, within))


def test_it_runs_once_for_each_attempt_of_the_outer_call(bench: Any, guard: Any, driver_error: Any) -> None:
    ran: list[Call] = []

    def inner(call: Call) -> Any:
        ran.append(call)
        raise driver_error(Fault.UNKNOWN)

    with pytest.raises(errors.Exhausted) as caught:
        nest(bench, guard, inner, policy=Policy(attempts=9))
    assert len(ran) == len(caught.value.attempts) == 3  # not 3 * 9
    assert len({id(call) for call in ran}) == 3
    assert current_call() is None


def test_its_error_passes_raw_to_the_body_of_the_outer_call(bench: Any, guard: Any, driver_error: Any) -> None:
    error = driver_error(Fault.UNKNOWN)

    def raising(call: Call) -> Any:
        raise error

    def outer(call: Call) -> str:
        with pytest.raises(driver_error) as caught:
            sync.run(guard, bench.read, raising)
        assert caught.value is error
        assert not hasattr(error, "attempts")
        assert current_call() is call
        return "handled"

    assert bench.run(bench.read, outer) == "handled"


def test_it_never_outlasts_the_outer_call(bench: Any, guard: Any) -> None:
    remaining = nest(bench, guard, lambda call: call.remaining_s(), policy=Policy(deadline_s=3600))
    assert remaining == 15.0
    assert nest(bench, guard, lambda call: call.remaining_s(), policy=Policy(deadline_s=2)) == 2.0


def test_what_it_sent_is_noted_on_the_outer_call_of_the_same_cluster_alone(bench: Any, guard: Any) -> None:
    def inner(call: Call) -> None:
        call.node, call.sent = "n7:1", True

    def outer(call: Call) -> Any:
        sync.run(guard, bench.read, inner)
        sync.run(guard, bench.read, lambda nested: None)
        return call.node, call.sent

    assert bench.run(bench.read, outer) == (("n7:1", True) if guard is bench.guard else (None, False))


def test_no_outage_gate_stands_within(bench: Any, guard: Any) -> None:
    def outer(call: Call) -> Any:
        bench.guard.outage.all_lost()
        bench.clock.advance(100)
        return sync.run(guard, bench.read, lambda nested: "served")

    assert bench.run(bench.read, outer) == "served"


def test_another_thread_has_calls_of_its_own(bench: Any) -> None:
    def outer(call: Call) -> Any:
        ran: list[Any] = []
        body = bench.script(Fault.UNKNOWN, "value")
        thread = threading.Thread(target=lambda: ran.append(sync.run(bench.guard, bench.read, body)))
        thread.start()
        thread.join()
        return ran

    assert bench.run(bench.read, outer) == ["value"]


def test_a_context_that_outlives_the_outer_call_is_nested_no_more(bench: Any) -> None:
    copied = bench.run(bench.read, lambda call: contextvars.copy_context())
    body = bench.script(Fault.UNKNOWN, "value")
    assert copied.run(lambda: bench.run(bench.read, body)) == "value"
    assert body.ran == 2
