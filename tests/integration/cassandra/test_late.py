"""What a frozen node executes late, and what is run again late: neither overwrites what others wrote meanwhile."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from cassandra import ConsistencyLevel
from tests.integration.cassandra.watch import Watch, until

import undaunted
from undaunted.events import RetryScheduled

if TYPE_CHECKING:
    from tests.integration.cassandra.reader import Reader
    from tests.integration.cassandra.tables import Tables

    from undaunted.lab import CassandraLab

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.slow]

ROWS = 24
OURS, THEIRS = 1, 2


def two_writers(lab: CassandraLab, shop: Tables, reader: Reader, *, lasts_s: float) -> None:
    """We write each row once; a third of it goes to a frozen node first, and is run again after 2 s.

    Somebody else writes each row 0.7 s after we did. So theirs is the newer value everywhere, whatever comes late.
    """
    run = uuid.uuid4().hex[:8]
    keys = [f"{run}-{number}" for number in range(ROWS)]
    frozen = lab.nodes[0]
    with Watch(lab) as watch, ThreadPoolExecutor(ROWS) as pool:
        for key in keys:
            shop.Item.create(key=key, n=0)
        lab.freeze(frozen)
        frozen_s = time.monotonic()
        try:
            ours = [pool.submit(shop.Item.objects(key=key).update, n=OURS) for key in keys]
            until(lambda: time.monotonic() >= frozen_s + 0.7)
            with lab.connect(lab.nodes[1]) as other:
                for key in keys:
                    update = f"UPDATE {shop.keyspace}.item SET n = {THEIRS} WHERE key = '{key}'"
                    other.query(update, consistency=ConsistencyLevel.LOCAL_QUORUM)
            written_s = time.monotonic() - frozen_s
            for future in ours:
                future.result(30)
            again = [event for _, event in watch.events if isinstance(event, RetryScheduled)]
            print(f"{len(again)} of {ROWS} writes were run again, after theirs were done at {written_s:.2f} s")
            assert written_s < 2.0, "they were not in between: the machine was too slow for this test"
            assert again, "no write was sent to the frozen node"
            assert {shop.Item.objects.get(key=key).n for key in keys} == {THEIRS}
            until(lambda: time.monotonic() >= frozen_s + lasts_s, timeout_s=lasts_s + 1)
        finally:
            lab.thaw()
    lab.wait_healthy()
    found = reader.rows("item", "key", ["n"], keys)
    assert {row["n"] for row in found.values()} == {THEIRS}
    assert len(found) == ROWS


def test_two_writers(lab: CassandraLab, shop: Tables, reader: Reader) -> None:
    two_writers(lab, shop, reader, lasts_s=5.0)


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_two_writers_and_a_long_freeze(lab: CassandraLab, shop: Tables, reader: Reader) -> None:
    two_writers(lab, shop, reader, lasts_s=100.0)


def test_a_late_delete_takes_nothing_that_is_newer(lab: CassandraLab, shop: Tables, reader: Reader) -> None:
    """We delete rows, a third of them through a frozen node; somebody makes them anew before our re-run."""
    run = uuid.uuid4().hex[:8]
    keys = [f"{run}-{number}" for number in range(ROWS)]
    for key in keys:
        shop.Item.create(key=key, n=OURS)
    with Watch(lab) as watch, ThreadPoolExecutor(ROWS) as pool:
        lab.freeze(lab.nodes[0])
        frozen_s = time.monotonic()
        try:
            ours = [pool.submit(shop.Item.objects(key=key).delete) for key in keys]
            until(lambda: time.monotonic() >= frozen_s + 0.7)
            with lab.connect(lab.nodes[1]) as other:
                for key in keys:
                    insert = f"INSERT INTO {shop.keyspace}.item (key, n) VALUES ('{key}', {THEIRS})"
                    other.query(insert, consistency=ConsistencyLevel.LOCAL_QUORUM)
            written_s = time.monotonic() - frozen_s
            for future in ours:
                future.result(30)
        finally:
            lab.thaw()
        again = [event for _, event in watch.events if isinstance(event, RetryScheduled)]
    print(f"{len(again)} of {ROWS} deletes were run again, after theirs were done at {written_s:.2f} s")
    assert written_s < 2.0, "they were not in between: the machine was too slow for this test"
    assert again, "no delete was sent to the frozen node"
    lab.wait_healthy()
    found = reader.rows("item", "key", ["n"], keys)
    assert [found[key]["n"] for key in keys] == [THEIRS] * ROWS
    assert undaunted.status()["clusters"]["shop"]["nodes"]
