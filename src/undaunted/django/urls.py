"""The addresses of health and status: ``path("undaunted/", include("undaunted.django.urls"))``."""

from __future__ import annotations

from django.urls import path

from undaunted.django.views import show
from undaunted.web import NAMES

__all__ = ["app_name", "urlpatterns"]

app_name = "undaunted"


def _name_of(name: str) -> str:
    """``status.json`` is ``undaunted:status``; the page itself is ``undaunted:page``."""
    return {"": "page", "status.json": "status"}.get(name, name)


urlpatterns = [path(name, show, {"name": name}, name=_name_of(name)) for name in NAMES]
