"""Which calls wait: each thread and each task once, from its first failure to its end, however that comes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from undaunted import errors
from undaunted.core.operation import Kind, Operation
from undaunted.engine import aio, sync
from undaunted.engine.waiting import Waiting

if TYPE_CHECKING:
    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard

READ = Operation(name="find", kind=Kind.READ)


def calls(guard: Guard) -> int:
    return int(guard.waiting.as_dict(guard.clock.monotonic())["calls"])


def test_nobody_waits() -> None:
    assert Waiting().as_dict(5.0) == {"calls": 0, "longest_s": 0.0}


def test_a_call_is_counted_from_its_failure_to_its_end(guard: Guard) -> None:
    seen: list[int] = []

    def body(_: Call) -> str:
        seen.append(calls(guard))
        if len(seen) < 3:
            raise ConnectionResetError
        return "done"

    assert sync.run(guard, READ, body) == "done"
    assert seen == [0, 1, 1]
    assert calls(guard) == 0


@pytest.mark.parametrize("error", [ConnectionResetError, ValueError, KeyboardInterrupt])
def test_it_is_struck_out_however_it_ends(guard: Guard, error: type[BaseException]) -> None:
    ran = 0

    def body(_: Call) -> None:
        nonlocal ran
        ran += 1
        raise ConnectionResetError if ran == 1 else error

    with pytest.raises((errors.Exhausted, ValueError, KeyboardInterrupt)):
        sync.run(guard, READ, body)
    assert calls(guard) == 0


async def test_tasks_are_counted_each_for_itself(guard: Guard) -> None:
    rerun: list[int] = []
    all_again, go_on = asyncio.Event(), asyncio.Event()

    async def one() -> None:
        has_failed = False

        async def body(_: Call) -> None:
            nonlocal has_failed
            if not has_failed:
                has_failed = True
                raise ConnectionResetError
            rerun.append(1)
            if len(rerun) == 5:
                all_again.set()
            await go_on.wait()

        await aio.run(guard, READ, body)

    tasks = [asyncio.create_task(one()) for _ in range(5)]
    await asyncio.wait_for(all_again.wait(), 10)
    assert calls(guard) == 5
    go_on.set()
    await asyncio.gather(*tasks)
    assert calls(guard) == 0


def test_a_thread_waits_once_and_the_oldest_counts() -> None:
    waiting = Waiting()
    outer = waiting.begun(1.0)
    inner = waiting.begun(3.0)
    assert waiting.as_dict(5.0) == {"calls": 1, "longest_s": 4.0}
    waiting.ended(inner)
    assert waiting.as_dict(5.0)["calls"] == 1
    waiting.ended(outer)
    waiting.ended(outer)
    assert waiting.as_dict(5.0)["calls"] == 0


def test_threads_come_and_go_while_somebody_counts() -> None:
    waiting = Waiting()
    wrong: list[Any] = []

    def work() -> None:
        for _ in range(300):
            who = waiting.begun(0.0)
            if not 1 <= waiting.as_dict(1.0)["calls"] <= 8:
                wrong.append(waiting.as_dict(1.0))
            waiting.ended(who)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert waiting.as_dict(1.0)["calls"] == 0


def test_in_a_forked_child_nobody_waits(guard: Guard) -> None:
    guard.waiting.begun(0.0)
    guard.after_fork_in_child()
    assert calls(guard) == 0
