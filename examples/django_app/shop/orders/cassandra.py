"""Carts and orders on Cassandra, for those who have only that: as `shop.orders.mongodb`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timezone
from typing import TYPE_CHECKING, Any

from shop.values import Line, Order
from undaunted.cassandra import BatchQuery, Model, columns

if TYPE_CHECKING:
    import uuid

CLUSTER = {"cluster": "catalogue"}


class CartRow(Model):
    """One product in the cart of somebody."""

    __undaunted__ = CLUSTER
    __table_name__ = "cart"
    customer = columns.UUID(primary_key=True)
    sku = columns.Text(primary_key=True)
    quantity = columns.Integer()


class OrderRow(Model):
    """An order; its lines are written once, together, and so are one text."""

    __undaunted__ = CLUSTER
    __table_name__ = "placed_order"
    customer = columns.UUID(primary_key=True)
    number = columns.UUID(primary_key=True)
    lines = columns.Text()
    is_paid = columns.Boolean()
    ledger_token = columns.Text()
    placed_at = columns.DateTime()


def cart(customer: uuid.UUID) -> dict[str, int]:
    """What somebody has in their cart."""
    return {row.sku: row.quantity for row in CartRow.objects(customer=customer)}


def put(customer: uuid.UUID, sku: str, quantity: int) -> None:
    """Have so many of a product in the cart."""
    if quantity:
        CartRow.create(customer=customer, sku=sku, quantity=quantity)
    else:
        CartRow.objects(customer=customer, sku=sku).delete()


def place(order: Order) -> None:
    """Keep an order and empty the cart: a logged batch, so both will be done."""
    if find(order.customer, order.number) is not None:
        return
    with BatchQuery() as batch:
        OrderRow.batch(batch).create(
            customer=order.customer,
            number=order.number,
            lines=json.dumps([asdict(line) for line in order.lines]),
            is_paid=False,
            ledger_token="",
            placed_at=order.placed_at,
        )
        CartRow.objects(customer=order.customer).batch(batch).delete()


def find(customer: uuid.UUID, number: uuid.UUID) -> Order | None:
    """One order."""
    found = OrderRow.objects(customer=customer, number=number).first()
    return None if found is None else _order(found)


def of(customer: uuid.UUID) -> list[Order]:
    """The orders of somebody."""
    return _newest(OrderRow.objects(customer=customer).limit(100))


def latest(count: int) -> list[Order]:
    """The newest orders; a shop with many would keep them in a table by day."""
    return _newest(OrderRow.objects.all().limit(None))[:count]


def mark_paid(order: Order) -> None:
    """Note that an order was paid."""
    OrderRow.objects(customer=order.customer, number=order.number).update(is_paid=True, ledger_token=order.ledger_token)


def _newest(rows: Any) -> list[Order]:
    return sorted((_order(row) for row in rows), key=lambda order: order.placed_at, reverse=True)


def _order(row: Any) -> Order:
    return Order(
        number=row.number,
        customer=row.customer,
        lines=tuple(Line(**line) for line in json.loads(row.lines)),
        is_paid=row.is_paid,
        ledger_token=row.ledger_token or "",
        placed_at=row.placed_at.replace(tzinfo=timezone.utc),
    )
