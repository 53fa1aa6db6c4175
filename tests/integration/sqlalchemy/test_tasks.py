"""Two hundred tasks on one cluster, a primary that dies under them, and tasks that are cancelled anywhere."""

from __future__ import annotations

import asyncio
import gc
import random
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.integration.sqlalchemy.watch import until

from undaunted.sqlalchemy import AsyncSession, unit_of_work
from undaunted.sqlalchemy.cluster import cluster_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

TASKS = 200
ROUNDS = 2

SESSIONS = """
    SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND usename = current_user
"""


def make_turn(ledger: Tables, run: str) -> Callable[[str], Awaitable[None]]:
    @unit_of_work(ledger.Base)
    async def turn(session: AsyncSession, mark: str) -> None:
        session.add(ledger.Entry(mark=mark))
        counter = await session.get_one(ledger.Counter, run, with_for_update=True)
        counter.n += 1

    return turn


async def begin(ledger: Tables, run: str) -> None:
    @unit_of_work(ledger.Base)
    async def add(session: AsyncSession) -> None:
        session.add(ledger.Counter(name=run, n=0))

    await add()


async def marks(ledger: Tables, pattern: str, *, readonly: bool) -> int:
    """How many there are; each is there once."""
    mark = ledger.Entry.mark
    select = sa.select(sa.func.count(), sa.func.count(mark.distinct())).where(mark.like(pattern))
    async with AsyncSession(ledger.Base, readonly=readonly) as session:
        found, distinct = (await session.execute(select)).one()
    assert found == distinct
    return int(found)


async def counted(ledger: Tables, run: str) -> int:
    async with AsyncSession(ledger.Base) as session:
        return (await session.get_one(ledger.Counter, run)).n


def check_nothing_is_left(lab: PostgresLab, ledger: Tables) -> None:
    """No connection is out of its pool; on the server none works, and none is there but the pools' and a monitor's."""
    cluster: Any = cluster_of(ledger.Base)
    engines = [cluster.async_writer, *(cluster.async_engine_of(node.address) for node in lab.nodes)]
    pools = [engine.sync_engine.pool for engine in engines]
    until(lambda: all(pool.checkedout() == 0 for pool in pools), what="the pools' rest")
    leader = lab.primary()
    idle = cluster.async_writer.sync_engine.pool.checkedin()
    idle += cluster.async_engine_of(leader.address).sync_engine.pool.checkedin()
    with lab.connect(leader) as server:

        def is_at_rest() -> bool:
            there, working = server.execute(SESSIONS).fetchone() or (0, 0)
            return there <= idle + 1 and not working

        until(is_at_rest, what="the sessions' rest on the server")
    gc.collect()  # a connection that nobody has closed complains


async def strike(lab: PostgresLab) -> None:
    """Kill the primary, and promote a standby a second later; the tasks go on meanwhile."""
    await asyncio.to_thread(lab.kill, "primary")
    await asyncio.sleep(1.0)
    await asyncio.to_thread(lab.promote)


async def test_two_hundred_tasks(lab: PostgresLab, ledger: Tables) -> None:
    """One counter counts every turn, and each task reads what it has written."""
    run = uuid.uuid4().hex[:8]
    turn = make_turn(ledger, run)
    first = asyncio.Event()

    async def work(number: int) -> None:
        for round_ in range(1, ROUNDS + 1):
            await turn(f"{run}-{number}-{round_}")
            first.set()
            assert await marks(ledger, f"{run}-{number}-%", readonly=True) == round_

    await begin(ledger, run)
    tasks = [asyncio.create_task(work(number)) for number in range(TASKS)]
    await first.wait()
    await strike(lab)
    await asyncio.gather(*tasks)
    assert await counted(ledger, run) == TASKS * ROUNDS
    assert await marks(ledger, f"{run}-%", readonly=False) == TASKS * ROUNDS
    await asyncio.to_thread(check_nothing_is_left, lab, ledger)


@pytest.mark.parametrize("fault", ["none", "kill"])
async def test_cancelled_anywhere(lab: PostgresLab, ledger: Tables, fault: str) -> None:
    """Half of the tasks are cancelled wherever they are: none of their connections is lost to the pool."""
    run = uuid.uuid4().hex[:8]
    turn = make_turn(ledger, run)
    done: list[str] = []

    async def work(number: int) -> None:
        for round_ in range(1, ROUNDS + 1):
            mark = f"{run}-{number}-{round_}"
            await turn(mark)
            done.append(mark)
            await marks(ledger, f"{run}-{number}-%", readonly=True)

    await begin(ledger, run)
    tasks = [asyncio.create_task(work(number)) for number in range(TASKS)]
    struck = asyncio.create_task(strike(lab)) if fault == "kill" else None
    victims = random.sample(range(TASKS), TASKS // 2)
    for number in victims:
        await asyncio.sleep(0.01)
        tasks[number].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    if struck is not None:
        await struck
    assert all(results[number] is None for number in range(TASKS) if number not in victims), results
    wrong = [found for found in results if isinstance(found, Exception)]
    assert not wrong, wrong
    assert any(isinstance(found, asyncio.CancelledError) for found in results)
    found = await marks(ledger, f"{run}-%", readonly=False)
    assert len(done) <= found == await counted(ledger, run)
    await asyncio.to_thread(check_nothing_is_left, lab, ledger)
