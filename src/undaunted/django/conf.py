"""What Django's settings say to undaunted, and how it is taken over into the registry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings

from undaunted.errors import ConfigurationError, Problem
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from undaunted.config.web import WebSettings

__all__ = ["NAME", "TEST_NAMES", "WHERE", "given", "names_for_tests", "open_clusters", "secrets", "web"]

NAME = "UNDAUNTED"
TEST_NAMES = "UNDAUNTED_TEST"
WHERE = "UNDAUNTED in Django's settings"
"""What errors call them."""


def given() -> Mapping[str, Any] | None:
    """``settings.UNDAUNTED``; None where it is not there, so that the file and the environment alone decide.

    Raises:
        ConfigurationError: It is no mapping.
    """
    found: object = getattr(settings, NAME, None)
    if found is None or isinstance(found, Mapping):
        return cast("Mapping[str, Any] | None", found)
    message = f"expected a dict with the keys of undaunted.toml, found an object of type {type(found).__name__}."
    raise ConfigurationError(problems=[Problem(NAME, message)])


def names_for_tests() -> Mapping[str, str]:
    """``settings.UNDAUNTED_TEST``: what the databases of a test run are called, by cluster.

    Raises:
        ConfigurationError: It is no mapping of names.
    """
    found: object = getattr(settings, TEST_NAMES, None) or {}
    if isinstance(found, Mapping):
        named = cast("Mapping[object, object]", found)
        if all(isinstance(name, str) and isinstance(one, str) and one for name, one in named.items()):
            return cast("Mapping[str, str]", named)
    message = 'expected the name of a database by cluster, such as {"orders": "test_orders"}.'
    raise ConfigurationError(problems=[Problem(TEST_NAMES, message)])


def open_clusters(*, anew: bool = False) -> None:
    """Read the settings and register every cluster with its ORM; connects to nothing.

    Args:
        anew: Whether to forget what was registered before, as when the settings have changed.

    Raises:
        ConfigurationError: Something is wrong; lists every mistake.
    """
    if anew:
        REGISTRY.configure(framework=given(), framework_name=WHERE)
    else:
        REGISTRY.add(given(), framework_name=WHERE)


def web() -> WebSettings:
    """The section ``[web]``."""
    return REGISTRY.loaded.settings.web


def secrets() -> list[bytes]:
    """The keys of the cookie: the one that signs first, then those that are still believed.

    They are derived from ``SECRET_KEY`` and ``SECRET_KEY_FALLBACKS``, so that they go with them.
    """
    keys: list[object] = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [hashlib.sha256(key if isinstance(key, bytes) else str(key).encode()).digest() for key in keys]
