"""Carts and orders on MongoDB: each a document."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, Any

from mongoengine.errors import NotUniqueError

from shop.values import Line, Order
from undaunted.mongodb import Document, EmbeddedDocument, fields, transaction

if TYPE_CHECKING:
    import uuid

CLUSTER = {"cluster": "orders"}


class CartDocument(Document):
    """What somebody is about to order: how many of each product."""

    __undaunted__ = CLUSTER
    customer = fields.UUIDField(primary_key=True)
    quantities = fields.MapField(fields.IntField())
    meta = {"collection": "cart"}  # noqa: RUF012


class LineDocument(EmbeddedDocument):
    """One line of an order."""

    sku = fields.StringField(required=True)
    name = fields.StringField(required=True)
    price = fields.IntField(required=True)
    quantity = fields.IntField(required=True)


class OrderDocument(Document):
    """An order. Its number is its key, so the same order cannot be there twice."""

    __undaunted__ = CLUSTER
    number = fields.UUIDField(primary_key=True)
    customer = fields.UUIDField(required=True)
    lines = fields.EmbeddedDocumentListField(LineDocument)
    is_paid = fields.BooleanField(default=False)
    ledger_token = fields.StringField(default="")
    placed_at = fields.DateTimeField(required=True)
    meta = {"collection": "order", "indexes": [("customer", "-placed_at"), "-placed_at"]}  # noqa: RUF012


def cart(customer: uuid.UUID) -> dict[str, int]:
    """What somebody has in their cart."""
    found = CartDocument.objects(customer=customer).first()
    return {} if found is None else dict(found.quantities)


def put(customer: uuid.UUID, sku: str, quantity: int) -> None:
    """Have so many of a product in the cart."""
    change = {f"set__quantities__{sku}": quantity} if quantity else {f"unset__quantities__{sku}": 1}
    CartDocument.objects(customer=customer).update_one(upsert=True, **change)


@transaction(OrderDocument)
def _place(order: Order) -> None:
    OrderDocument(
        number=order.number,
        customer=order.customer,
        lines=[
            LineDocument(sku=line.sku, name=line.name, price=line.price, quantity=line.quantity) for line in order.lines
        ],
        placed_at=order.placed_at,
    ).save(force_insert=True)
    CartDocument.objects(customer=order.customer).delete()


def place(order: Order) -> None:
    """Keep an order and empty the cart, both or neither."""
    try:
        _place(order)
    except NotUniqueError:  # the button was pressed twice
        return


def find(customer: uuid.UUID, number: uuid.UUID) -> Order | None:
    """One order."""
    found = OrderDocument.objects(number=number, customer=customer).first()
    return None if found is None else _order(found)


def of(customer: uuid.UUID) -> list[Order]:
    """The orders of somebody."""
    return [_order(found) for found in OrderDocument.objects(customer=customer).order_by("-placed_at").limit(100)]


def latest(count: int) -> list[Order]:
    """The newest orders."""
    return [_order(found) for found in OrderDocument.objects.order_by("-placed_at").limit(count)]


def mark_paid(order: Order) -> None:
    """Note that an order was paid."""
    OrderDocument.objects(number=order.number).update_one(set__is_paid=True, set__ledger_token=order.ledger_token)


def _order(found: Any) -> Order:
    return Order(
        number=found.number,
        customer=found.customer,
        lines=tuple(
            Line(sku=line.sku, name=line.name, price=line.price, quantity=line.quantity) for line in found.lines
        ),
        is_paid=found.is_paid,
        ledger_token=found.ledger_token,
        placed_at=found.placed_at.replace(tzinfo=timezone.utc),  # MongoDB keeps UTC, and does not say so
    )
