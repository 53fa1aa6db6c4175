"""A server that loads its application, uses it, and forks its workers: run by test_fork.py, speaks JSON on stdout.

Usage: prefork.py SETTINGS HOW WORKERS, where HOW is ``os.fork``, ``multiprocessing`` or ``spawn``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
import warnings
from typing import Any

from pymongo import monitoring

import undaunted
from undaunted.events import PrimaryFound, PrimaryLost
from undaunted.mongodb import Document, fields, transaction

warnings.filterwarnings("ignore", "MongoClient opened before fork")
warnings.filterwarnings("ignore", ".*multi-threaded, use of fork.*")


class Order(Document):
    __undaunted__ = {"cluster": "shop"}
    meta = {"indexes": ["worker"]}
    worker = fields.StringField()
    n = fields.IntField(default=0)


class Connections(monitoring.CommandListener):
    """Which of the server's connections this process has sent on; the server numbers them itself."""

    def __init__(self) -> None:
        self.used: set[tuple[Any, Any]] = set()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.used.add((event.connection_id[1], event.server_connection_id))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


CONNECTIONS = Connections()
monitoring.register(CONNECTIONS)


def tell(**what: Any) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())  # one write, so that lines of several processes stay whole


def work(name: str) -> dict[str, Any]:
    """What a worker does first: everything there is, once."""
    CONNECTIONS.used.clear()
    began_s = time.monotonic()
    order = Order(worker=name).save()
    took_s = time.monotonic() - began_s
    order.n = 1
    order.save()
    Order.objects(worker=name).update(inc__n=1)
    Order.objects.insert([Order(worker=name) for _ in range(10)], load_bulk=False)
    transaction(Order).run(lambda: Order.objects(worker=name).update(inc__n=1))
    assert len(list(Order.objects(worker=name).order_by("n").batch_size(3))) == 11
    assert order.reload().n == 3
    return {
        "worker": name,
        "pid": os.getpid(),
        "took_s": took_s,
        "connections": sorted(CONNECTIONS.used),
        "threads": sorted(thread.name for thread in threading.enumerate()),
    }


def worker(name: str) -> None:
    """A worker's whole life: its first work, then, when told so, a write that may meet a failover."""
    status = 1
    try:
        tell(step="worked", **work(name))
        while not os.path.exists(sys.argv[4]):  # noqa: PTH110  # the parent test makes it
            time.sleep(0.01)
        before = Order.objects(worker=name).count()
        told: list[Any] = []
        end = undaunted.subscribe(told.append, PrimaryLost, PrimaryFound)
        tell(step="ready", worker=name)
        while not os.path.exists(f"{sys.argv[4]}.struck"):  # noqa: PTH110
            time.sleep(0.01)
        Order(worker=name).save()
        deadline_s = time.monotonic() + 10
        while not any(isinstance(event, PrimaryFound) for event in told) and time.monotonic() < deadline_s:
            time.sleep(0.01)  # the driver hands its events on once a second
        end()
        count = Order.objects(worker=name).count() - before
        tell(step="again", worker=name, count=count, events=sorted({type(event).__name__ for event in told}))
        status = 0
    except BaseException:
        tell(step="failed", worker=name, error=traceback.format_exc())
    finally:
        os._exit(status)


def hammer(stop: threading.Event, errors: list[str]) -> None:
    """Threads of the parent use the client, and hold its locks, at the very moment of the fork."""
    turn = 0
    while not stop.is_set():
        try:
            Order(worker="parent").save()
            Order.objects(worker="parent").first()
            turn += 1
        except BaseException:
            errors.append(traceback.format_exc())
            return


def main() -> None:
    settings, how, workers = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    undaunted.configure(settings)
    if how == "unused":  # configured, and never used before the fork
        pids = [fork(f"worker-{number}") for number in range(workers)]
        wait(pids)
        return
    Order(worker="parent").save()
    cursor = iter(Order.objects.batch_size(2))
    stop, errors = threading.Event(), []
    threads = [threading.Thread(target=hammer, args=(stop, errors), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    while Order.objects.count() < 50:
        time.sleep(0.005)
    if how == "os.fork":
        pids = [fork(f"worker-{number}") for number in range(workers)]
    else:
        context: Any = multiprocessing.get_context("fork" if how == "multiprocessing" else "spawn")
        with context.Pool(
            workers,
            initializer=undaunted.configure if how == "spawn" else None,
            initargs=(settings,) if how == "spawn" else (),
        ) as pool:
            for result in pool.map(work, [f"worker-{number}" for number in range(workers)]):
                tell(step="worked", **result)
        pids = []
    wait(pids)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not errors, errors[0]
    next(cursor)  # a cursor that was open over the fork is still the parent's
    tell(
        step="parent",
        pid=os.getpid(),
        connections=sorted(CONNECTIONS.used),
        count=Order.objects(worker="parent").count(),
    )


def fork(name: str) -> int:
    pid = os.fork()
    if pid == 0:
        worker(name)
    return pid


def wait(pids: list[int]) -> None:
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        if status:
            tell(step="failed", error=f"a worker ended with {status}")


if __name__ == "__main__":
    main()
