"""The catalogue on MongoDB, for those who have only that: as `shop.catalogue.cassandra`."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING

from shop.values import Product, Review, shelf_of
from undaunted.mongodb import Document, fields

if TYPE_CHECKING:
    from collections.abc import Iterable

CLUSTER = {"cluster": "orders"}


class ProductDocument(Document):
    """A product."""

    __undaunted__ = CLUSTER
    sku = fields.StringField(primary_key=True)
    shelf = fields.StringField(required=True)
    name = fields.StringField(required=True)
    text = fields.StringField()
    price = fields.IntField(required=True)
    meta = {"collection": "product", "indexes": ["shelf"]}  # noqa: RUF012


class ReviewDocument(Document):
    """A review, whose key was made with the form."""

    __undaunted__ = CLUSTER
    id = fields.UUIDField(primary_key=True)
    sku = fields.StringField(required=True)
    author = fields.StringField()
    stars = fields.IntField()
    text = fields.StringField()
    written_at = fields.DateTimeField(required=True)
    meta = {"collection": "review", "indexes": [("sku", "-written_at")]}  # noqa: RUF012


def load(products: Iterable[Product]) -> None:
    """Put products on the shelves."""
    for each in products:
        ProductDocument(sku=each.sku, shelf=shelf_of(each.sku), name=each.name, text=each.text, price=each.price).save()


def shelf(name: str) -> list[Product]:
    """The products of one shelf."""
    return [_product(found) for found in ProductDocument.objects(shelf=name).order_by("sku")]


def product(sku: str) -> Product | None:
    """One product."""
    found = ProductDocument.objects(sku=sku).first()
    return None if found is None else _product(found)


def set_price(sku: str, price: int) -> None:
    """Change a price."""
    ProductDocument.objects(sku=sku).update_one(set__price=price)


def write_review(review: Review) -> None:
    """Keep a review."""
    ReviewDocument(
        id=review.id,
        sku=review.sku,
        author=review.author,
        stars=review.stars,
        text=review.text,
        written_at=review.written_at,
    ).save()


def reviews(sku: str) -> list[Review]:
    """What is said of a product."""
    return [
        Review(
            id=found.id,
            sku=found.sku,
            author=found.author,
            stars=found.stars,
            text=found.text,
            written_at=found.written_at.replace(tzinfo=timezone.utc),
        )
        for found in ReviewDocument.objects(sku=sku).order_by("-written_at").limit(100)
    ]


def _product(found: ProductDocument) -> Product:
    return Product(sku=found.sku, name=found.name, text=found.text, price=found.price)
