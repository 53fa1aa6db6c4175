"""How long to wait before an operation is run again; chance is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undaunted.core.policy import Backoff

__all__ = ["ceiling_s", "equal_jitter_s", "full_jitter_s"]


def ceiling_s(backoff: Backoff, retries: int) -> float:
    """The longest wait before re-run number `retries`, counted from 0: ``min(max_s, initial_s * multiplier ** n)``."""
    try:
        return min(backoff.max_s, backoff.initial_s * backoff.multiplier**retries)
    except OverflowError:  # hundreds of re-runs within one long deadline
        return backoff.max_s


def full_jitter_s(backoff: Backoff, retries: int, chance: float) -> float:
    """A wait drawn from ``U(0, ceiling)``, which spreads callers best (see `ceiling_s`).

    Args:
        backoff: Initial and longest wait, and the factor between two.
        retries: Re-runs made so far, the exponent.
        chance: A number in [0, 1).
    """
    return chance * ceiling_s(backoff, retries)


def equal_jitter_s(length_s: float, chance: float) -> float:
    """A wait drawn from ``U(length_s / 2, length_s)``: never nothing, and never in step with others."""
    return length_s * (0.5 + chance / 2.0)
