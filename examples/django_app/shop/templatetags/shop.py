"""Filters for templates."""

from django import template

register = template.Library()


@register.filter
def money(cents: int) -> str:
    """``123456`` as ``1,234.56 €``."""
    return f"{cents / 100:,.2f} €"
