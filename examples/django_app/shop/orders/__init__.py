"""Carts, and the orders that they become: `shop.parts.Orders`."""
