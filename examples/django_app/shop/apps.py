"""Tells Django of the shop."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Loads the models of the three parts when Django starts, so that `manage.py undaunted sync` knows them."""

    name = "shop"

    def ready(self) -> None:
        """Load them."""
        from shop import parts  # noqa: F401, PLC0415  # the settings are read by now
