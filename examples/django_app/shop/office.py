"""The office: what only the people of the shop may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.auth.decorators import login_required, user_passes_test
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from shop import parts
from shop.forms import PriceForm

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

NEWEST = 25


def staff_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Send everybody else to the login."""
    return login_required(user_passes_test(lambda user: user.is_staff)(view))


@require_safe
@staff_only
def office(request: HttpRequest) -> HttpResponse:
    """The takings, the newest orders, and the prices."""
    shown = {"takings": parts.ledger.takings(), "orders": parts.orders.latest(NEWEST), "form": PriceForm()}
    return render(request, "shop/office.html", shown)


@require_POST
@staff_only
def price(request: HttpRequest) -> HttpResponse:
    """Change a price."""
    form = PriceForm(request.POST)
    product = parts.catalogue.product(form.cleaned_data["sku"]) if form.is_valid() else None
    if product is None:
        messages.error(request, "Name a product by its number, such as boots-07, and a price such as 79.90.")
    else:
        parts.catalogue.set_price(product.sku, int(form.cleaned_data["price"] * 100))
        messages.success(request, f"{product.name} has a new price.")
    return redirect("office")
