"""What the pages show and the parts exchange, whatever database it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid

__all__ = ["Line", "Order", "Payment", "Product", "Review", "Takings", "now", "shelf_of"]


def now() -> datetime:
    """The present moment, to the millisecond, which is what all three databases keep."""
    moment = datetime.now(timezone.utc)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def shelf_of(sku: str) -> str:
    """The shelf on which a product stands: ``"boots"`` of ``"boots-07"``."""
    return sku.rpartition("-")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Something to buy; its price in cents."""

    sku: str
    name: str
    text: str
    price: int

    @property
    def shelf(self) -> str:
        """The shelf on which it stands."""
        return shelf_of(self.sku)

    @property
    def tint(self) -> int:
        """Which of six tints its picture has."""
        return sum(self.sku.encode()) % 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What somebody says of a product. Its id was made with the form: sent twice, it is one review."""

    id: uuid.UUID
    sku: str
    author: str
    stars: int
    text: str
    written_at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """So many of one product, at the price of that moment."""

    sku: str
    name: str
    price: int
    quantity: int

    @property
    def total(self) -> int:
        """In cents."""
        return self.price * self.quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody has ordered. Its number follows from the form that was sent: sent twice, it is one order.

    `ledger_token` says how far a copy of the ledger must have come to have the payment, where the ledger has copies.
    """

    number: uuid.UUID
    customer: uuid.UUID
    lines: tuple[Line, ...]
    is_paid: bool = False
    ledger_token: str = ""
    placed_at: datetime = field(default_factory=now)

    @property
    def total(self) -> int:
        """In cents."""
        return sum(line.total for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """What the ledger knows of one order."""

    order: uuid.UUID
    amount: int
    booked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Takings:
    """The ledger in three figures. `balance` is the sum of all entries: what came in, less what customers paid."""

    payments: int
    amount: int
    balance: int
