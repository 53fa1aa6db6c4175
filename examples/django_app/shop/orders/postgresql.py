"""Carts and orders on PostgreSQL, for those who have only that: as `shop.orders.mongodb`."""

from __future__ import annotations

import uuid  # noqa: TC003  # a table's annotations are read when the program runs
from dataclasses import asdict
from datetime import datetime  # noqa: TC003
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Mapped, mapped_column

from shop.tables import Base
from shop.values import Line, Order
from undaunted.sqlalchemy import Session, unit_of_work

if TYPE_CHECKING:
    from sqlalchemy import orm


class CartRow(Base):
    """One product in the cart of somebody."""

    __tablename__ = "cart"
    customer: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(primary_key=True)
    quantity: Mapped[int]


class OrderRow(Base):
    """An order."""

    __tablename__ = "placed_order"
    number: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    customer: Mapped[uuid.UUID] = mapped_column(index=True)
    lines: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    is_paid: Mapped[bool] = mapped_column(default=False)
    ledger_token: Mapped[str] = mapped_column(default="")
    placed_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True), index=True)


def cart(customer: uuid.UUID) -> dict[str, int]:
    """What somebody has in their cart."""
    chosen = sa.select(CartRow).where(CartRow.customer == customer)
    with Session(Base, readonly=True) as session:
        return {row.sku: row.quantity for row in session.scalars(chosen)}


@unit_of_work(Base)
def put(session: orm.Session, customer: uuid.UUID, sku: str, quantity: int) -> None:
    """Have so many of a product in the cart."""
    if quantity:
        row = insert(CartRow).values(customer=customer, sku=sku, quantity=quantity)
        session.execute(row.on_conflict_do_update(index_elements=["customer", "sku"], set_={"quantity": quantity}))
    else:
        session.execute(sa.delete(CartRow).where(CartRow.customer == customer, CartRow.sku == sku))


@unit_of_work(Base)
def place(session: orm.Session, order: Order) -> None:
    """Keep an order and empty the cart, both or neither."""
    row = insert(OrderRow).values(
        number=order.number,
        customer=order.customer,
        lines=[asdict(line) for line in order.lines],
        is_paid=False,
        ledger_token="",
        placed_at=order.placed_at,
    )
    placed = session.scalar(row.on_conflict_do_nothing().returning(OrderRow.number))
    if placed is not None:
        session.execute(sa.delete(CartRow).where(CartRow.customer == order.customer))


def find(customer: uuid.UUID, number: uuid.UUID) -> Order | None:
    """One order."""
    with Session(Base, readonly=True) as session:
        row = session.get(OrderRow, number)
        return _order(row) if row is not None and row.customer == customer else None


def of(customer: uuid.UUID) -> list[Order]:
    """The orders of somebody."""
    return _read(sa.select(OrderRow).where(OrderRow.customer == customer).limit(100))


def latest(count: int) -> list[Order]:
    """The newest orders."""
    return _read(sa.select(OrderRow).limit(count))


@unit_of_work(Base)
def mark_paid(session: orm.Session, order: Order) -> None:
    """Note that an order was paid."""
    paid = {"is_paid": True, "ledger_token": order.ledger_token}
    session.execute(sa.update(OrderRow).where(OrderRow.number == order.number).values(paid))


def _read(chosen: sa.Select[Any]) -> list[Order]:
    with Session(Base, readonly=True) as session:
        return [_order(row) for row in session.scalars(chosen.order_by(OrderRow.placed_at.desc()))]


def _order(row: OrderRow) -> Order:
    return Order(
        number=row.number,
        customer=row.customer,
        lines=tuple(Line(**line) for line in row.lines),
        is_paid=row.is_paid,
        ledger_token=row.ledger_token,
        placed_at=row.placed_at,
    )
