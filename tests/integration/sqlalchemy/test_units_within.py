"""Units of work within others for asyncio, and sweeping by many: what needs a server that does two things at once."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from undaunted.sqlalchemy import attempts, run_in_transaction, sweep, unit_of_work
from undaunted.sqlalchemy.keys import TABLE

if TYPE_CHECKING:
    from sqlalchemy import orm
    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration


def marks(lab: PostgresLab, *wanted: str) -> list[str]:
    with lab.connect() as server:
        found = server.execute("SELECT mark FROM entry WHERE mark = ANY(%s) ORDER BY mark", [list(wanted)])
        return [mark for (mark,) in found.fetchall()]


async def test_a_coroutine_within_a_coroutine_is_part_of_it(lab: PostgresLab, ledger: Tables) -> None:
    first, second, third = sorted(uuid.uuid4().hex for _ in range(3))

    @unit_of_work(ledger.Base)
    async def inner(session: Any, mark: str) -> Any:
        session.add(ledger.Entry(mark=mark))
        return session

    @unit_of_work(ledger.Base)
    def plain(session: orm.Session, mark: str) -> Any:
        session.add(ledger.Entry(mark=mark))
        session.flush()
        return session

    @unit_of_work(ledger.Base)
    async def outer(session: Any, *, fails: bool) -> None:
        assert await inner(first) is session
        assert await session.run_sync(lambda beneath: plain(second)) is session.sync_session
        async for attempt in attempts(ledger.Base):
            async with attempt as within:
                assert within is session
                within.add(ledger.Entry(mark=third))
        if fails:
            raise LookupError

    with pytest.raises(LookupError):
        await outer(fails=True)
    assert marks(lab, first, second, third) == []
    await outer(fails=False)
    assert marks(lab, first, second, third) == [first, second, third]


async def test_another_task_has_units_of_its_own(lab: PostgresLab, ledger: Tables) -> None:
    """Sessions are no more for several tasks than for several threads, and a task may outlive who has begun it."""
    kept, undone = uuid.uuid4().hex, uuid.uuid4().hex

    @unit_of_work(ledger.Base)
    async def add(session: Any, mark: str) -> Any:
        session.add(ledger.Entry(mark=mark))
        await session.flush()
        return session

    @unit_of_work(ledger.Base)
    async def outer(session: Any) -> None:
        assert await add(undone) is session
        task = asyncio.ensure_future(add(kept))
        assert await task is not session
        raise LookupError

    with pytest.raises(LookupError):
        await outer()
    assert marks(lab, kept, undone) == [kept]


async def test_two_hundred_tasks_share_the_pool(lab: PostgresLab, ledger: Tables) -> None:
    mark = uuid.uuid4().hex

    @unit_of_work(ledger.Base, key="free")
    async def add(session: Any) -> None:
        session.add(ledger.Note(mark=mark))

    await asyncio.gather(*(add() for _ in range(200)))
    with lab.connect() as server:
        assert server.execute("SELECT count(*) FROM note WHERE mark = %s", [mark]).fetchone() == (200,)


def test_a_coroutine_within_a_plain_function_is_not_part_of_it(lab: PostgresLab, ledger: Tables) -> None:
    """It runs in a loop of its own there, and so in a task: a transaction of its own."""
    kept, undone = uuid.uuid4().hex, uuid.uuid4().hex

    @unit_of_work(ledger.Base)
    async def add(session: Any) -> None:
        session.add(ledger.Entry(mark=kept))

    def outer(session: Any) -> None:
        session.add(ledger.Entry(mark=undone))
        asyncio.run(add())
        raise LookupError

    with pytest.raises(LookupError):
        run_in_transaction(ledger.Base, outer)
    assert marks(lab, kept, undone) == [kept]


async def test_an_async_session_refuses_its_end_too(ledger: Tables) -> None:
    async def body(session: Any, name: str) -> None:
        await getattr(session, name)()

    for name in ("commit", "close"):
        with pytest.raises(exc.InvalidRequestError, match="by itself"):
            await run_in_transaction(ledger.Base, body, name)


def test_many_may_sweep_at_once(lab: PostgresLab, ledger: Tables) -> None:
    with lab.operator(lab.primary()) as server:
        server.execute(f"TRUNCATE {TABLE}")
        server.execute(
            f"INSERT INTO {TABLE} SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, "
            "now() - interval '2 days' FROM generate_series(1, 5000) n"
        )
        run_in_transaction(ledger.Base, lambda session: session.execute(sa.text("SELECT 1")))
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(lambda _: sweep(ledger.Base), range(4))) == 5000
        assert server.execute(f"SELECT count(*) FROM {TABLE}").fetchone() == (1,)
