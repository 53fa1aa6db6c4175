"""The shop's documents, made on whatever base they are given.

``Shop(mongoengine.Document)`` and ``Shop(undaunted.mongodb.Document)`` are the same code and differ by that word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from mongoengine import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

PRODUCTS_ON_A_SHELF = 8


class Shop:
    """The shop's documents, and what it does with them.

    Every write leaves its own name behind (`number`, `receipt`, `sale`, `visit`), so that anybody may count afterwards
    how often it was applied.

    Args:
        base: The class that the documents derive from.
        alias: The MongoEngine alias of the shop's database.
    """

    def __init__(self, base: type[Any], *, alias: str = "shop") -> None:
        class Product(base):
            sku = fields.StringField(required=True)
            shelf = fields.IntField(required=True)
            sold = fields.IntField(default=0)
            sales = fields.ListField(fields.StringField())
            visited = fields.IntField(default=0)
            visits = fields.ListField(fields.StringField())
            meta: ClassVar[dict[str, Any]] = {"db_alias": alias, "collection": "product", "indexes": ["shelf", "#sku"]}

        class Order(base):
            # Not unique: an order that was saved twice must be there twice, to be found.
            number = fields.StringField(required=True)
            total = fields.IntField(required=True)
            state = fields.StringField(default="placed")
            receipt = fields.StringField()
            meta: ClassVar[dict[str, Any]] = {"db_alias": alias, "collection": "order", "indexes": ["number"]}

        class PastOrder(base):
            place = fields.IntField(required=True)
            total = fields.IntField(required=True)
            meta: ClassVar[dict[str, Any]] = {
                "db_alias": alias,
                "collection": "past_order",
                "indexes": [{"fields": ["place"], "unique": True}],
            }

        self.Product: Any = Product
        self.Order: Any = Order
        self.PastOrder: Any = PastOrder

    def open(self, *, shelves: int, past_orders: int) -> None:
        """Fill the shelves and write the history, before the first customer comes."""
        self.Order.objects.first()  # makes its indexes
        self.Product.objects.insert(
            [
                self.Product(sku=f"{shelf}-{place}", shelf=shelf)
                for shelf in range(shelves)
                for place in range(PRODUCTS_ON_A_SHELF)
            ],
            load_bulk=False,
        )
        self.PastOrder.objects.insert(
            [self.PastOrder(place=place, total=place % 90) for place in range(past_orders)], load_bulk=False
        )

    def place_order(self, number: str) -> Any:
        """Save a new order."""
        return self.Order(number=number, total=len(number)).save()

    def pay(self, order: Any, receipt: str) -> None:
        """Save a change of an order."""
        order.state = "paid"
        order.receipt = receipt
        order.save()

    def sell(self, sku: str, sale: str) -> None:
        """Count one product's sales up: an update of one document that must not be applied twice."""
        self.Product.objects(sku=sku).update_one(inc__sold=1, push__sales=sale)

    def visit(self, shelf: int, visit: str) -> None:
        """Count the visits of every product on a shelf up: an update of many documents."""
        self.Product.objects(shelf=shelf).update(inc__visited=1, push__visits=visit)

    def find_order(self, number: str) -> Any:
        """Read one order."""
        return self.Order.objects.get(number=number)

    def history(self, *, batch: int) -> Iterator[int]:
        """Go through all past orders in their order, a batch at a time and none kept in memory."""
        for order in self.PastOrder.objects.order_by("place").batch_size(batch).no_cache():
            yield order.place
