"""What only asyncio has: cancellation, many tasks on one loop, awaitable settling."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from undaunted import errors
from undaunted.core.attempt import Failure
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.policy import Backoff
from undaunted.engine.aio import run
from undaunted.engine.call import Call, current_call
from undaunted.engine.context import options
from undaunted.engine.guard import NOT_APPLIED

if TYPE_CHECKING:
    from undaunted.engine.guard import Guard

READ = Operation(name="find", kind=Kind.READ)
COMMIT = Operation(name="commit", kind=Kind.UNIT_OF_WORK, settleable=True)


async def test_400_tasks_fail_differently_and_each_gets_its_own(guard: Guard) -> None:
    ran = [0] * 400

    async def one(number: int) -> int:
        async def body(call: Call) -> int:
            assert current_call() is call
            ran[number] += 1
            await asyncio.sleep(0)
            assert current_call() is call
            if ran[number] <= number % 4:
                raise ConnectionResetError
            return number

        return await run(guard, READ, body)

    assert await asyncio.gather(*(one(n) for n in range(400))) == list(range(400))
    assert ran == [n % 4 + 1 for n in range(400)]


async def test_a_cancelled_body_is_cancelled_at_once(guard: Guard) -> None:
    entered = asyncio.Event()
    ran = 0

    async def body(call: Call) -> None:
        nonlocal ran
        ran += 1
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(run(guard, READ, body))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ran == 1


@pytest.mark.parametrize("where", ["wait", "later attempt"])
async def test_a_cancelled_recovery_is_cancelled_at_once(guard: Guard, where: str) -> None:
    entered = asyncio.Event()
    ran = 0

    async def forever(for_s: float = 0) -> None:
        entered.set()
        await asyncio.Event().wait()

    async def body(call: Call) -> None:
        nonlocal ran
        ran += 1
        if where == "later attempt" and ran == 2:
            await forever()
        raise ConnectionResetError

    guard.async_sleep = forever if where == "wait" else None
    task = asyncio.create_task(run(guard, READ, body))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ran == (1 if where == "wait" else 2)


async def test_a_timeout_around_a_call_ends_its_wait(guard: Guard) -> None:
    guard.policy = replace(guard.policy, backoff=Backoff(initial_s=60, max_s=60), attempts=99)
    guard.chance = lambda: 0.9

    async def body(call: Call) -> None:
        raise ConnectionResetError

    with pytest.raises((TimeoutError, asyncio.TimeoutError)), options(deadline="1h"):
        await asyncio.wait_for(run(guard, READ, body), 0.05)


async def test_the_loop_runs_on_while_a_call_waits(guard: Guard) -> None:
    guard.policy = replace(guard.policy, backoff=Backoff(initial_s=0.2, max_s=0.2), attempts=3)
    guard.chance = lambda: 0.99
    ticks = 0
    done = False

    async def tick() -> None:
        nonlocal ticks
        while not done:
            ticks += 1
            await asyncio.sleep(0.001)

    async def body(call: Call) -> None:
        raise ConnectionResetError

    ticking = asyncio.create_task(tick())
    with pytest.raises(errors.Exhausted):
        await run(guard, READ, body)
    done = True
    await ticking
    assert ticks > 5


@pytest.mark.parametrize(("answer", "expected"), [("applied", "applied"), (NOT_APPLIED, "value")])
async def test_settling_may_be_awaited(guard: Guard, answer: Any, expected: str) -> None:
    async def settle(call: Call, failure: Failure) -> Any:
        await asyncio.sleep(0)
        return answer

    guard.settle = settle
    steps: list[Any] = ["value", ConnectionResetError()]

    async def body(call: Call) -> Any:
        step = steps.pop()
        if isinstance(step, Exception):
            raise step
        return step

    assert await run(guard, COMMIT, body) == expected


async def test_tasks_of_a_body_are_nested_while_it_runs_and_free_afterwards(guard: Guard) -> None:
    release = asyncio.Event()
    ran = {"within": 0, "after": 0}

    async def once(name: str, call: Call) -> str:
        ran[name] += 1
        if ran[name] == 1:
            raise ConnectionResetError
        return name

    async def late() -> str:
        await release.wait()
        return await run(guard, READ, lambda call: once("after", call))

    async def body(call: Call) -> asyncio.Task[str]:
        with pytest.raises(ConnectionResetError):
            await asyncio.create_task(run(guard, READ, lambda call: once("within", call)))
        return asyncio.create_task(late())

    task = await run(guard, READ, body)
    release.set()
    assert await task == "after"
    assert ran == {"within": 1, "after": 2}


class Witness:
    pass


@pytest.mark.parametrize("fault", [Fault.UNKNOWN, Fault.PERMANENT])
@pytest.mark.parametrize("kind", [Kind.READ, Kind.WRITE])
async def test_no_frame_outlives_what_was_raised(guard: Guard, fault: Fault, kind: Kind) -> None:
    guard.classify = lambda error, call: Failure(fault=fault)
    seen: list[weakref.ref[Witness]] = []

    async def body(call: Call) -> None:
        witness = Witness()
        seen.append(weakref.ref(witness))
        raise ConnectionResetError

    async def act() -> None:
        try:
            await run(guard, Operation(name="op", kind=kind), body)
        except (errors.UndauntedError, ConnectionResetError):
            return
        pytest.fail("nothing was raised")

    await act()  # imports done
    seen.clear()
    gc.collect()
    gc.disable()
    try:
        await act()
        assert [ref for ref in seen if ref() is not None] == []
    finally:
        gc.enable()


async def test_no_body_outlives_its_call(guard: Guard) -> None:
    class Body:
        ran = 0

        async def __call__(self, call: Call) -> str:
            self.ran += 1
            if self.ran < 3:
                raise ConnectionResetError
            return "value"

    await run(guard, READ, Body())  # imports done
    body = Body()
    ref = weakref.ref(body)
    gc.collect()
    gc.disable()
    try:
        assert await run(guard, READ, body) == "value"
        del body
        assert ref() is None
    finally:
        gc.enable()


def test_the_answers_of_settling_name_themselves() -> None:
    assert repr(NOT_APPLIED) == "NOT_APPLIED"
