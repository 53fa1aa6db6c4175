"""The pages of the shop. None of them handles a lost node: that is done below them."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

import undaunted
from shop import checkout, parts
from shop.customers import customer_of, note_count
from shop.forms import PurchaseForm, QuantityForm, ReviewForm
from shop.goods import SHELVES
from shop.values import Product, Review

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

SHOWN_AT_HOME = ("lamps", "coats")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The front page: some of two shelves."""
    rows = [(SHELVES[key], parts.catalogue.shelf(key)[:4]) for key in SHOWN_AT_HOME]
    return render(request, "shop/home.html", {"rows": rows})


@require_safe
def shelf(request: HttpRequest, key: str) -> HttpResponse:
    """Everything on one shelf."""
    if key not in SHELVES:
        raise Http404
    return render(request, "shop/shelf.html", {"shelf": SHELVES[key], "products": parts.catalogue.shelf(key)})


@require_safe
def product(request: HttpRequest, sku: str) -> HttpResponse:
    """One product, with what is said of it."""
    return _product_page(request, _product_or_404(sku), ReviewForm(initial={"id": uuid.uuid4()}))


@require_POST
def review(request: HttpRequest, sku: str) -> HttpResponse:
    """Write a review."""
    found = _product_or_404(sku)
    form = ReviewForm(request.POST)
    if not form.is_valid():
        return _product_page(request, found, form, status=400)
    parts.catalogue.write_review(Review(sku=found.sku, **form.cleaned_data))
    messages.success(request, "Thank you for your review.")
    return redirect("product", sku=found.sku)


@require_safe
def cart(request: HttpRequest) -> HttpResponse:
    """The cart. The form gets a number here, so that its button may be pressed twice."""
    lines = checkout.cart_of(customer_of(request))
    note_count(request, sum(line.quantity for line in lines))
    total = sum(line.total for line in lines)
    return render(request, "shop/cart.html", {"lines": lines, "total": total, "form": uuid.uuid4()})


@require_POST
def put(request: HttpRequest, sku: str) -> HttpResponse:
    """Have so many of a product in the cart; one more where the form does not say how many."""
    found, customer = _product_or_404(sku), customer_of(request)
    there = parts.orders.cart(customer)
    form = QuantityForm(request.POST)
    if "quantity" not in request.POST:
        there[found.sku] = min(there.get(found.sku, 0) + 1, 99)
        messages.success(request, f"{found.name} is in your cart.")
    elif form.is_valid():
        there[found.sku] = form.cleaned_data["quantity"]
    else:
        messages.error(request, "A number from 0 to 99, please.")
        return redirect("cart")
    parts.orders.put(customer, found.sku, there[found.sku])
    note_count(request, sum(there.values()))
    return redirect("cart")


@require_POST
def buy(request: HttpRequest) -> HttpResponse:
    """Order and pay what is in the cart."""
    sent = PurchaseForm(request.POST)
    if not sent.is_valid():
        return redirect("cart")
    form = sent.cleaned_data["form"]
    try:
        order = checkout.buy(customer_of(request), form)
    except undaunted.OutcomeUnknown:
        # What then can be done is the one thing that only the application knows: here the same form is sent again.
        return render(request, "shop/unknown.html", {"form": form}, status=500)
    if order is None:
        messages.error(request, "There is nothing in your cart.")
        return redirect("cart")
    note_count(request, 0)
    return redirect("order", number=order.number)


@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """What somebody has bought so far."""
    return render(request, "shop/orders.html", {"orders": parts.orders.of(customer_of(request))})


@require_safe
def order(request: HttpRequest, number: uuid.UUID) -> HttpResponse:
    """One order, with its payment as the ledger has it."""
    found = parts.orders.find(customer_of(request), number)
    if found is None:
        raise Http404
    return render(request, "shop/order.html", {"order": found, "payment": parts.ledger.payment(found)})


@require_POST
def pay(request: HttpRequest, number: uuid.UUID) -> HttpResponse:
    """Pay an order whose purchase stopped halfway."""
    found = parts.orders.find(customer_of(request), number)
    if found is None:
        raise Http404
    checkout.pay(found)
    return redirect("order", number=number)


def _product_or_404(sku: str) -> Product:
    found = parts.catalogue.product(sku)
    if found is None:
        raise Http404
    return found


def _product_page(request: HttpRequest, found: Product, form: ReviewForm, *, status: int = 200) -> HttpResponse:
    shown = {"product": found, "shelf": SHELVES[found.shelf], "reviews": parts.catalogue.reviews(found.sku)}
    return render(request, "shop/product.html", shown | {"form": form}, status=status)
