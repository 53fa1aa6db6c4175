"""Many threads on one cluster, and a primary that dies under them."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.integration.sqlalchemy.watch import until

import undaunted
from undaunted.sqlalchemy import Session, unit_of_work

if TYPE_CHECKING:
    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

THREADS = 64
ROUNDS = 8


@pytest.mark.parametrize("fault", ["none", "kill"])
def test_sixty_four_threads(lab: PostgresLab, ledger: Tables, fault: str) -> None:
    """The first use by all at once; then one counter counts every turn, and each thread reads what it has written."""
    run = uuid.uuid4().hex[:8]
    start = threading.Barrier(THREADS)
    done = [0] * THREADS

    @unit_of_work(ledger.Base)
    def begin(session: Session) -> None:
        session.add(ledger.Counter(name=run, n=0))

    @unit_of_work(ledger.Base)
    def turn(session: Session, mark: str) -> None:
        session.add(ledger.Entry(mark=mark))
        session.get_one(ledger.Counter, run, with_for_update=True).n += 1

    def seen(number: int) -> int | None:
        like = ledger.Entry.mark.like(f"{run}-{number}-%")
        with Session(ledger.Base, readonly=True) as session:
            return session.scalar(sa.select(sa.func.count()).where(like))

    def work(number: int) -> int:
        start.wait(30)
        for round_ in range(1, ROUNDS + 1):
            turn(f"{run}-{number}-{round_}")
            assert seen(number) == round_
            done[number] = round_
        return round_

    begin()
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(work, number) for number in range(THREADS)]
        if fault == "kill":
            until(lambda: all(done), what="a first round of every thread")
            lab.kill("primary")
            lab.promote()
        results = [future.result(120) for future in futures]
    assert results == [ROUNDS] * THREADS
    with Session(ledger.Base) as session:
        assert session.get_one(ledger.Counter, run).n == THREADS * ROUNDS
    assert undaunted.status()["clusters"]["ledger"]["nodes"]
