"""Durations as people write them: ``"50ms"``, ``"5s"``, ``"2m"``, ``"1h"``, or a number of seconds."""

from __future__ import annotations

import math
import re

__all__ = ["seconds"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# ASCII digits only: `\d` would also take digits of other scripts, which no settings file means.
_FORM = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[A-Za-z]*)")
_HINT = "write a number of seconds, or a number with one of the units ms, s, m, h, such as '50ms' or '5s'"


def seconds(value: object) -> float:
    """Return a duration as seconds.

    Args:
        value: A number of seconds, or a string with a unit: ``ms``, ``s``, ``m`` (minutes) or ``h``.
            A string without a unit is seconds, since environment variables know only strings.

    Raises:
        ValueError: It is no duration, negative, infinite, not a number, or its unit is unknown.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        # One class for every mistake: the reader of settings reports them all alike.
        raise ValueError(f"{_shown(value)} is not a duration: {_HINT}")  # noqa: TRY004
    amount = _parsed(value) if isinstance(value, str) else _number(value)
    if not math.isfinite(amount):
        raise ValueError(f"{_shown(value)} is not a finite duration: {_HINT}")
    if amount < 0:
        raise ValueError(f"{_shown(value)} is negative: a duration is zero or more")
    return amount


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an int beyond what a float holds
        return math.inf


def _parsed(text: str) -> float:
    stripped = text.strip()
    if not stripped:
        raise ValueError(f"an empty string is not a duration: {_HINT}")
    if stripped.startswith("-") and _FORM.fullmatch(stripped[1:].lstrip()):
        raise ValueError(f"{_shown(text)} is negative: a duration is zero or more")
    match = _FORM.fullmatch(stripped)
    if match is None:
        raise ValueError(f"{_shown(text)} is not a duration: {_HINT}")
    unit = match["unit"].lower() or "s"
    if unit not in _UNITS:
        raise ValueError(f"{match['unit']!r} in {_shown(text)} is not a unit of time: {_HINT}")
    return float(match["number"]) * _UNITS[unit]


def _shown(value: object) -> str:
    """What was found, short enough for one line of an error."""
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
