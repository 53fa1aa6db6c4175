"""What an application of Flask keeps of undaunted; several may be in one process, each with its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from flask import current_app

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from undaunted.config.web import WebSettings

__all__ = ["EXTENSION", "SETTINGS", "State", "application", "config_of", "state_of"]

EXTENSION = "undaunted"
"""The key in ``app.extensions``, the name of the blueprint, and that of the group of commands."""

SETTINGS = 'app.config["UNDAUNTED"]'
"""What errors call an application's settings."""


@dataclass(slots=True, kw_only=True)
class State:
    """What one application has declared.

    Attributes:
        web: Its section ``[web]``.
        is_staff: Whether the request that runs comes from someone who may see everything.
        are_views_known: Whether a first request has come, so that all views are there and were looked at.
    """

    web: WebSettings
    is_staff: Callable[[], bool]
    are_views_known: bool = False


def application() -> Flask:
    """The application of the request that runs, itself."""
    return cast("Flask", cast("Any", current_app)._get_current_object())  # noqa: SLF001  # for this, flask says


def config_of(app: Flask) -> dict[str, Any]:
    """Its settings as a plain mapping; Flask's own class does not say of what."""
    return cast("dict[str, Any]", app.config)


def state_of(app: Flask) -> State:
    """What this application has declared."""
    return cast("State", app.extensions[EXTENSION])
