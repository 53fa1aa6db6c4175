"""Buying: one purchase that is kept by two databases, which share no transaction."""

from __future__ import annotations

import uuid
from dataclasses import replace

from shop import parts
from shop.values import Line, Order

__all__ = ["buy", "cart_of", "pay"]


def cart_of(customer: uuid.UUID) -> tuple[Line, ...]:
    """What is in a cart, at the prices of now; what is sold no longer is left out."""
    wanted = sorted(parts.orders.cart(customer).items())
    found = [(parts.catalogue.product(sku), quantity) for sku, quantity in wanted]
    return tuple(
        Line(sku=product.sku, name=product.name, price=product.price, quantity=quantity)
        for product, quantity in found
        if product is not None
    )


def buy(customer: uuid.UUID, form: uuid.UUID) -> Order | None:
    """Order what is in the cart, and pay it; None where there is nothing to order.

    Each step may be done again: the order and its payment have the same number as their key, which follows from the
    form that was sent. So the button may be pressed twice, and a purchase that stopped halfway is completed by the same
    form, or by `pay`. That, and not a transaction over both databases, is what makes it happen once.
    """
    number = uuid.uuid5(customer, str(form))  # so that nobody can send the number of somebody else's order
    order = parts.orders.find(customer, number)
    if order is None:
        lines = cart_of(customer)
        if lines:
            parts.orders.place(Order(number=number, customer=customer, lines=lines))
        order = parts.orders.find(customer, number)  # as it is kept: the other press may have been quicker
    return None if order is None else pay(order)


def pay(order: Order) -> Order:
    """Pay an order that was placed; one that is paid stays as it is."""
    if order.is_paid:
        return order
    # Whoever is shown this order as paid, the second press or another browser, is to find the payment as well.
    paid = replace(order, is_paid=True, ledger_token=parts.ledger.pay(order))
    parts.orders.mark_paid(paid)
    return paid
