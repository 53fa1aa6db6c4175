"""Many threads on one session, and a node that dies under them."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.integration.cassandra.watch import until

import undaunted

if TYPE_CHECKING:
    from tests.integration.cassandra.tables import Tables

    from undaunted.lab import CassandraLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

THREADS = 64
ROUNDS = 12


@pytest.mark.parametrize("fault", ["none", "kill"])
def test_sixty_four_threads(lab: CassandraLab, shop: Tables, fault: str) -> None:
    """The first use by all at once; then each thread reads what it has written, and one row gets every mark."""
    run = uuid.uuid4().hex[:8]
    start = threading.Barrier(THREADS)
    done = [0] * THREADS

    def work(number: int) -> int:
        start.wait(30)
        for turn in range(1, ROUNDS + 1):
            shop.Item.objects(key=f"{run}-{number}").update(n=turn)
            shop.Item.objects(key=run).update(tags__add={f"{number}-{turn}"})
            assert shop.Item.objects.get(key=f"{run}-{number}").n == turn
            done[number] = turn
        return turn

    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(work, number) for number in range(THREADS)]
        if fault == "kill":
            until(lambda: all(done), what="a first round of every thread")
            lab.kill("n2")
        results = [future.result(120) for future in futures]
    assert results == [ROUNDS] * THREADS
    assert len(shop.Item.objects.get(key=run).tags) == THREADS * ROUNDS
    assert undaunted.status()["clusters"]["shop"]["nodes"]
