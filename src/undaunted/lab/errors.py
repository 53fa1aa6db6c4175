"""The one error of the lab."""

from __future__ import annotations

from undaunted.errors import UndauntedError

__all__ = ["LabError"]


class LabError(UndauntedError):
    """The lab could not do what was asked; the message says what was found and what to do."""
