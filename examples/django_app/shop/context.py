"""What the top of each page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shop.customers import count_in_cart
from shop.goods import SHELVES

if TYPE_CHECKING:
    from django.http import HttpRequest


def everywhere(request: HttpRequest) -> dict[str, Any]:
    """The shelves, and how much is in the cart. Asks no database."""
    return {"shelves": SHELVES.values(), "in_cart": count_in_cart(request)}
