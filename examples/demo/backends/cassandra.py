"""The shop on a Cassandra cluster: plain cqlengine, and undaunted."""

from __future__ import annotations

import functools
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from cassandra import ConsistencyLevel
from cassandra.cqlengine import connection, models
from cassandra.cqlengine.query import BatchQuery
from serving import OperationRaised, turn_of
from shop.tables import Shop

from backends.shoppers import Shoppers
from backends.stage import ALIAS, Kinds, Stage, of_sums, once
from undaunted.lab import CassandraLab
from undaunted.lab.verdict import judge_passage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from script import Faults

    from backends.stage import Audit
    from undaunted.lab.ledger import Entry, Ledger

__all__ = ["STAGE"]

os.environ["CQLENG_ALLOW_SCHEMA_MANAGEMENT"] = "1"
ENTRIES_A_DAY = 200  # then on to the next: a list must not grow without end
PAGE = 100
STOCK = 1_000_000  # what the shop has of each thing when it opens


class CassandraShoppers(Shoppers):
    """Orders, payments, counters, appends, a stock by lightweight transaction, batches, point reads and scans."""

    def __init__(self, shop: Shop, ledger: Ledger, *, past_orders: int) -> None:
        super().__init__(shop, ledger, past_orders=past_orders)
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

    def scans(self, name: str) -> None:
        """Go through the history."""
        with self.operation("scan", name) as note:
            note.text = judge_passage(self.past, list(self.shop.history(page=PAGE))).value


class CassandraStage(Stage):
    """Kill and freeze a node, then restart cleanly: every node in turn, or one where time is short."""

    backend = "cassandra"
    has_primary = False
    kinds = Kinds(
        orm="cqlengine",
        checked_at="consistency ALL",
        writes=("save new", "save changed", "batch", "append", "counter", "conditional"),
        single=("append", "counter", "conditional"),
        blind=("save new", "save changed", "batch"),
    )

    def lab(self) -> CassandraLab:
        """Three nodes."""
        return CassandraLab()

    def settings(self, lab: CassandraLab, database: str) -> dict[str, Any]:
        """As the lab has them, with a keyspace for the side."""
        lab.create_keyspace(database)
        settings = lab.settings_for(ALIAS)
        settings["clusters"][ALIAS]["keyspace"] = database
        return settings

    def customers(self, spec: dict[str, Any], ledger: Ledger) -> CassandraShoppers:
        """Connect as the spec says: this is all that differs between the two sides."""
        keyspace = spec["database"]
        if spec["side"] == "plain":
            _connect_plainly(spec["settings"]["clusters"][ALIAS])
            shop = Shop(models.Model, PlainBatch, connection=ALIAS, keyspace=keyspace)
        else:
            import undaunted.cassandra  # noqa: PLC0415  # not a line of it runs on the plain side

            undaunted.configure(spec["settings"])
            shop = Shop(undaunted.cassandra.Model, undaunted.cassandra.BatchQuery, connection=ALIAS, keyspace=keyspace)
        return CassandraShoppers(shop, ledger, past_orders=spec["past_orders"])

    def audit(self, lab: CassandraLab, database: str, entries: Sequence[Entry]) -> Audit:
        """Read a side's rows at consistency ALL."""
        from cassandra.query import SimpleStatement  # noqa: PLC0415

        with lab.cluster() as cluster:
            session = cluster.connect(database)

            def rows(table: str) -> list[Any]:
                query = SimpleStatement(f"SELECT * FROM {table}", consistency_level=ConsistencyLevel.ALL)  # noqa: S608
                return list(session.execute(query, timeout=30.0))

            orders, baskets, parcels = rows("orders"), rows("basket"), rows("shipping")
            diary = Counter(entry for day in rows("diary") for entry in day.entries or ())
            counted = {row.page: row.count for row in rows("visits")}
            sold = {row.sku: STOCK - row.left for row in rows("stock")}
        packed, sent = {row.number for row in baskets}, {row.number for row in parcels}
        return {
            "save new": once(row.number for row in orders),
            "save changed": once(row.receipt for row in orders if row.receipt),
            "batch": {key: [int(key in packed), int(key in sent)] for key in packed | sent},
            "append": {key: [count] for key, count in diary.items()},
            "counter": of_sums("counter", entries, counted),
            "conditional": of_sums("conditional", entries, sold),
        }, 0

    def last_fault(self, faults: Faults, lab: CassandraLab, *, at_s: float, is_quick: bool) -> None:
        """Restart every node, one after the other; only one in a quick demo, since each takes ten seconds and more."""
        if is_quick:
            node = lab.nodes[-1]
            says = f"clean restart: {node.name} is stopped and started"
            faults.undertake("clean restart", node.name, functools.partial(lab.restart, node), at_s=at_s, says=says)
            return
        says = "rolling restart: every node is stopped and started, one after the other"
        names = " ".join(node.name for node in lab.nodes)
        faults.undertake("rolling restart", names, lab.rolling_restart, at_s=at_s, says=says)


class PlainBatch(BatchQuery):
    """cqlengine's, told its connection: by itself it would use the default one."""

    def __init__(self) -> None:
        super().__init__(connection=ALIAS)


def _connect_plainly(cluster: dict[str, Any]) -> None:
    """As the driver's documentation has it, with the options that a careful application sets."""
    from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy  # noqa: PLC0415

    connection.register_connection(
        ALIAS,
        hosts=[node.rpartition(":")[0] for node in cluster["nodes"]],
        consistency=ConsistencyLevel.LOCAL_QUORUM,
        cluster_options={
            "load_balancing_policy": TokenAwarePolicy(DCAwareRoundRobinPolicy(cluster["local_datacenter"])),
            "protocol_version": 5,
        },
    )


STAGE = CassandraStage()
