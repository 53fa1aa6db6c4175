"""TOML: a value out of an environment variable, a file with its mistakes placed, and the line of each setting."""

from __future__ import annotations

import re
import sys
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["TomlError", "TomlFile", "literal", "parse"]


class TomlError(ValueError):
    """The text is not TOML; the message begins with line and column."""


def parse(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        TomlError: It is not TOML.
    """
    # imported here: some milliseconds that only a file or a variable costs
    loads: Callable[[str], dict[str, Any]] = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli").loads
    try:
        return loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also of an integer with thousands of digits
        what = str(error) if isinstance(error, ValueError) else "tables or lists are nested too deeply"
        place = re.search(r" \(at line (\d+), column (\d+)\)$", what)
        line, column = place.groups() if place else (text.count("\n") + 1, len(text) - text.rfind("\n"))
        reason = re.sub(r" \(at [^)]*\)$", "", what)
        raise TomlError(f"line {line}, column {column}: {reason}") from None


def literal(text: str) -> object:
    """Read text as a TOML value, or a JSON list or table; what is neither is the string itself."""
    try:
        value = parse(f"value = {text}")
    except TomlError:
        value = {}
    if len(value) == 1 and isinstance(value.get("value"), (bool, int, float, str, list, dict)):
        return value["value"]
    if text.lstrip()[:1] in ("{", "["):
        import json  # noqa: PLC0415 only such values pay for it

        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return str(text)
    return str(text)


class TomlFile:
    """A settings file, read.

    Args:
        path: Where it stands.
        text: Its content.
        prefix: The table in it that holds the settings: ``("tool", "undaunted")`` in pyproject.toml.

    Raises:
        TomlError: It is not TOML.
    """

    def __init__(self, path: str, text: str, prefix: tuple[str, ...] = ()) -> None:
        self.path = path
        self._text = text
        self._prefix = prefix
        self._content = parse(text)

    def table(self) -> object:
        """The settings in it; None when it holds none."""
        value: object = self._content
        for key in self._prefix:
            value = cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None
        return value

    def line(self, key: tuple[str, ...]) -> int | None:
        """The line, from 1, of a setting or of the first setting below it."""
        wanted = (*self._prefix, *key)
        return min((line for at, line in self._lines.items() if at[: len(wanted)] == wanted), default=None)

    @cached_property
    def _lines(self) -> Mapping[tuple[str, ...], int]:
        lines: dict[tuple[str, ...], int] = {}
        header: tuple[str, ...] = ()
        for number, statement in _statements(self._text):
            if statement.lstrip().startswith("["):
                [(header, _)] = _leaves(parse(statement))
                lines.setdefault(header, number)
            else:
                lines |= {(*header, *at): number for at, _ in _leaves(parse(statement))}
        return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Split TOML that is known to parse: a statement is the fewest lines that parse by themselves."""
    begun, statement = 0, ""
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        begun, statement = (begun, statement + line) if statement else (number, line)
        try:
            content = parse(statement)
        except TomlError:
            continue
        if content:
            yield begun, statement
        statement = ""


def _leaves(table: Mapping[str, Any], at: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what is not a table, and tables that are empty."""
    for key, value in table.items():
        here = (*at, key)
        if isinstance(value, dict) and value:
            yield from _leaves(cast("dict[str, Any]", value), here)
        else:
            yield here, value
