"""The breaker of one node: stops asking a node that does not answer, and finds out with one probe when it does again.

It steers only; whether an operation is run again at all is the budget's and the decision's affair.
"""

from __future__ import annotations

import enum
import random
import threading
from collections import deque
from typing import TYPE_CHECKING

from undaunted.core.backoff import equal_jitter_s
from undaunted.core.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.core.clock import Clock
    from undaunted.core.policy import BreakerPolicy

__all__ = ["Breaker", "BreakerState"]


class BreakerState(enum.Enum):
    """Where a breaker stands."""

    CLOSED = "closed"
    """Calls go to the node."""

    OPEN = "open"
    """The node is left alone."""

    HALF_OPEN = "half-open"
    """One probe at a time finds out whether the node has recovered."""


class Breaker:
    """One per node, safe to share between threads.

    It opens after so many failures in a row, which a quiet client needs, or after so large a share of failed
    calls, which a busy one needs. The share is that of the calls since the first failure within the window, so
    a node without failures costs no bookkeeping.

    The probe is a lease, not a flag: a probe that was cancelled or forgotten cannot wedge the breaker, since
    another may be had once the lease (`BreakerPolicy.open_initial_s`) has run out.

    Args:
        policy: When it opens and for how long.
        clock: Tells monotonic time.
        chance: Gives a number in [0, 1) for the jitter of the opening time.
        notify: Called, outside the lock, with the old and the new state after each change.
    """

    __slots__ = (
        "_chance", "_clock", "_failures", "_lease_until_s", "_lock", "_notify", "_open_s", "_opened_times",
        "_policy", "_slots", "_state", "_until_s",
    )  # fmt: skip

    def __init__(
        self,
        policy: BreakerPolicy,
        clock: Clock = SYSTEM_CLOCK,
        chance: Callable[[], float] = random.random,
        *,
        notify: Callable[[BreakerState, BreakerState], None] | None = None,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._notify = notify
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        self._failures = self._opened_times = 0
        self._open_s = self._until_s = self._lease_until_s = 0.0
        self._slots: deque[list[float]] = deque()  # [start_s, calls, failures], each a tenth of the window

    @property
    def state(self) -> BreakerState:
        """Where it stands; `OPEN` until a probe has been asked for, even when one would be allowed."""
        return self._state

    @property
    def open_s(self) -> float:
        """Seconds for which it was opened last; 0 while closed."""
        return self._open_s

    def allows(self) -> bool:
        """Whether a call may go to the node now. While not closed, True is the lease of the one probe."""
        if self._state is BreakerState.CLOSED:
            return True
        with self._lock:
            before = self._state  # here, so that of all who ask at once only the one who changes it tells of it
            is_allowed = self._lease(self._clock.monotonic())
            after = self._state
        self._tell(before, after)
        return is_allowed

    def success(self) -> None:
        """The node answered. Closes it when half-open; an answer that comes while it is open is an old one."""
        if self._state is BreakerState.CLOSED and not self._slots:
            return
        with self._lock:
            before = self._state
            if before is BreakerState.HALF_OPEN:
                self._close()
            elif before is BreakerState.CLOSED:
                self._failures = 0
                self._count(self._clock.monotonic(), failed=0)
            after = self._state
        self._tell(before, after)

    def failure(self) -> None:
        """The node did not answer. May open it; opens it again, for twice as long, when half-open."""
        with self._lock:
            before = self._state
            now_s = self._clock.monotonic()
            if before is BreakerState.HALF_OPEN:
                self._open(now_s)
            elif before is BreakerState.CLOSED:
                self._failures += 1
                self._count(now_s, failed=1)
                if self._is_failing():
                    self._open(now_s)
            after = self._state
        self._tell(before, after)

    def after_fork_in_child(self) -> None:
        """Begin anew and closed: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        self._close()

    def _lease(self, now_s: float) -> bool:
        if self._state is BreakerState.CLOSED:  # closed by another thread in the meantime
            return True
        waits_until_s = self._until_s if self._state is BreakerState.OPEN else self._lease_until_s
        if now_s < waits_until_s:
            return False
        self._state = BreakerState.HALF_OPEN
        self._lease_until_s = now_s + self._policy.open_initial_s
        return True

    def _close(self) -> None:
        self._state = BreakerState.CLOSED
        self._failures = self._opened_times = 0
        self._open_s = self._until_s = self._lease_until_s = 0.0
        self._slots.clear()

    def _open(self, now_s: float) -> None:
        # Doubling is capped before it is done: 2.0**1024 would overflow after a long outage.
        longest = self._policy.open_initial_s * 2.0 ** min(self._opened_times, 30)
        self._state = BreakerState.OPEN
        self._open_s = equal_jitter_s(min(self._policy.open_max_s, longest), self._chance())
        self._until_s = now_s + self._open_s
        self._opened_times += 1
        self._slots.clear()

    def _count(self, now_s: float, *, failed: int) -> None:
        slots = self._slots
        while slots and (slots[0][0] <= now_s - self._policy.window_s or not slots[0][2]):
            slots.popleft()  # too old, or before the first failure that is left
        if not slots and not failed:
            return
        if not slots or now_s >= slots[-1][0] + self._policy.window_s / 10:
            slots.append([now_s, 0, 0])
        slots[-1][1] += 1
        slots[-1][2] += failed

    def _is_failing(self) -> bool:
        if self._failures >= self._policy.consecutive_failures:
            return True
        calls = sum(slot[1] for slot in self._slots)
        failures = sum(slot[2] for slot in self._slots)
        return calls >= self._policy.minimum_calls and failures >= calls * self._policy.failure_rate

    def _tell(self, before: BreakerState, after: BreakerState) -> None:
        if self._notify is not None and before is not after:
            self._notify(before, after)
