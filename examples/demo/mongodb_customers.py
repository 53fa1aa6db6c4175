"""The customers of the shop on MongoDB."""

from __future__ import annotations

import collections
import functools
import random
from typing import TYPE_CHECKING, Any

import mongoengine
from serving import Customers, turn_of
from shop.documents import PRODUCTS_ON_A_SHELF, Shop

from undaunted.lab.verdict import judge_passage

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab.ledger import Ledger

SHELVES_OF_A_WORKER = 20
WRITES_ON_A_SHELF = 200  # then on to the next: what the documents remember must not grow without end
BATCH = 100


class MongoDBCustomers(Customers):
    """Orders, payments, counters of one and of many documents, point reads and scans of the history."""

    def __init__(self, shop: Shop, ledger: Ledger, *, past_orders: int) -> None:
        super().__init__(ledger)
        self.shop = shop
        self.past = list(range(past_orders))
        self.unpaid: collections.deque[Any] = collections.deque()
        self.known: collections.deque[str] = collections.deque(maxlen=500)

    def prepare(self) -> None:
        """Fill the shelves and write the history."""
        self.shop.open(shelves=2 * SHELVES_OF_A_WORKER, past_orders=len(self.past))

    def jobs(self) -> list[tuple[str, Callable[[str], None]]]:
        """Who does what."""
        return [
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

    def orders(self, name: str) -> None:
        """Place one order."""
        with self.operation("save new", name):
            order = self.shop.place_order(name)
        self.unpaid.append(order)
        self.known.append(name)

    def pays(self, name: str) -> None:
        """Pay an order that was placed, if there is one."""
        if self.unpaid:
            order = self.unpaid.popleft()
            with self.operation("save changed", name):
                self.shop.pay(order, name)

    def sells(self, name: str, *, first_shelf: int) -> None:
        """Count one counter up."""
        shelf = first_shelf + turn_of(name) // WRITES_ON_A_SHELF % SHELVES_OF_A_WORKER
        with self.operation("update one", name):
            self.shop.sell(f"{shelf}-{turn_of(name) % PRODUCTS_ON_A_SHELF}", name)

    def visits(self, name: str, *, first_shelf: int) -> None:
        """Count many counters up."""
        shelf = first_shelf + turn_of(name) // WRITES_ON_A_SHELF % SHELVES_OF_A_WORKER
        with self.operation("update many", f"{name}@{shelf}"):
            self.shop.visit(shelf, f"{name}@{shelf}")

    def reads(self, name: str) -> None:
        """Read an order that was acknowledged, if there is one."""
        if self.known:
            number = random.choice(tuple(self.known))
            with self.operation("point read", f"{name}:{number}"):
                self.shop.find_order(number)

    def scans(self, name: str, *, pause_s: float) -> None:
        """Go through the history, pausing between batches as one who works on them does."""
        with self.operation("scan", name) as note:
            delivered: list[int] = []
            for place in self.shop.history(batch=BATCH):
                delivered.append(place)
                if len(delivered) % BATCH == 0:
                    self.closing.wait(pause_s)
            note.text = judge_passage(self.past, delivered).value


def open_shop(spec: dict[str, Any]) -> Shop:
    """Connect as the spec says: this is all that differs between the two sides."""
    if spec["side"] == "plain":
        mongoengine.connect(spec["database"], host=spec["uri"], alias="shop")
        return Shop(mongoengine.Document)
    import undaunted.mongodb  # noqa: PLC0415  # not a line of it runs on the plain side

    undaunted.configure(spec["settings"])
    return Shop(undaunted.mongodb.Document)


def customers(spec: dict[str, Any], ledger: Ledger) -> MongoDBCustomers:
    """The customers of the side that the spec describes."""
    return MongoDBCustomers(open_shop(spec), ledger, past_orders=spec["past_orders"])
