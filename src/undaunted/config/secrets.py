"""Secrets: held, handed out by name only, and never printed."""

from __future__ import annotations

import re

__all__ = ["Secret", "is_secret_name"]

_SECRET_NAME = re.compile(r"passw|secret|token|authmechanismproperties", re.IGNORECASE)


class Secret:
    """A value that no repr, log line or message shows.

    Args:
        value: The secret itself.
        origin: Where it came from, such as ``"environment variable ORDERS_PASSWORD"``.
        shown: What is printed in its place; a URL prints itself without its credentials.
    """

    __slots__ = ("_origin", "_shown", "_value")

    def __init__(self, value: str, *, origin: str, shown: str = "***") -> None:
        self._value = value
        self._origin = origin
        self._shown = shown

    @property
    def origin(self) -> str:
        """Where the secret came from; safe to print."""
        return self._origin

    def reveal(self) -> str:
        """Return the secret itself, for the driver and nobody else."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self._shown!r})"

    def __str__(self) -> str:
        return self._shown

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)


def is_secret_name(name: str) -> bool:
    """Whether an option of this name may hold a secret, so that its value is not shown."""
    return _SECRET_NAME.search(name) is not None
