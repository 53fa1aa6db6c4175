"""What the customers of the shop do on every database that has one."""

from __future__ import annotations

import collections
import random
from typing import TYPE_CHECKING, Any

from serving import Customers

if TYPE_CHECKING:
    from undaunted.lab.ledger import Ledger

__all__ = ["Shoppers"]


class Shoppers(Customers):
    """They place orders, pay them, and look at them.

    Args:
        shop: With `place_order`, `pay` and `find_order`.
        ledger: Where it is written down.
        past_orders: How long the history is that scans go through.
    """

    def __init__(self, shop: Any, ledger: Ledger, *, past_orders: int) -> None:
        super().__init__(ledger)
        self.shop = shop
        self.past = list(range(past_orders))
        self.unpaid: collections.deque[Any] = collections.deque()
        self.known: collections.deque[str] = collections.deque(maxlen=500)

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

    def reads(self, name: str) -> None:
        """Read an order that was acknowledged, if there is one."""
        if self.known:
            number = random.choice(tuple(self.known))
            with self.operation("point read", f"{name}:{number}"):
                self.shop.find_order(number)
