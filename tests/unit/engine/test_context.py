from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest

from undaunted.core.policy import Policy
from undaunted.engine.context import current_options, deadline, options


def seen() -> Any:
    return current_options()


def test_nothing_is_declared_outside_of_every_block() -> None:
    assert current_options() is None


def test_inner_options_win_and_the_rest_shines_through() -> None:
    with options(attempts=5, reads="replica", profile="web", idempotent=True, many_writes="plain"):
        with options(attempts=2, idempotent=False):
            inner = seen()
            assert (inner.attempts, inner.idempotent) == (2, False)
            assert (inner.reads, inner.profile, inner.many_writes) == ("replica", "web", "plain")
        assert (seen().attempts, seen().idempotent) == (5, True)
    assert seen() is None


def test_an_inner_deadline_never_outlasts_the_outer_one() -> None:
    with deadline("2s"):
        outer = seen().deadline
        with deadline("10s"):
            assert seen().deadline == outer
        with deadline("1s"):
            assert seen().deadline.at_s < outer.at_s
        with options(attempts=1):
            assert seen().deadline == outer


def test_a_raise_ends_the_block_too() -> None:
    with pytest.raises(KeyError), options(attempts=1):
        raise KeyError
    assert seen() is None


def test_one_object_may_be_entered_again_and_within_itself() -> None:
    block = options(attempts=2)
    for _ in range(2):
        with block, block:
            assert seen().attempts == 2
        assert seen() is None


def test_a_decorated_function_keeps_its_name_and_its_result() -> None:
    @options(attempts=4)
    def act(number: int, *, twice: bool = False) -> tuple[int, Any]:
        """Act."""
        return (number * 2 if twice else number), seen()

    assert (act.__name__, act.__doc__) == ("act", "Act.")
    assert act(3, twice=True)[0] == 6
    assert act(3)[1].attempts == 4
    assert seen() is None


def test_each_call_of_a_decorated_function_has_a_deadline_of_its_own() -> None:
    @deadline("10s")
    def act() -> Any:
        return seen().deadline.at_s

    assert act() < act()


async def test_a_decorated_coroutine_function_runs_within_its_options() -> None:
    @options(attempts=4)
    async def act() -> Any:
        await asyncio.sleep(0)
        return seen()

    assert inspect.iscoroutinefunction(act)
    waiting = act()
    assert seen() is None
    assert (await waiting).attempts == 4


async def test_tasks_begun_within_inherit_and_others_do_not() -> None:
    async def look() -> Any:
        await asyncio.sleep(0)
        return seen()

    outside = asyncio.create_task(look())
    with options(attempts=4):
        inside = asyncio.create_task(look())
    assert await outside is None
    assert (await inside).attempts == 4


def test_a_thread_has_options_of_its_own() -> None:
    found: list[Any] = []
    with options(attempts=4):
        thread = threading.Thread(target=lambda: found.append(seen()))
        thread.start()
        thread.join()
    assert found == [None]


def test_64_threads_share_a_decorated_function() -> None:
    wrong: list[Any] = []

    @options(attempts=3)
    def act(number: int) -> None:
        with options(attempts=number):
            if seen().attempts != number:
                wrong.append(seen())

    def loop(number: int) -> None:
        for _ in range(100):
            act(number)
        if seen() is not None:
            wrong.append(seen())

    threads = [threading.Thread(target=loop, args=(n,)) for n in range(1, 65)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert wrong == []


def test_generators_are_refused_since_options_would_leak() -> None:
    with pytest.raises(TypeError, match="is a generator"):

        @options(attempts=1)
        def act() -> Any:
            yield 1

    with pytest.raises(TypeError, match="Decorate the function that consumes it"):

        @options(attempts=1)
        async def act_async() -> Any:
            yield 1


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"deadlin": 1}, TypeError, "'deadlin' is not an option. Did you mean 'deadline'?"),
        ({"xyz": 1}, TypeError, "deadline, idempotent, reads, many_writes, attempts, profile"),
        ({"deadline": "soon"}, ValueError, "option deadline: 'soon' is not a duration"),
        ({"deadline": 0}, ValueError, "leaves no time"),
        ({"deadline": -1}, ValueError, "negative"),
        ({"deadline": True}, ValueError, "True is not a duration"),
        ({"attempts": 0}, ValueError, "at least 1"),
        ({"attempts": True}, TypeError, "whole number"),
        ({"attempts": 1.5}, TypeError, "whole number"),
        ({"reads": "master"}, ValueError, "primary, fallback, replica, any"),
        ({"many_writes": "maybe"}, ValueError, "transaction, plain"),
        ({"idempotent": "yes"}, TypeError, "expected bool"),
        ({"profile": ""}, TypeError, "expected str"),
        ({"profile": 3}, TypeError, "expected str"),
    ],
)
def test_mistakes_are_told_when_they_are_written(given: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as caught:
        options(**given)
    assert says in str(caught.value)


def test_nothing_declared_changes_no_policy() -> None:
    policy = Policy()
    with options(profile="web"):
        assert seen().overlay(policy) is policy
    with options(attempts=9):
        assert seen().overlay(policy) == Policy(attempts=9)


def test_what_was_laid_over_one_policy_is_kept_and_never_taken_for_another() -> None:
    with options(attempts=9):
        first, second = Policy(deadline_s=1), Policy(deadline_s=2)
        laid = seen().overlay(first)
        assert seen().overlay(first) is laid
        assert seen().overlay(second) == Policy(deadline_s=2, attempts=9)
        assert seen().overlay(first) == Policy(deadline_s=1, attempts=9)


def test_blocks_of_one_object_share_no_memory() -> None:
    block = options(deadline="10s")
    with block:
        outer = seen()
        with block:
            assert seen().memo is not outer.memo
    with block:
        assert seen().memo is not outer.memo
