"""The three parts of the shop, each a module that was chosen by the settings; and what each must be able to do."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from django.conf import settings

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from shop.values import Order, Payment, Product, Review, Takings

__all__ = ["Catalogue", "Ledger", "Orders", "catalogue", "ledger", "orders"]

CLUSTER_OF = {"cassandra": "catalogue", "mongodb": "orders", "postgresql": "ledger"}


class Catalogue(Protocol):
    """What can be bought, and what is said of it."""

    def load(self, products: Iterable[Product]) -> None:
        """Put products on the shelves; those that are there already are replaced."""

    def shelf(self, name: str) -> list[Product]:
        """The products of one shelf, by their numbers."""

    def product(self, sku: str) -> Product | None:
        """One product, or None."""

    def set_price(self, sku: str, price: int) -> None:
        """Change the price of one product, in cents."""

    def write_review(self, review: Review) -> None:
        """Keep a review; the same one twice is one."""

    def reviews(self, sku: str) -> list[Review]:
        """What is said of a product, the newest first."""


class Orders(Protocol):
    """Carts, and the orders that they become."""

    def cart(self, customer: uuid.UUID) -> dict[str, int]:
        """How many of each product somebody has in their cart."""

    def put(self, customer: uuid.UUID, sku: str, quantity: int) -> None:
        """Have so many of a product in the cart; 0 takes it out."""

    def place(self, order: Order) -> None:
        """Keep an order and empty the cart; an order that was placed before stays as it is."""

    def find(self, customer: uuid.UUID, number: uuid.UUID) -> Order | None:
        """One order of somebody, or None."""

    def of(self, customer: uuid.UUID) -> list[Order]:
        """The orders of somebody, the newest first."""

    def latest(self, count: int) -> list[Order]:
        """The newest orders of all."""

    def mark_paid(self, order: Order) -> None:
        """Note that an order was paid, and its `ledger_token`."""


class Ledger(Protocol):
    """Who has paid what."""

    def pay(self, order: Order) -> str:
        """Book the payment of an order; the same order twice is one payment. Returns the order's `ledger_token`."""

    def payment(self, order: Order) -> Payment | None:
        """The payment of an order, or None."""

    def takings(self) -> Takings:
        """The sums over all payments."""


def _chosen(part: str) -> object:
    """The module for a part: on the database of its own, or on the first that there is."""
    there = [database for database, cluster in CLUSTER_OF.items() if cluster in settings.UNDAUNTED["clusters"]]
    own = settings.SHOP[part]
    return import_module(f"shop.{part}.{own if own in there or not there else there[0]}")


catalogue = cast("Catalogue", _chosen("catalogue"))
orders = cast("Orders", _chosen("orders"))
ledger = cast("Ledger", _chosen("ledger"))
