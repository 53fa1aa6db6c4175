"""Who somebody is: a number in their signed cookie, so that no database is asked for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django.http import HttpRequest

__all__ = ["count_in_cart", "customer_of", "note_count"]


def customer_of(request: HttpRequest) -> uuid.UUID:
    """The customer who asks; a new one gets a number."""
    return uuid.UUID(request.session.setdefault("customer", str(uuid.uuid4())))


def note_count(request: HttpRequest, count: int) -> None:
    """Keep in the cookie how much is in the cart, for the top of each page."""
    request.session["in_cart"] = count


def count_in_cart(request: HttpRequest) -> int:
    """How much was in the cart when it was last looked at."""
    return int(request.session.get("in_cart", 0))
