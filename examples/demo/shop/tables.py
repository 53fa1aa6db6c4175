"""The shop's tables, made on whatever base they are given.

``Shop(cassandra.cqlengine.models.Model)`` and ``Shop(undaunted.cassandra.Model)`` are the same code and differ by that
word, and by the class of a batch.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from cassandra.cqlengine import columns
from cassandra.cqlengine.management import sync_table

if TYPE_CHECKING:
    from collections.abc import Iterator


class Shop:
    """The shop's tables, and what it does with them.

    Every write leaves something behind by which anybody may count afterwards how often it was applied.

    Args:
        base: The class that the models derive from.
        batch: The class of batches.
        connection: cqlengine's name of the connection.
        keyspace: Where the tables are.
    """

    def __init__(self, base: type[Any], batch: type[Any], *, connection: str, keyspace: str) -> None:
        where: dict[str, Any] = {"__connection__": connection, "__keyspace__": keyspace}

        def table(name: str, **fields: Any) -> Any:
            return type(base)(name, (base,), {**where, "__table_name__": name.lower(), **fields})

        self.batch = batch
        self.Order = table(
            "Orders", number=columns.Text(primary_key=True), total=columns.Integer(), receipt=columns.Text()
        )
        self.Visits = table("Visits", page=columns.Text(primary_key=True), count=columns.Counter())
        self.Diary = table("Diary", day=columns.Text(primary_key=True), entries=columns.List(columns.Text))
        self.Stock = table("Stock", sku=columns.Text(primary_key=True), left=columns.Integer(), sale=columns.UUID())
        self.Basket = table("Basket", number=columns.Text(primary_key=True), item=columns.Text())
        self.Shipping = table("Shipping", number=columns.Text(primary_key=True), address=columns.Text())
        self.PastOrder = table(
            "PastOrder",
            year=columns.Integer(primary_key=True),
            place=columns.Integer(primary_key=True, clustering_order="asc"),
            total=columns.Integer(),
        )

    def open(self, *, skus: list[str], stock: int, past_orders: int) -> None:
        """Make the tables, fill the stock and write the history, before the first customer comes."""
        for each in (self.Order, self.Visits, self.Diary, self.Stock, self.Basket, self.Shipping, self.PastOrder):
            sync_table(each)
        for sku in skus:
            self.Stock.create(sku=sku, left=stock)
        for start in range(0, past_orders, 100):
            with self.batch() as batch:
                for place in range(start, min(start + 100, past_orders)):
                    self.PastOrder.batch(batch).create(year=1, place=place, total=place % 90)

    def place_order(self, number: str) -> Any:
        """Save a new order."""
        return self.Order.create(number=number, total=len(number))

    def pay(self, order: Any, receipt: str) -> None:
        """Save a change of an order."""
        order.receipt = receipt
        order.save()

    def visit(self, page: str) -> None:
        """Count a counter up: it must not be applied twice, and nothing can make it harmless."""
        self.Visits.objects(page=page).update(count=1)

    def write_diary(self, day: str, entry: str) -> None:
        """Append to a list: neither must this."""
        self.Diary.objects(day=day).update(entries__append=[entry])

    def left(self, sku: str) -> int:
        """What the stock holds."""
        found: int = self.Stock.objects.get(sku=sku).left
        return found

    def sell(self, sku: str, left: int) -> None:
        """Take one from the stock if nobody else has: a lightweight transaction, with a UUID of its own."""
        self.Stock.objects(sku=sku).iff(left=left).update(left=left - 1, sale=uuid.uuid4())

    def pack(self, number: str) -> None:
        """Two rows of two tables as one: a logged batch."""
        with self.batch() as batch:
            self.Basket.batch(batch).create(number=number, item="lamp")
            self.Shipping.batch(batch).create(number=number, address="here")

    def find_order(self, number: str) -> Any:
        """Read one order."""
        return self.Order.objects.get(number=number)

    def history(self, *, page: int) -> Iterator[int]:
        """Go through all past orders in their order, a page at a time."""
        for order in self.PastOrder.objects(year=1).limit(None).fetch_size(page):
            yield order.place
