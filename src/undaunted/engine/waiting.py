"""The calls of a cluster that wait: for another attempt, or for a node that could serve them."""

from __future__ import annotations

import sys
import threading
from typing import Any

__all__ = ["Waiting"]


class Waiting:
    """One per cluster. A call is entered once it has met a failure, so the way to success pays nothing.

    A thread, or a task, waits for one call at a time, so it is entered once, by the first that finds it waiting. Each
    method is one step of a dict's own, so threads need no lock.
    """

    __slots__ = ("_since_s",)

    def __init__(self) -> None:
        self._since_s: dict[object, float] = {}

    def begun(self, since_s: float) -> object | None:
        """Enter who runs here, as waiting since a monotonic time; returns what `ended` takes."""
        who = _who()
        if who in self._since_s:
            return None
        self._since_s[who] = since_s
        return who

    def ended(self, who: object | None) -> None:
        """Strike it out. None is what an earlier entry will strike out; may be called twice."""
        if who is not None:
            self._since_s.pop(who, None)

    def forget(self) -> None:
        """Strike out all, as in a forked child, where none of them runs."""
        self._since_s = {}

    def as_dict(self, now_s: float) -> dict[str, Any]:
        """How many there are, and for how long the oldest has been at it, as plain data for JSON."""
        since = self._since_s.copy().values()
        return {"calls": len(since), "longest_s": round(max(0.0, now_s - min(since)), 3) if since else 0.0}


def _who() -> object:
    asyncio = sys.modules.get("asyncio")  # who has not imported it has no tasks
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread
            task = None
        if task is not None:
            return id(task), "task"
    return threading.get_ident()
