"""undaunted: model code that keeps working while database nodes fail.

The public face: settings in, status and events out, and what a call may declare about itself. The models stand where
their ORM's name is: `undaunted.mongodb`. May import everything, but imports no driver, and nothing it does not need,
until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from undaunted.errors import (
    BudgetExhausted,
    ConfigurationError,
    DeadlineExceeded,
    Exhausted,
    NoNodeAvailable,
    OutcomeUnknown,
    UndauntedError,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from undaunted.engine.context import deadline, options
    from undaunted.events import Event

__all__ = [
    "BudgetExhausted",
    "ConfigurationError",
    "DeadlineExceeded",
    "Exhausted",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "UndauntedError",
    "close",
    "configure",
    "deadline",
    "options",
    "status",
    "subscribe",
]


def configure(source: Mapping[str, Any] | str | os.PathLike[str] | None = None) -> None:
    """Read the settings and register every cluster with its ORM; connects to nothing yet.

    Args:
        source: The settings as a mapping; or the path of a TOML file; or None, to find ``undaunted.toml`` or a
            ``pyproject.toml`` with ``[tool.undaunted]``, from the working directory upwards.

    Raises:
        ConfigurationError: Something is wrong; lists every mistake, each with its dotted path.
    """
    from undaunted.registry import REGISTRY  # noqa: PLC0415  # a bare import stays light

    REGISTRY.configure(source)


def status() -> dict[str, Any]:
    """Clusters, nodes, roles, outages, budgets and the last 100 events, as plain data for JSON. Asks no node."""
    from undaunted.registry import REGISTRY  # noqa: PLC0415

    return REGISTRY.status()


def subscribe(listener: Callable[[Any], object], *event_types: type[Event]) -> Callable[[], None]:
    """Call `listener` with each event of these types, or with every event.

    Args:
        listener: A quick function of one argument; what it raises is logged, never raised.
        event_types: Classes of `undaunted.events`; none means all.

    Returns:
        A function that ends the subscription.
    """
    from undaunted.registry import REGISTRY  # noqa: PLC0415

    return REGISTRY.subscribe(listener, *event_types)


def close() -> None:
    """Close every cluster, the last opened first, and forget the settings. May be called twice."""
    from undaunted.registry import REGISTRY  # noqa: PLC0415

    REGISTRY.close()


_LAZY = {"options": "undaunted.engine.context", "deadline": "undaunted.engine.context"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  # 58 ms that a bare import need not cost

        return version("undaunted")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
