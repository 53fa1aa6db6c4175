"""A server that loads its application, uses it, and forks its workers: run by test_fork.py, speaks JSON on stdout.

Usage: prefork.py SETTINGS HOW WORKERS, where HOW is ``os.fork``, ``unused``, ``nested`` or ``multiprocessing``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import undaunted
from undaunted.cassandra import BatchQuery, Model, columns

warnings.filterwarnings("ignore", ".*multi-threaded, use of fork.*")


class Item(Model):
    __undaunted__ = {"cluster": "shop"}
    __table_name__ = "item"
    key = columns.Text(primary_key=True)
    n = columns.Integer()


class Hits(Model):
    __undaunted__ = {"cluster": "shop"}
    __table_name__ = "hits"
    page = columns.Text(primary_key=True)
    count = columns.Counter()


RUN = uuid.uuid4().hex[:8]


def tell(**what: Any) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())  # one write, so that lines of several processes stay whole


def work(name: str) -> dict[str, Any]:
    """What a worker does first: a bit of everything, then with threads of its own."""
    began_s = time.monotonic()
    item = Item.create(key=f"{RUN}-{name}", n=0)
    took_s = time.monotonic() - began_s
    item.n = 1
    item.save()
    with BatchQuery() as batch:
        Item.batch(batch).create(key=f"{RUN}-{name}-b", n=1)

    def count(_: int) -> None:
        Hits.objects(page=f"{RUN}-{name}").update(count=1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(40)))
    assert Hits.objects.get(page=f"{RUN}-{name}").count == 40
    assert Item.objects.get(key=f"{RUN}-{name}").n == 1
    return {"worker": name, "pid": os.getpid(), "took_s": took_s}


def worker(name: str, *, children: int = 0) -> None:
    """A worker's whole life; the way out is that of any process, so that what runs at exit runs."""
    try:
        tell(step="worked", **work(name))
        wait([fork(f"{name}.{number}") for number in range(children)])
    except Exception:  # a child's way out passes here too
        tell(step="failed", worker=name, error=traceback.format_exc())
        os._exit(1)
    sys.exit(0)


def fork(name: str, *, children: int = 0) -> int:
    pid = os.fork()
    if pid == 0:
        worker(name, children=children)
    return pid


def wait(pids: list[int]) -> None:
    """Wait for the workers, but not for one that hangs."""
    deadline_s = time.monotonic() + 45
    for pid in pids:
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline_s:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                status = "a hang"
                break
            time.sleep(0.01)
        if status:
            tell(step="failed", error=f"a worker ended with {status}")


class Hammer:
    """Threads of the parent use the session, and hold its locks, at the very moment of the fork."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.took: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            began_s = time.monotonic()
            try:
                Item.create(key=f"{RUN}-parent-{number}", n=turn)
                assert Item.objects.get(key=f"{RUN}-parent-{number}").n == turn
            except BaseException:
                self.errors.append(traceback.format_exc())
                return
            self.took.append((began_s, time.monotonic() - began_s))

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def main() -> None:
    settings, how, workers = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    undaunted.configure(settings)
    names = [f"worker-{number}" for number in range(workers)]
    if how == "unused":  # configured, and never used before the fork
        wait([fork(name) for name in names])
        return
    Item.create(key=f"{RUN}-parent", n=0)
    hammer = Hammer()
    while len(hammer.took) < 50:
        time.sleep(0.005)
    if how == "multiprocessing":
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            for result in pool.map(work, names, chunksize=1):
                tell(step="worked", **result)
    else:
        wait([fork(name, children=1 if how == "nested" else 0) for name in names])
    ended_s = time.monotonic()
    while not hammer.errors and not any(began_s > ended_s for began_s, _ in hammer.took):
        time.sleep(0.005)
    hammer.stop()
    if hammer.errors:
        tell(step="failed", error=hammer.errors[0])
    tell(
        step="parent",
        calls=len(hammer.took),
        slowest_s=max(took_s for _, took_s in hammer.took),
        after=sum(began_s > ended_s for began_s, _ in hammer.took),
    )
    undaunted.close()


if __name__ == "__main__":
    main()
