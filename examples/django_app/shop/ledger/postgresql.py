"""The ledger on PostgreSQL: two entries a payment, whose sum is nothing, as bookkeepers have it."""

from __future__ import annotations

import uuid  # noqa: TC003  # a table's annotations are read when the program runs
from datetime import datetime  # noqa: TC003
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from shop.tables import Base
from shop.values import Order, Payment, Takings, now
from undaunted.sqlalchemy import Session, token, unit_of_work

if TYPE_CHECKING:
    from sqlalchemy import orm

TILL = "till"


class Entry(Base):
    """One side of a payment: what an account gave (less than 0) or got."""

    __tablename__ = "entry"
    order: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int]
    booked_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


def pay(order: Order) -> str:
    """Book a payment; returns the position in the log of changes behind it."""
    _book(order)
    return str(token(Base))


@unit_of_work(Base)
def _book(session: orm.Session, order: Order) -> None:
    """From the customer's account into the till."""
    both = [(f"customer {order.customer}", -order.total), (TILL, order.total)]
    rows = [{"order": order.number, "account": who, "amount": much, "booked_at": now()} for who, much in both]
    # It may be the second press on the same button; then the entries are there.
    session.execute(insert(Entry).values(rows).on_conflict_do_nothing())


def payment(order: Order) -> Payment | None:
    """The payment of an order; of one that is paid, not from a standby that does not have it yet."""
    with Session(Base, readonly=True, token=order.ledger_token or None) as session:
        found = session.get(Entry, (order.number, TILL))
        return None if found is None else Payment(order=found.order, amount=found.amount, booked_at=found.booked_at)


def takings() -> Takings:
    """The sums over all entries."""
    in_till = Entry.account == TILL
    counted = sa.func.count().filter(in_till)
    taken = sa.func.coalesce(sa.func.sum(Entry.amount).filter(in_till), 0)
    with Session(Base, readonly=True) as session:
        payments, amount, balance = session.execute(
            sa.select(counted, taken, sa.func.coalesce(sa.func.sum(Entry.amount), 0))
        ).one()
    return Takings(payments=payments, amount=int(amount), balance=int(balance))
