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
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.pool import Pool  # noqa: E402

import undaunted  # noqa: E402
from undaunted.mongodb import Document, fields, transaction  # noqa: E402

GREENLETS, ROUNDS = 50, 10


class Order(Document):
    __undaunted__ = {"cluster": "shop"}
    key = fields.StringField()
    n = fields.IntField(default=0)


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def work(number: int) -> int:
    order = Order(key=f"own-{number}").save()
    for _ in range(ROUNDS):
        order.n += 1
        order.save()
        Order.objects(key="shared").update_one(inc__n=1)
        gevent.sleep(0)
    transaction(Order).run(lambda: Order.objects(key=f"own-{number}").update(inc__n=1))
    assert len(list(Order.objects.batch_size(7).order_by("key"))) > 1
    return order.reload().n


def main() -> None:
    gaps: list[float] = []

    def tick() -> None:
        """Shows by its own delays whether anything has blocked the loop."""
        while True:
            began_s = time.monotonic()
            gevent.sleep(0.01)
            gaps.append(time.monotonic() - began_s - 0.01)

    undaunted.configure(json.loads(sys.argv[1]))
    Order(key="shared").save()
    ticker = gevent.spawn(tick)
    pool = Pool(GREENLETS)
    first = pool.map(work, range(GREENLETS))
    tell(step="worked", results=sorted(set(first)), shared=Order.objects.get(key="shared").n)
    running = [pool.spawn(work, number) for number in range(GREENLETS, 2 * GREENLETS)]
    tell(step="running")
    while not os.path.exists(sys.argv[2]):  # noqa: PTH110  # the test makes it
        gevent.sleep(0.01)
    gaps.clear()
    began_s = time.monotonic()
    try:
        with gevent.Timeout(0.2):
            while True:  # no primary: this hangs until it is cut short
                Order(key="cut").save()
    except gevent.Timeout:
        tell(step="cut", took_s=time.monotonic() - began_s)
    gevent.joinall(running, raise_error=True, timeout=60)
    results = sorted({greenlet.get(timeout=1) for greenlet in running})
    worst_s = max(gaps)
    ticker.kill()
    again = sorted(set(pool.map(work, range(2 * GREENLETS, 2 * GREENLETS + 5))))
    tell(step="survived", results=results, again=again, shared=Order.objects.get(key="shared").n, worst_s=worst_s)


if __name__ == "__main__":
    main()
