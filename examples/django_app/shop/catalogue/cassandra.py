"""The catalogue on Cassandra: a partition a shelf, and the reviews of a product beside each other."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, Any

from shop.values import Product, Review, shelf_of
from undaunted.cassandra import BatchQuery, Model, columns

if TYPE_CHECKING:
    from collections.abc import Iterable

CLUSTER = {"cluster": "catalogue"}


class ProductRow(Model):
    """A product, on its shelf."""

    __undaunted__ = CLUSTER
    __table_name__ = "product"
    shelf = columns.Text(primary_key=True)
    sku = columns.Text(primary_key=True)
    name = columns.Text()
    text = columns.Text()
    price = columns.Integer()


class ReviewRow(Model):
    """A review. Its key was made with the form, so writing it twice writes the same row."""

    __undaunted__ = CLUSTER
    __table_name__ = "review"
    sku = columns.Text(primary_key=True)
    id = columns.UUID(primary_key=True)
    author = columns.Text()
    stars = columns.Integer()
    text = columns.Text()
    written_at = columns.DateTime()


def load(products: Iterable[Product]) -> None:
    """Put products on the shelves."""
    shelves: dict[str, list[Product]] = {}
    for product in products:
        shelves.setdefault(product.shelf, []).append(product)
    for shelf, found in shelves.items():
        with BatchQuery() as batch:  # one partition, so one write
            for each in found:
                row = {"sku": each.sku, "name": each.name, "text": each.text, "price": each.price}
                ProductRow.batch(batch).create(shelf=shelf, **row)


def shelf(name: str) -> list[Product]:
    """The products of one shelf."""
    return [_product(row) for row in ProductRow.objects(shelf=name).limit(None)]


def product(sku: str) -> Product | None:
    """One product."""
    if not shelf_of(sku):  # Cassandra has no empty keys, and says so by an error
        return None
    row = ProductRow.objects(shelf=shelf_of(sku), sku=sku).first()
    return None if row is None else _product(row)


def set_price(sku: str, price: int) -> None:
    """Change a price."""
    ProductRow.objects(shelf=shelf_of(sku), sku=sku).update(price=price)


def write_review(review: Review) -> None:
    """Keep a review."""
    ReviewRow.create(
        sku=review.sku,
        id=review.id,
        author=review.author,
        stars=review.stars,
        text=review.text,
        written_at=review.written_at,
    )


def reviews(sku: str) -> list[Review]:
    """What is said of a product."""
    found = [_review(row) for row in ReviewRow.objects(sku=sku).limit(100)]
    return sorted(found, key=lambda review: review.written_at, reverse=True)


def _product(row: Any) -> Product:
    return Product(sku=row.sku, name=row.name, text=row.text, price=row.price)


def _review(row: Any) -> Review:
    written_at = row.written_at.replace(tzinfo=timezone.utc)  # the driver gives UTC, and does not say so
    return Review(id=row.id, sku=row.sku, author=row.author, stars=row.stars, text=row.text, written_at=written_at)
