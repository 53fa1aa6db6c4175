"""What a guarded call costs when nothing fails, over the bare call: ``python benchmarks/engine.py``.

Prints the median and the spread (first and ninth decile) of many short rounds, in microseconds a call. The guarded
and the bare call take turns within a round, so that a busy machine disturbs both alike; time is that of the thread.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from typing import TYPE_CHECKING

from undaunted import errors
from undaunted.core.attempt import Failure
from undaunted.core.budget import Budget
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.outage import Outage
from undaunted.core.policy import BudgetPolicy, Policy
from undaunted.engine import aio, sync
from undaunted.engine.context import options
from undaunted.engine.guard import ErrorClasses, Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from undaunted.engine.call import Call

READ = Operation(name="find", kind=Kind.READ)
CALLS = 2_000


def guard() -> Guard:
    return Guard(
        cluster="bench",
        backend="none",
        policy=Policy(),
        budget=Budget(BudgetPolicy()),
        outage=Outage(),
        classify=lambda error, call: Failure(fault=Fault.PERMANENT, node=call.node),  # noqa: ARG005
        errors=ErrorClasses(
            outcome_unknown=errors.OutcomeUnknown,
            deadline_exceeded=errors.DeadlineExceeded,
            no_node_available=errors.NoNodeAvailable,
            budget_exhausted=errors.BudgetExhausted,
            exhausted=errors.Exhausted,
        ),
    )


def body(call: Call | None) -> int:  # noqa: ARG001
    return 1


async def async_body(call: Call | None) -> int:  # noqa: ARG001
    return 1


def bare() -> float:
    began = time.thread_time()
    for _ in range(CALLS):
        body(None)
    return time.thread_time() - began


def guarded(cluster: Guard) -> float:
    run = sync.run
    began = time.thread_time()
    for _ in range(CALLS):
        run(cluster, READ, body)
    return time.thread_time() - began


async def bare_async() -> float:
    began = time.thread_time()
    for _ in range(CALLS):
        await async_body(None)
    return time.thread_time() - began


async def guarded_async(cluster: Guard) -> float:
    run = aio.run
    began = time.thread_time()
    for _ in range(CALLS):
        await run(cluster, READ, async_body)
    return time.thread_time() - began


def report(name: str, added: list[float]) -> float:
    deciles = statistics.quantiles(added, n=10)
    middle = statistics.median(added)
    print(f"{name:<28} +{middle:.3f} us  ({deciles[0]:.3f} to {deciles[-1]:.3f}, {len(added)} rounds)")
    return middle


def measure(rounds: int, plain: Callable[[], float], with_engine: Callable[[], float]) -> list[float]:
    return [(with_engine() - plain()) / CALLS * 1e6 for _ in range(rounds)]


async def measure_async(
    rounds: int, plain: Callable[[], Awaitable[float]], with_engine: Callable[[], Awaitable[float]]
) -> list[float]:
    return [(await with_engine() - await plain()) / CALLS * 1e6 for _ in range(rounds)]


def main() -> int:
    parser = argparse.ArgumentParser(description="What a guarded call costs when nothing fails.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--limit", type=float, default=1.0, help="microseconds that the sync engine may add")
    given = parser.parse_args()
    cluster = guard()
    print(f"Python {sys.version.split()[0]}, added by the engine to a call that succeeds:")
    middle = report("sync", measure(given.rounds, bare, lambda: guarded(cluster)))
    with options(deadline="1h", attempts=2):
        report("sync, options in force", measure(given.rounds, bare, lambda: guarded(cluster)))
    report("asyncio", asyncio.run(measure_async(given.rounds, bare_async, lambda: guarded_async(cluster))))
    if middle > given.limit:
        print(f"sync is over its limit of {given.limit} us")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
