"""How hard to try: the numbers that a decision weighs, all durations in seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Backoff", "BreakerPolicy", "BudgetPolicy", "HedgePolicy", "Policy", "Reads"]

Reads = Literal["primary", "fallback", "replica", "any"]
"""Where reads go: the writable node; it, and a replica while there is none; replicas; whichever is near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Full jitter: the n-th wait is drawn from ``U(0, min(max_s, initial_s * multiplier ** n))``."""

    initial_s: float = 0.05
    max_s: float = 2.0
    multiplier: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPolicy:
    """The retry budget of one cluster: a bucket of tokens that charged retries empty.

    Attributes:
        capacity: Tokens at the start and at most; choose it above the number of concurrent callers.
        deposit: Tokens added by each success.
        refill_per_s: Tokens added each second, the floor that keeps a quiet client retrying.
    """

    capacity: float = 100.0
    deposit: float = 0.1
    refill_per_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a node's breaker opens, and for how long.

    Attributes:
        consecutive_failures: Failures in a row that open it.
        failure_rate: Share of failed calls within the window that opens it.
        minimum_calls: Calls within the window before the rate counts.
        window_s: Length of the window.
        open_initial_s: How long it stays open the first time; doubled each time after.
        open_max_s: The longest it stays open.
    """

    consecutive_failures: int = 5
    failure_rate: float = 0.5
    minimum_calls: int = 20
    window_s: float = 10.0
    open_initial_s: float = 5.0
    open_max_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgePolicy:
    """A second read sent when the first is slower than usual; off by default."""

    enabled: bool = False
    quantile: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything that bounds one call.

    Attributes:
        attempts: Executions that may have reached a server, the first counted.
        deadline_s: Seconds for the whole call, every wait included.
        backoff: Waits between executions on the same node, and while a new primary is awaited.
        fail_fast_after_s: Age of a total outage after which calls fail at once. None means the
            larger of 15 s and the call's own deadline: who asked for a longer deadline asked to wait.
        idempotent: Declared by the caller for its writes; None leaves it to the backend.
        reads: Where reads go.
        many_writes: Whether a write to many documents runs in a transaction of its own, which
            makes it safe to run again, or plainly.
    """

    attempts: int = 3
    deadline_s: float = 15.0
    backoff: Backoff = field(default_factory=Backoff)
    fail_fast_after_s: float | None = None
    idempotent: bool | None = None
    reads: Reads = "primary"
    many_writes: Literal["transaction", "plain"] = "transaction"

    @property
    def patience_s(self) -> float:
        """Age of a total outage, in seconds, after which a call under this policy fails at once."""
        if self.fail_fast_after_s is not None:
            return self.fail_fast_after_s
        return max(15.0, self.deadline_s)
