"""The ledger on Cassandra, for those who have only that: as `shop.ledger.postgresql`.

No counter: one that is counted up twice cannot be told from two payments. A row is written with the order as its key,
which may happen twice without harm, and the sum is read.
"""

from __future__ import annotations

from datetime import timezone

from shop.values import Order, Payment, Takings, now
from undaunted.cassandra import Model, columns


class PaymentRow(Model):
    """A payment with both its sides."""

    __undaunted__ = {"cluster": "catalogue"}  # noqa: RUF012
    __table_name__ = "payment"
    order = columns.UUID(primary_key=True)
    given = columns.Integer()  # by the customer: less than 0
    taken = columns.Integer()  # into the till
    booked_at = columns.DateTime()


def pay(order: Order) -> str:
    """Book a payment; whoever reads it sees it."""
    PaymentRow.create(order=order.number, given=-order.total, taken=order.total, booked_at=now())
    return ""


def payment(order: Order) -> Payment | None:
    """The payment of an order."""
    found = PaymentRow.objects(order=order.number).first()
    if found is None:
        return None
    return Payment(order=found.order, amount=found.taken, booked_at=found.booked_at.replace(tzinfo=timezone.utc))


def takings() -> Takings:
    """The sums over all payments; a shop with many would keep sums by day."""
    each = list(PaymentRow.objects.all().limit(None))
    taken = sum(row.taken for row in each)
    return Takings(payments=len(each), amount=taken, balance=taken + sum(row.given for row in each))
