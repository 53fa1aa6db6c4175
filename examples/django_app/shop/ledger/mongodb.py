"""The ledger on MongoDB, for those who have only that: as `shop.ledger.postgresql`."""

from __future__ import annotations

from datetime import timezone

from mongoengine.errors import NotUniqueError

from shop.values import Order, Payment, Takings, now
from undaunted.mongodb import Document, fields


class PaymentDocument(Document):
    """A payment with both its sides; the order is its key."""

    __undaunted__ = {"cluster": "orders"}  # noqa: RUF012
    order = fields.UUIDField(primary_key=True)
    given = fields.IntField(required=True)  # by the customer: less than 0
    taken = fields.IntField(required=True)  # into the till
    booked_at = fields.DateTimeField(required=True)
    meta = {"collection": "payment"}  # noqa: RUF012


def pay(order: Order) -> str:
    """Book a payment; whoever reads it sees it."""
    try:
        PaymentDocument(order=order.number, given=-order.total, taken=order.total, booked_at=now()).save(
            force_insert=True
        )
    except NotUniqueError:  # the button was pressed twice
        return ""
    return ""


def payment(order: Order) -> Payment | None:
    """The payment of an order."""
    found = PaymentDocument.objects(order=order.number).first()
    if found is None:
        return None
    return Payment(order=found.order, amount=found.taken, booked_at=found.booked_at.replace(tzinfo=timezone.utc))


def takings() -> Takings:
    """The sums over all payments."""
    each = list(PaymentDocument.objects.scalar("given", "taken"))
    taken = sum(taken for _, taken in each)
    return Takings(payments=len(each), amount=taken, balance=taken + sum(given for given, _ in each))
