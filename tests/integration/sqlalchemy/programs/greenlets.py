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
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import sqlalchemy as sa  # noqa: E402
from gevent.pool import Pool  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[4]))

from tests.integration.sqlalchemy.tables import define  # noqa: E402

import undaunted  # noqa: E402
from undaunted.sqlalchemy import DeclarativeBase, Session, unit_of_work  # noqa: E402

GREENLETS, ROUNDS = 40, 5


class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}


TABLES = define(Base)
RUN = f"gevent-{os.getpid()}"


@unit_of_work(Base)
def begin(session: Any) -> None:
    session.add(TABLES.Counter(name=RUN, n=0))


@unit_of_work(Base)
def count(session: Any, mark: str) -> None:
    session.add(TABLES.Entry(mark=mark))
    session.get_one(TABLES.Counter, RUN, with_for_update=True).n += 1


def tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def counted() -> int:
    with Session(Base) as session:
        return session.get_one(TABLES.Counter, RUN).n


def work(number: int) -> int:
    for turn in range(ROUNDS):
        count(f"{RUN}-{number}-{turn}")
        with Session(Base, readonly=True) as session:
            like = TABLES.Entry.mark.like(f"{RUN}-{number}-%")
            assert session.scalar(sa.select(sa.func.count()).where(like)) == turn + 1
    return ROUNDS


def main() -> None:
    gaps: list[float] = []

    def tick() -> None:
        """Shows by its own delays whether anything has blocked the loop."""
        while True:
            began_s = time.monotonic()
            gevent.sleep(0.01)
            gaps.append(time.monotonic() - began_s - 0.01)

    undaunted.configure(json.loads(sys.argv[1]))
    begin()
    ticker = gevent.spawn(tick)
    pool = Pool(GREENLETS)
    first = pool.map(work, range(GREENLETS))
    tell(step="worked", results=sorted(set(first)), counted=counted())
    running = [pool.spawn(work, number) for number in range(GREENLETS, 2 * GREENLETS)]
    tell(step="running")
    while not os.path.exists(sys.argv[2]):  # noqa: PTH110  # the test makes it
        gevent.sleep(0.01)
    gaps.clear()
    began_s = time.monotonic()
    try:
        with gevent.Timeout(0.2), Session(Base) as session:  # no primary: this hangs until it is cut short
            session.get(TABLES.Counter, RUN)
    except gevent.Timeout:
        tell(step="cut", took_s=time.monotonic() - began_s)
    gevent.joinall(running, raise_error=True, timeout=60)
    results = sorted({greenlet.get(timeout=1) for greenlet in running})
    worst_s = max(gaps)
    ticker.kill()
    tell(step="survived", results=results, counted=counted(), worst_s=worst_s)
    undaunted.close()
    tell(step="closed")


if __name__ == "__main__":
    main()
