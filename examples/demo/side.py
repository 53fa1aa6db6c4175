"""One side of the demo, in a process of its own: a shop and its customers, until told to stop.

Every operation is written to standard output before it is begun and when it came back (`undaunted.lab.ledger`). The
process is told ``go`` and ``stop`` on standard input, and ends at once when that is closed, so it cannot outlive the
one who started it.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import functools
import json
import os
import random
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import mongoengine
from shop.models import PRODUCTS_ON_A_SHELF, Shop

from undaunted.lab.ledger import Ledger
from undaunted.lab.verdict import judge_passage

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from undaunted.lab.ledger import Note

SHELVES_OF_A_WORKER = 20
WRITES_ON_A_SHELF = 200  # then on to the next: what the documents remember must not grow without end
OPERATIONS_A_SECOND = 25.0  # of each customer; a shop, not a benchmark
BATCH = 100
ENDING_S = 60.0


class OperationRaised(Exception):  # a signal between two frames; the ledger has the error
    """The shop raised, and the ledger knows."""


class Customers:
    """The shop's customers: one thread each, every one does one thing over and over."""

    def __init__(self, shop: Shop, ledger: Ledger, *, past_orders: int) -> None:
        self.shop = shop
        self.ledger = ledger
        self.past = list(range(past_orders))
        self.closing = threading.Event()
        self.unpaid: collections.deque[Any] = collections.deque()
        self.known: collections.deque[str] = collections.deque(maxlen=500)

    def threads(self) -> list[threading.Thread]:
        """Everybody, not yet begun."""
        jobs: list[tuple[str, Callable[[str], None]]] = [
            ("order-1", self.orders),
            ("order-2", self.orders),
            ("pay-1", self.pays),
            ("sell-1", functools.partial(self.sells, first_shelf=0)),
            ("sell-2", functools.partial(self.sells, first_shelf=SHELVES_OF_A_WORKER)),
            ("visit-1", functools.partial(self.visits, first_shelf=0)),
            ("visit-2", functools.partial(self.visits, first_shelf=SHELVES_OF_A_WORKER)),
            ("read-1", self.reads),
            ("read-2", self.reads),
            ("scan-1", functools.partial(self.scans, pause_s=0.02)),
            ("scan-2", functools.partial(self.scans, pause_s=0.3)),
        ]
        return [threading.Thread(target=self._serve, args=job, name=job[0], daemon=True) for job in jobs]

    def orders(self, name: str) -> None:
        """Place one order."""
        with self._operation("save new", name):
            order = self.shop.place_order(name)
        self.unpaid.append(order)
        self.known.append(name)

    def pays(self, name: str) -> None:
        """Pay an order that was placed, if there is one."""
        if self.unpaid:
            order = self.unpaid.popleft()
            with self._operation("save changed", name):
                self.shop.pay(order, name)

    def sells(self, name: str, *, first_shelf: int) -> None:
        """Count one counter up."""
        shelf = first_shelf + _turn(name) // WRITES_ON_A_SHELF % SHELVES_OF_A_WORKER
        with self._operation("update one", name):
            self.shop.sell(f"{shelf}-{_turn(name) % PRODUCTS_ON_A_SHELF}", name)

    def visits(self, name: str, *, first_shelf: int) -> None:
        """Count many counters up."""
        shelf = first_shelf + _turn(name) // WRITES_ON_A_SHELF % SHELVES_OF_A_WORKER
        with self._operation("update many", f"{name}@{shelf}"):
            self.shop.visit(shelf, f"{name}@{shelf}")

    def reads(self, name: str) -> None:
        """Read an order that was acknowledged, if there is one."""
        if self.known:
            number = random.choice(tuple(self.known))
            with self._operation("point read", f"{name}:{number}"):
                self.shop.find_order(number)

    def scans(self, name: str, *, pause_s: float) -> None:
        """Go through the history, pausing between batches as one who works on them does."""
        with self._operation("scan", name) as note:
            delivered: list[int] = []
            for place in self.shop.history(batch=BATCH):
                delivered.append(place)
                if len(delivered) % BATCH == 0:
                    self.closing.wait(pause_s)
            note.text = judge_passage(self.past, delivered).value

    def _serve(self, name: str, once: Callable[[str], None]) -> None:
        """Do one thing over and over, at a customer's pace, until the shop closes.

        What an operation raises is passed over here: it is in the ledger. Whatever else goes wrong is a mistake in this
        file and ends the process.
        """
        turn = 0
        due_s = time.monotonic() + random.random() / OPERATIONS_A_SECOND
        while not self.closing.wait(max(0.0, due_s - time.monotonic())):
            turn += 1
            with contextlib.suppress(OperationRaised):
                once(f"{name}-{turn}")
            due_s = max(due_s + 1 / OPERATIONS_A_SECOND, time.monotonic())

    @contextlib.contextmanager
    def _operation(self, kind: str, name: str) -> Generator[Note]:
        """Record an operation; the whole story of one that raised goes to standard error."""
        try:
            with self.ledger.record(kind, name) as note:
                yield note
        except Exception as error:
            sys.stderr.write(f"--- {kind} {name}\n{traceback.format_exc()}\n")
            sys.stderr.flush()
            raise OperationRaised(name) from error


def _turn(name: str) -> int:
    return int(name.rpartition("-")[2])


def open_shop(spec: dict[str, Any]) -> Shop:
    """Connect as the spec says: this is all that differs between the two sides."""
    if spec["side"] == "plain":
        mongoengine.connect(spec["database"], host=spec["uri"], alias="shop")
        return Shop(mongoengine.Document)
    import undaunted.mongodb  # noqa: PLC0415  # not a line of it runs on the plain side

    undaunted.configure(spec["settings"])
    return Shop(undaunted.mongodb.Document)


def tell(line: str) -> None:
    """Send a line to the one who started this process."""
    sys.stdout.write(line)
    sys.stdout.flush()


def listen(opening: threading.Event, closing: threading.Event) -> None:
    """Do as told on standard input, and end when nobody is there any more to tell."""
    words = {b"go": opening, b"stop": closing}
    while heard := os.read(0, 64):  # not sys.stdin, whose lock a thread must not hold when the interpreter ends
        for word in heard.split():
            words[word].set()
    os._exit(3)


def end_all(failure: threading.ExceptHookArgs) -> None:
    """A thread that fails outside of an operation is a mistake in this file: no half demo is run."""
    threading.__excepthook__(failure)
    sys.stderr.flush()
    os._exit(4)


def main() -> int:
    """Open the shop, serve until told to stop, close."""
    spec = json.loads(sys.argv[1])
    ledger = Ledger(sink=tell)
    threading.excepthook = end_all
    shop = open_shop(spec)
    customers = Customers(shop, ledger, past_orders=spec["past_orders"])
    opening = threading.Event()
    threading.Thread(target=listen, args=(opening, customers.closing), daemon=True, name="listen").start()
    shop.open(shelves=2 * SHELVES_OF_A_WORKER, past_orders=spec["past_orders"])
    tell('{"is":"ready"}\n')
    opening.wait()
    threads = customers.threads()
    for thread in threads:
        thread.start()
    customers.closing.wait()
    last_s = time.monotonic() + ENDING_S
    for thread in threads:
        thread.join(max(0.0, last_s - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        os._exit(5)  # what has not come back is open in the ledger
    tell('{"is":"done"}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
