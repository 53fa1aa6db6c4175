"""Values as a source gives them, before the schema has read them: what they are, and how they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

__all__ = ["as_table", "found", "is_reference", "masked"]


def as_table(value: object) -> Mapping[str, object] | None:
    """The value, if it is a table."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def is_reference(value: object) -> bool:
    """Whether this is the form in which secrets are given: ``{ env = "X" }`` or ``{ file = "X" }``."""
    table = as_table(value)
    return bool(table) and set(table or ()) <= {"env", "file"}


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
    if value is None:
        return "nothing"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a table" if as_table(value) is not None else f"an object of type {type(value).__name__}"
