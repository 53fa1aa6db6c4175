"""The moment until which a call, every wait included, must have ended."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Deadline", "earlier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A moment, and the length that was asked for when it was set.

    Attributes:
        at_s: The moment, in seconds of the clock that set it.
        length_s: Seconds from setting it to the moment; what the user wrote.
    """

    at_s: float
    length_s: float

    @classmethod
    def after(cls, length_s: float, *, now_s: float) -> Deadline:
        """The deadline `length_s` seconds from now."""
        return cls(at_s=now_s + length_s, length_s=length_s)

    def remaining_s(self, now_s: float) -> float:
        """Seconds left; 0 once it has passed."""
        return max(0.0, self.at_s - now_s)


def earlier(first: Deadline | None, second: Deadline | None) -> Deadline | None:
    """The one that comes first; an inner deadline never outlasts the one around it."""
    if first is None or second is None:
        return first or second
    return first if first.at_s <= second.at_s else second
