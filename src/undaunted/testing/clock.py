"""Time that passes only when it is told to, so that a test of a long outage takes no time."""

from __future__ import annotations

import asyncio
import threading

__all__ = ["VirtualClock"]


class VirtualClock:
    """A clock whose `sleep` returns at once, having moved the time on. Safe to share between threads.

    Give it to a `Guard` as ``clock=clock, sleep=clock.sleep, async_sleep=clock.async_sleep``.

    Args:
        start_s: What it shows at first, in seconds.
    """

    __slots__ = ("_lock", "_now_s")

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s
        self._lock = threading.Lock()

    def monotonic(self) -> float:
        """Seconds that it shows."""
        return self._now_s

    def advance(self, by_s: float) -> None:
        """Move the time on.

        Raises:
            ValueError: The time would go back.
        """
        if not by_s >= 0:
            raise ValueError(f"time cannot pass by {by_s} s: a monotonic clock never goes back")
        with self._lock:
            self._now_s += by_s

    def sleep(self, for_s: float) -> None:
        """Pass the time at once, as `time.sleep` would slowly."""
        self.advance(for_s)

    async def async_sleep(self, for_s: float) -> None:
        """Pass the time, and let other tasks run."""
        self.advance(for_s)
        await asyncio.sleep(0)
