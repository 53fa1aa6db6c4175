"""A few connect to a node at a time; whoever waits takes what is given back first."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.util import queue

from undaunted.sqlalchemy.pools import AsyncPool, Pool, patient
from undaunted.sqlalchemy.turns import AT_ONCE, PATIENCE_S, Turns

if TYPE_CHECKING:
    import sqlalchemy as sa

LONG_S = 60.0


def crowd(turns: Turns, nodes: list[str], *, hold_s: float) -> tuple[int, int]:
    """Threads that take a turn each; how many had one at the same time, and how many had one at all."""
    lock, inside, most, ended = threading.Lock(), 0, 0, 0
    begin = threading.Barrier(len(nodes))

    def work(node: str) -> None:
        nonlocal inside, most, ended
        begin.wait(LONG_S)
        with turns.wait(node, at_most_s=LONG_S):
            with lock:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(hold_s)
            with lock:
                inside -= 1
                ended += 1

    threads = [threading.Thread(target=work, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    return most, ended


def test_a_crowd_of_threads_takes_turns() -> None:
    turns = Turns()
    assert crowd(turns, ["a"] * 10, hold_s=0.01) == (AT_ONCE, 10)
    assert not turns.are_taken("a")


def test_each_node_has_turns_of_its_own() -> None:
    turns = Turns(patience_s=LONG_S)
    with turns.wait("a", at_most_s=LONG_S), turns.wait("a", at_most_s=LONG_S):
        assert turns.are_taken("a")
        assert not turns.are_taken("b")
        before_s = time.monotonic()
        with turns.wait("b", at_most_s=LONG_S):
            assert time.monotonic() - before_s < LONG_S


def test_nobody_waits_for_ever_for_those_who_hang() -> None:
    turns = Turns()
    with turns.wait("a", at_most_s=LONG_S), turns.wait("a", at_most_s=LONG_S):
        before_s = time.monotonic()
        with turns.wait("a", at_most_s=LONG_S):
            assert time.monotonic() - before_s >= PATIENCE_S


def test_nobody_waits_for_longer_than_the_deadline_leaves() -> None:
    turns = Turns(patience_s=LONG_S)
    with turns.wait("a", at_most_s=LONG_S), turns.wait("a", at_most_s=LONG_S):
        before_s = time.monotonic()
        with turns.wait("a", at_most_s=0.0):
            assert time.monotonic() - before_s < LONG_S


def test_a_turn_ends_with_an_error_too() -> None:
    turns = Turns()
    for _ in range(AT_ONCE + 1):
        with pytest.raises(OSError, match="refused"), turns.wait("a", at_most_s=LONG_S):
            raise OSError("refused")
    assert not turns.are_taken("a")


async def test_a_crowd_of_tasks_takes_turns_with_threads() -> None:
    turns = Turns()
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with turns.wait_async("a", at_most_s=LONG_S):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    with turns.wait("a", at_most_s=LONG_S):
        await asyncio.gather(*(work() for _ in range(6)))
    assert most == AT_ONCE - 1
    assert not turns.are_taken("a")


async def test_a_task_that_is_cancelled_while_it_waits_takes_no_turn() -> None:
    turns = Turns()

    async def work() -> None:
        async with turns.wait_async("a", at_most_s=LONG_S):
            await asyncio.sleep(LONG_S)

    with turns.wait("a", at_most_s=LONG_S), turns.wait("a", at_most_s=LONG_S):
        task = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not turns.are_taken("a")


def made(kind: type[sa.Pool], connects: list[object]) -> sa.Pool:
    def creator() -> object:
        connects.append(connection := sqlite3.connect(":memory:", check_same_thread=False))
        return connection

    return kind(creator, pool_size=1, max_overflow=2)  # type: ignore[call-arg]


def test_while_others_connect_what_is_given_back_serves() -> None:
    is_busy = threading.Event()
    connects: list[object] = []
    pool = made(patient(Pool, is_busy.is_set), connects)
    first = pool.connect()
    is_busy.set()
    threading.Timer(0.02, first.close).start()
    second = pool.connect()
    assert len(connects) == 1
    second.close()
    pool.dispose()


def test_one_is_made_where_nothing_is_given_back() -> None:
    connects: list[object] = []
    pool = made(patient(Pool, lambda: True), connects)
    first, before_s = pool.connect(), time.monotonic()
    second = pool.connect()
    assert time.monotonic() - before_s >= PATIENCE_S
    assert len(connects) == 2
    first.close()
    second.close()
    again = pool.recreate()  # as engine.dispose() does
    assert type(again) is type(pool)
    pool.dispose()


def test_one_is_made_as_soon_as_nobody_else_connects() -> None:
    connects: list[object] = []
    asked: list[bool] = []

    def is_busy() -> bool:
        asked.append(len(connects) == 1 and len(asked) < 4)
        return asked[-1]

    pool = made(patient(Pool, is_busy), connects)
    first, second = pool.connect(), pool.connect()
    assert asked == [False, True, True, True, False]
    assert len(connects) == 2
    first.close()
    second.close()
    pool.dispose()


def test_the_pool_for_tasks_is_of_the_same_kind() -> None:
    kind = patient(AsyncPool, lambda: False)
    assert issubclass(kind, AsyncPool)
    with pytest.raises(queue.Empty):
        vars(kind)["_queue_class"](1).get(False)


@pytest.mark.parametrize("kind", [Pool, AsyncPool])
def test_what_makes_a_pool_s_queue_is_no_method_of_the_pool(kind: type[sa.QueuePool]) -> None:
    """A bare partial in a class is one from Python 3.14 on, and 3.13 warns of it; then no engine could be made."""
    assert isinstance(inspect.getattr_static(patient(kind, lambda: False), "_queue_class"), staticmethod)
