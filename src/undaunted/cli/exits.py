"""How the commands exit; the same numbers mean the same everywhere."""

from __future__ import annotations

__all__ = ["DEGRADED", "DOWN", "FINE", "WRONG_SETTINGS"]

FINE = 0
"""All is well, or was done."""

DEGRADED = 1
"""Something is not as it should be, or is still to be done, and applications work."""

DOWN = 2
"""Applications cannot work, or what was asked for was refused; click's own code for a wrong command line, too."""

WRONG_SETTINGS = 3
"""The settings have mistakes, or there are none."""
