"""An application under gevent, monkey-patched before everything else: run by test_gevent.py, speaks JSON on stdout.

Usage: greenlets.py SETTINGS GO, where GO is a file whose appearance tells that the fault has struck.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402

import undaunted  # noqa: E402
from undaunted.cassandra import Model, columns, sync_table  # noqa: E402

GREENLETS, ROUNDS = 30, 10


class Product(Model):
    __undaunted__ = {"cluster": "catalog"}
    __keyspace__ = "shop"
    __table_name__ = "green"
    sku = columns.Integer(primary_key=True)
    name = columns.Text()


def tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


def work(number: int) -> str:
    for turn in range(ROUNDS):
        Product.create(sku=number, name=f"{number}-{turn}")
        assert Product.objects.get(sku=number).name == f"{number}-{turn}"
        gevent.sleep(0)
    return str(Product.objects.get(sku=number).name)


def main() -> None:
    gaps: list[float] = []

    def tick() -> None:
        """Shows by its own delays whether anything has blocked the loop."""
        while True:
            began_s = time.monotonic()
            gevent.sleep(0.01)
            gaps.append(time.monotonic() - began_s - 0.01)

    undaunted.configure(json.loads(sys.argv[1]))
    sync_table(Product)
    ticker = gevent.spawn(tick)
    pool = Pool(GREENLETS)
    first = pool.map(work, range(GREENLETS))
    tell(step="worked", results=len(set(first)))
    while not os.path.exists(sys.argv[2]):  # noqa: PTH110  # the test makes it
        gevent.sleep(0.01)
    gaps.clear()
    running = [pool.spawn(work, number) for number in range(GREENLETS, 2 * GREENLETS)]
    gevent.joinall(running, raise_error=True, timeout=60)
    results = {greenlet.get(timeout=1) for greenlet in running}
    worst_s = max(gaps)
    ticker.kill()
    undaunted.close()
    tell(step="done", results=len(results), worst_s=worst_s)


if __name__ == "__main__":
    main()
