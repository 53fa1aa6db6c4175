"""What only failures need, imported before there is one.

Success needs neither the books of a recovery nor tenacity, so importing `undaunted` leaves them out. Who first meets a
frozen node would import them then, with all who met it together behind the lock of that import: on a busy machine a
quarter of a second on top of the timeout. A backend calls this where it begins to connect, which takes longer anyway.
"""

from __future__ import annotations

import importlib

__all__ = ["load_ahead"]

_ONLY_FOR_FAILURES = ("undaunted.engine.recovery", "tenacity")


def load_ahead() -> None:
    """Import what a failed attempt will need; costs 50 ms once in a process, and nothing where that has been done.

    In the caller's thread, and not in one of its own: a process that forks while another thread imports a module has a
    child that can never import it.
    """
    for name in _ONLY_FOR_FAILURES:
        importlib.import_module(name)
