"""``manage.py load``: put the goods on the shelves."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from shop import parts
from shop.goods import goods


class Command(BaseCommand):
    """Loads some hundred products. May be called again, and changes nothing then but prices back."""

    help = "Put the goods of the shop on its shelves."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Load them."""
        products = list(goods())
        parts.catalogue.load(products)
        self.stdout.write(f"{len(products)} products are on the shelves.")
