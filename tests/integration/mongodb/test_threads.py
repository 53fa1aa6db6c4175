"""Many threads on one client, and a primary that dies under them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import undaunted

if TYPE_CHECKING:
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

THREADS = 64
ROUNDS = 12


def _work(documents: Documents, number: int, shared: str) -> int:
    mine = documents.Item(key=f"own-{number}").save()
    for turn in range(1, ROUNDS + 1):
        mine.n = turn
        mine.save()
        documents.Item.objects(key=shared).update_one(inc__n=1)
        assert documents.Item.objects.get(key=f"own-{number}").n == turn
    return mine.reload().n


@pytest.mark.parametrize("fault", ["none", "kill"])
def test_sixty_four_threads(lab: MongoLab, shop: Documents, fault: str) -> None:
    """One shared counter counts every increment, and each thread reads what it has written."""
    shop.Item(key="shared").save()
    start = threading.Barrier(THREADS)

    def work(number: int) -> int:
        start.wait(30)
        return _work(shop, number, "shared")

    with ThreadPoolExecutor(THREADS) as pool:
        done = [pool.submit(work, number) for number in range(THREADS)]
        if fault == "kill":
            while shop.Item.objects.get(key="shared").n < THREADS:
                time.sleep(0.01)
            lab.kill("primary")
        results = [future.result(120) for future in done]
    assert results == [ROUNDS] * THREADS
    assert shop.Item.objects.get(key="shared").n == THREADS * ROUNDS


def test_first_use_by_all_at_once(lab: MongoLab, shop: Documents) -> None:
    """MongoEngine's first use of an alias is not locked; here there is one client all the same."""
    start = threading.Barrier(THREADS)

    def first(number: int) -> int:
        start.wait(30)
        shop.Item(key=str(number)).save()
        return id(shop.Item._get_collection().database.client)

    with ThreadPoolExecutor(THREADS) as pool:
        clients = {future.result(60) for future in [pool.submit(first, number) for number in range(THREADS)]}
    assert len(clients) == 1
    assert shop.Item.objects.count() == THREADS


def test_no_thread_is_left(lab: MongoLab, shop: Documents) -> None:
    """Closing ends every thread that the cluster had."""
    before = set(threading.enumerate())
    shop.Item(key="a").save()
    assert set(threading.enumerate()) - before
    undaunted.close()
    deadline_s = time.monotonic() + 10
    while left := {thread for thread in threading.enumerate() if thread not in before}:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.05)
