"""What the databases hold in the end: for each write, how often its effect is found where it belongs."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from kinds import STOCK

from undaunted.lab.ledger import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from undaunted.lab.ledger import Entry

Effects = dict[str, list[int]]
Audit = tuple[dict[str, Effects], int]
"""The effects by kind and key, and how many counters differ from the names beside them."""


def mongodb(lab: Any, database: str, entries: Sequence[Entry]) -> Audit:  # noqa: ARG001  # each write left its name
    """Read a side's documents at majority read concern."""
    from pymongo.read_concern import ReadConcern  # noqa: PLC0415

    majority = ReadConcern("majority")
    with lab.client() as client:
        orders = list(client[database].get_collection("order", read_concern=majority).find())
        products = list(client[database].get_collection("product", read_concern=majority).find().sort("sku", 1))
    shelves: dict[int, list[dict[str, Any]]] = defaultdict(list)
    sales: Counter[str] = Counter()
    for product in products:
        shelves[product["shelf"]].append(product)
        sales.update(product["sales"])
    visits: Effects = {}
    for on_shelf in shelves.values():
        counts = [Counter(product["visits"]) for product in on_shelf]
        visits.update({visit: [count[visit] for count in counts] for visit in {v for c in counts for v in c}})
    crooked = sum(p["sold"] != len(p["sales"]) for p in products)
    crooked += sum(p["visited"] != len(p["visits"]) for p in products)
    return {
        "save new": _once(o["number"] for o in orders),
        "save changed": _once(o["receipt"] for o in orders if o.get("receipt")),
        "update one": {key: [count] for key, count in sales.items()},
        "update many": visits,
    }, crooked


def cassandra(lab: Any, database: str, entries: Sequence[Entry]) -> Audit:
    """Read a side's rows at consistency ALL."""
    from cassandra import ConsistencyLevel  # noqa: PLC0415
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
        "save new": _once(row.number for row in orders),
        "save changed": _once(row.receipt for row in orders if row.receipt),
        "batch": {key: [int(key in packed), int(key in sent)] for key in packed | sent},
        "append": {key: [count] for key, count in diary.items()},
        "counter": _of_sums("counter", entries, counted),
        "conditional": _of_sums("conditional", entries, sold),
    }, 0


def _once(keys: Iterable[str]) -> Effects:
    return {key: [count] for key, count in Counter(keys).items()}


def _of_sums(kind: str, entries: Sequence[Entry], sums: dict[str, int]) -> Effects:
    """Effects of what leaves nothing behind but a sum: ``name@counter`` each adds one to its counter.

    Who of those that raised was applied cannot be told, nor need be: a sum below what was acknowledged has lost some,
    and one above that and all that raised has been added to twice.
    """
    effects: Effects = {}
    for counter, total in sums.items():
        own = [e for e in entries if e.operation == kind and e.key.rpartition("@")[2] == counter]
        own.sort(key=lambda entry: entry.outcome is not Outcome.OK)  # the acknowledged first
        for entry in own[:total]:
            effects[entry.key] = [1]
        if own and total > len(own):
            effects[own[0].key] = [1 + total - len(own)]
    return effects


AUDITS: dict[str, Callable[[Any, str, Sequence[Entry]], Audit]] = {"mongodb": mongodb, "cassandra": cassandra}
