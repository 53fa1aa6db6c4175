"""Secrets: held, handed out by name only, and never printed."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["Secret", "found", "is_reference", "is_secret_name", "masked"]

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


def is_reference(value: object) -> bool:
    """Whether this is the form in which secrets are given: ``{ env = "X" }`` or ``{ file = "X" }``."""
    return isinstance(value, Mapping) and bool(value) and set(value) <= {"env", "file"}


def is_secret_name(name: str) -> bool:
    """Whether an option of this name may hold a secret, so that its value is not shown."""
    return _SECRET_NAME.search(name) is not None


def masked(text: str) -> str:
    """Hide what may be credentials: everything up to the last ``@``, and the options of a URL."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    before, at, after = rest.rpartition("@")
    if separator and "?" in after:
        after = after.partition("?")[0] + "?***"
    return f"{scheme}{separator}{'***' if at and before else ''}{at}{after}"


def found(value: object) -> str:
    """Say in a few words what stood there instead; credentials in it are hidden."""
    if isinstance(value, str):
        text = masked(value)
        return repr(text if len(text) <= 60 else text[:57] + "...")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value) if abs(value) < 1e30 else "a very large number"
    kinds = ((Mapping, "a table"), ((list, tuple), "a list"), (type(None), "nothing"))
    return next((name for kind, name in kinds if isinstance(value, kind)), f"an object of type {type(value).__name__}")
