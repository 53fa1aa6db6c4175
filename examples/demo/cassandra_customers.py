"""The customers of the shop on Cassandra."""

from __future__ import annotations

import collections
import functools
import os
import random
from typing import TYPE_CHECKING, Any

from cassandra.cqlengine import connection, models
from cassandra.cqlengine.query import BatchQuery
from kinds import STOCK
from serving import Customers, OperationRaised, turn_of
from shop.tables import Shop

from undaunted.lab.verdict import judge_passage

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab.ledger import Ledger

os.environ["CQLENG_ALLOW_SCHEMA_MANAGEMENT"] = "1"
ENTRIES_A_DAY = 200  # then on to the next: a list must not grow without end
PAGE = 100


class CassandraCustomers(Customers):
    """Orders, payments, counters, appends, a stock by lightweight transaction, batches, point reads and scans."""

    def __init__(self, shop: Shop, ledger: Ledger, *, past_orders: int) -> None:
        super().__init__(ledger)
        self.shop = shop
        self.past = list(range(past_orders))
        self.unpaid: collections.deque[Any] = collections.deque()
        self.known: collections.deque[str] = collections.deque(maxlen=500)
        self.left: dict[str, int | None] = {"sku-1": None}

    def prepare(self) -> None:
        """Make the tables, fill the stock and write the history."""
        self.shop.open(skus=list(self.left), stock=STOCK, past_orders=len(self.past))

    def jobs(self) -> list[tuple[str, Callable[[str], None]]]:
        """Who does what."""
        return [
            ("order-1", self.orders),
            ("order-2", self.orders),
            ("pay-1", self.pays),
            ("visit-1", functools.partial(self.visits, page="home")),
            ("visit-2", functools.partial(self.visits, page="news")),
            ("diary-1", self.writes),
            ("sell-1", functools.partial(self.sells, sku="sku-1")),
            ("pack-1", self.packs),
            ("read-1", self.reads),
            ("read-2", self.reads),
            ("scan-1", self.scans),
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

    def visits(self, name: str, *, page: str) -> None:
        """Count a counter up."""
        with self.operation("counter", f"{name}@{page}"):
            self.shop.visit(page)

    def writes(self, name: str) -> None:
        """Append to a list."""
        day = f"day-{turn_of(name) // ENTRIES_A_DAY}"
        with self.operation("append", name):
            self.shop.write_diary(day, name)

    def sells(self, name: str, *, sku: str) -> None:
        """Take one from the stock; this customer alone takes from it."""
        left = self.left[sku]
        if left is None:
            with self.operation("point read", f"{name}:stock"):
                left = self.shop.left(sku)
        try:
            with self.operation("conditional", f"{name}@{sku}"):
                self.shop.sell(sku, left)
        except OperationRaised:
            self.left[sku] = None  # look before the next
            raise
        self.left[sku] = left - 1

    def packs(self, name: str) -> None:
        """Two rows as one."""
        with self.operation("batch", name):
            self.shop.pack(name)

    def reads(self, name: str) -> None:
        """Read an order that was acknowledged, if there is one."""
        if self.known:
            number = random.choice(tuple(self.known))
            with self.operation("point read", f"{name}:{number}"):
                self.shop.find_order(number)

    def scans(self, name: str) -> None:
        """Go through the history."""
        with self.operation("scan", name) as note:
            note.text = judge_passage(self.past, list(self.shop.history(page=PAGE))).value


def customers(spec: dict[str, Any], ledger: Ledger) -> CassandraCustomers:
    """Connect as the spec says: this is all that differs between the two sides."""
    if spec["side"] == "plain":
        shop = _plain(spec)
    else:
        import undaunted.cassandra  # noqa: PLC0415  # not a line of it runs on the plain side

        undaunted.configure(spec["settings"])
        shop = Shop(
            undaunted.cassandra.Model, undaunted.cassandra.BatchQuery, connection="shop", keyspace=spec["database"]
        )
    return CassandraCustomers(shop, ledger, past_orders=spec["past_orders"])


def _plain(spec: dict[str, Any]) -> Shop:
    """As the driver's documentation has it, with the options that a careful application sets."""
    from cassandra import ConsistencyLevel  # noqa: PLC0415
    from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy  # noqa: PLC0415

    cluster = spec["settings"]["clusters"]["shop"]
    connection.register_connection(
        "shop",
        hosts=[node.rpartition(":")[0] for node in cluster["nodes"]],
        consistency=ConsistencyLevel.LOCAL_QUORUM,
        cluster_options={
            "load_balancing_policy": TokenAwarePolicy(DCAwareRoundRobinPolicy(cluster["local_datacenter"])),
            "protocol_version": 5,
        },
    )

    class Batch(BatchQuery):
        """cqlengine's, told its connection: by itself it would use the default one."""

        def __init__(self) -> None:
            super().__init__(connection="shop")

    return Shop(models.Model, Batch, connection="shop", keyspace=spec["database"])
