"""The catalogue on PostgreSQL, for those who have only that: as `shop.catalogue.cassandra`."""

from __future__ import annotations

import uuid  # noqa: TC003  # a table's annotations are read when the program runs
from datetime import datetime  # noqa: TC003
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, mapped_column

from shop.tables import Base
from shop.values import Product, Review, shelf_of
from undaunted.sqlalchemy import Session, unit_of_work

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import orm


class ProductRow(Base):
    """A product."""

    __tablename__ = "product"
    sku: Mapped[str] = mapped_column(primary_key=True)
    shelf: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    text: Mapped[str]
    price: Mapped[int]


class ReviewRow(Base):
    """A review, whose key was made with the form."""

    __tablename__ = "review"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(index=True)
    author: Mapped[str]
    stars: Mapped[int]
    text: Mapped[str]
    written_at: Mapped[datetime] = mapped_column(sa.DateTime(timezone=True))


@unit_of_work(Base)
def load(session: orm.Session, products: Iterable[Product]) -> None:
    """Put products on the shelves."""
    for each in products:
        row = ProductRow(sku=each.sku, shelf=shelf_of(each.sku), name=each.name, text=each.text, price=each.price)
        session.merge(row)


def shelf(name: str) -> list[Product]:
    """The products of one shelf."""
    chosen = sa.select(ProductRow).where(ProductRow.shelf == name).order_by(ProductRow.sku)
    with Session(Base, readonly=True) as session:
        return [_product(row) for row in session.scalars(chosen)]


def product(sku: str) -> Product | None:
    """One product."""
    with Session(Base, readonly=True) as session:
        row = session.get(ProductRow, sku)
        return None if row is None else _product(row)


@unit_of_work(Base)
def set_price(session: orm.Session, sku: str, price: int) -> None:
    """Change a price."""
    session.execute(sa.update(ProductRow).where(ProductRow.sku == sku).values(price=price))


@unit_of_work(Base)
def write_review(session: orm.Session, review: Review) -> None:
    """Keep a review."""
    row = {
        "id": review.id,
        "sku": review.sku,
        "author": review.author,
        "stars": review.stars,
        "text": review.text,
        "written_at": review.written_at,
    }
    session.execute(insert(ReviewRow).values(row).on_conflict_do_nothing())


def reviews(sku: str) -> list[Review]:
    """What is said of a product."""
    chosen = sa.select(ReviewRow).where(ReviewRow.sku == sku).order_by(ReviewRow.written_at.desc()).limit(100)
    with Session(Base, readonly=True) as session:
        return [
            Review(id=row.id, sku=row.sku, author=row.author, stars=row.stars, text=row.text, written_at=row.written_at)
            for row in session.scalars(chosen)
        ]


def _product(row: ProductRow) -> Product:
    return Product(sku=row.sku, name=row.name, text=row.text, price=row.price)
