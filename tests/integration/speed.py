"""Bounds on times, on a machine that may stand still for a moment.

Whatever is lost, doubled, raised or wrong counts at once. That something took too long counts when it has done so twice
in a row: the test is called again (`tests/integration/conftest.py`), and both times are in its report.
"""

from __future__ import annotations

__all__ = ["TooSlow", "within"]


class TooSlow(AssertionError):
    """Something took longer than it may."""


def within(took_s: float, most_s: float, what: object = "") -> None:
    """Check that something took no longer than it may, in seconds."""
    if not took_s <= most_s:
        raise TooSlow(f"{took_s:.3f} s, and {most_s:.3f} s at the most{f': {what}' if what != '' else ''}")
