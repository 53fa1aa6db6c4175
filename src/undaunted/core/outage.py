"""What a cluster lacks now, and since when: the gate that lets calls fail in milliseconds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from undaunted.core.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from undaunted.core.clock import Clock

__all__ = ["Outage"]


class Outage:
    """One per cluster. The backend tells it what its monitors see; the engine asks how long it has lasted.

    Each teller returns whether it was news, so that an event is published once. Safe to share between threads.

    Attributes:
        is_over: False while a primary or every node is missing; read without a lock on each call.
    """

    __slots__ = ("_clock", "_lock", "_without_node_since", "_without_primary_since", "is_over")

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._without_primary_since: float | None = None
        self._without_node_since: float | None = None
        self.is_over = True

    @property
    def without_primary_since(self) -> float | None:
        """When the writable node was lost, on the clock given; None while there is one."""
        return self._without_primary_since

    @property
    def without_node_since(self) -> float | None:
        """When the last node was lost, on the clock given; None while there is any."""
        return self._without_node_since

    def primary_lost(self) -> bool:
        """No node can take writes."""
        with self._lock:
            is_news = self._without_primary_since is None
            if is_news:
                self._without_primary_since = self._clock.monotonic()
                self.is_over = False
            return is_news

    def primary_found(self) -> bool:
        """A node can take writes, and so there is a node."""
        with self._lock:
            is_news = self._without_primary_since is not None
            self._without_primary_since = self._without_node_since = None
            self.is_over = True
            return is_news

    def all_lost(self) -> bool:
        """No node at all answers, and so none can take writes."""
        with self._lock:
            is_news = self._without_node_since is None
            now_s = self._clock.monotonic()
            if is_news:
                self._without_node_since = now_s
            if self._without_primary_since is None:
                self._without_primary_since = now_s
            self.is_over = False
            return is_news

    def any_found(self) -> bool:
        """A node answers, though perhaps none that takes writes."""
        with self._lock:
            is_news = self._without_node_since is not None
            self._without_node_since = None
            self.is_over = self._without_primary_since is None
            return is_news

    def age_s(self, *, needs_primary: bool = True) -> float:
        """Seconds for which what an operation needs has been missing; 0 while it is there."""
        since_s = self._without_primary_since if needs_primary else self._without_node_since
        return 0.0 if since_s is None else max(0.0, self._clock.monotonic() - since_s)

    def reset(self) -> None:
        """Forget what was told, as after a fork: the child's own monitors will tell anew."""
        with self._lock:
            self._without_primary_since = self._without_node_since = None
            self.is_over = True

    def after_fork_in_child(self) -> None:
        """Begin anew: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self.reset()
