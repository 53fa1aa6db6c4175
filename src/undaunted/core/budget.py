"""The retry budget of a cluster: what keeps retries from becoming a storm.

A bucket of tokens. A charged re-run takes one; each success puts a tenth back, and time one a second.
Under total failure the executions sent are therefore at most the calls made, plus the capacity, plus
one a second.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from undaunted.core.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from undaunted.core.clock import Clock
    from undaunted.core.policy import BudgetPolicy

__all__ = ["Budget"]


class Budget:
    """A bucket of tokens, safe to share between threads; `tokens` is never negative and never above the capacity.

    Attributes:
        is_full: Whether a deposit would change nothing, as in a healthy cluster; read without a lock on each call.
    """

    __slots__ = ("_capacity", "_clock", "_has_told", "_lock", "_policy", "_tokens", "_updated_s", "is_full")

    def __init__(self, policy: BudgetPolicy, clock: Clock = SYSTEM_CLOCK) -> None:
        self._policy = policy
        self._clock = clock
        self._capacity = policy.capacity
        self._tokens = policy.capacity
        self.is_full = True
        self._updated_s = clock.monotonic()
        self._has_told = False
        self._lock = threading.Lock()

    @property
    def capacity(self) -> float:
        """Tokens at most."""
        return self._capacity

    @property
    def tokens(self) -> float:
        """Tokens now."""
        with self._lock:
            self._refill()
            return self._tokens

    def deposit(self) -> None:
        """Put back what a success earns."""
        if self.is_full:
            return
        with self._lock:
            self._refill()
            self._add(self._policy.deposit)

    def can_pay(self, cost: float) -> bool:
        """Whether `cost` tokens are there now; another thread may take them before `pay` does."""
        return cost <= 0 or self.tokens >= cost

    def pay(self, cost: float) -> bool:
        """Take `cost` tokens, all or none; False when they are not there."""
        if cost <= 0:
            return True
        with self._lock:
            self._refill()
            if self._tokens < cost:
                return False
            self._tokens -= cost
            self.is_full = False
            return True

    def tell_empty(self) -> bool:
        """Whether its emptiness is news: True once, until it has been half full again."""
        with self._lock:
            is_news = not self._has_told
            self._has_told = True
            return is_news

    def after_fork_in_child(self) -> None:
        """Begin anew: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._tokens = self._capacity
        self.is_full = True
        self._updated_s = self._clock.monotonic()
        self._has_told = False

    def _refill(self) -> None:
        now_s = self._clock.monotonic()
        elapsed_s = now_s - self._updated_s
        if elapsed_s > 0:
            self._updated_s = now_s
            self._add(elapsed_s * self._policy.refill_per_s)

    def _add(self, tokens: float) -> None:
        self._tokens = min(self._capacity, self._tokens + tokens)
        self.is_full = self._tokens >= self._capacity
        if self._has_told and self._tokens >= self._capacity / 2:
            self._has_told = False
