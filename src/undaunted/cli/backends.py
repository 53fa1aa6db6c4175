"""The part of a backend that a command needs, imported when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from undaunted.errors import ConfigurationError

__all__ = ["NODES_CAN_BE_ASKED", "NODES_CAN_ONLY_BE_CHECKED", "part"]

NODES_CAN_BE_ASKED = {"cassandra": ("cassandra",), "mongodb": ("pymongo", "mongoengine")}
"""The backends whose nodes the commands can ask, and the packages that each needs for it."""

NODES_CAN_ONLY_BE_CHECKED = {"sqlalchemy": ("sqlalchemy", "psycopg")}
"""Likewise, but `undaunted provision` has nothing to make there: schemas are Alembic's."""


def part(backend: str, name: str) -> Any:
    """The module ``undaunted.<backend>.<name>``.

    Raises:
        ConfigurationError: A package that it needs is missing, or cannot be used.
    """
    needed = {**NODES_CAN_ONLY_BE_CHECKED, **NODES_CAN_BE_ASKED}[backend]
    if any(importlib.util.find_spec(package) is None for package in needed):
        raise ConfigurationError(f"{backend} needs {' and '.join(needed)}: pip install 'undaunted[{backend}]'.")
    return importlib.import_module(f"undaunted.{backend}.{name}")
