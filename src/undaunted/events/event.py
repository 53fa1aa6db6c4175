"""The events. Every one names its cluster and backend, and when it happened on the wall clock."""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undaunted.core.fault import Fault

__all__ = [
    "AcknowledgedLost",
    "BreakerClosed",
    "BreakerHalfOpened",
    "BreakerOpened",
    "BudgetEmptied",
    "CallFailed",
    "CallRecovered",
    "CursorResumed",
    "DurabilityWeakened",
    "Event",
    "FailoverCompleted",
    "NodeFound",
    "NodeLost",
    "OutageBegan",
    "OutageEnded",
    "OutcomeLeftUnknown",
    "PrimaryFound",
    "PrimaryLost",
    "RetryScheduled",
    "TwoPrimaries",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened to a cluster.

    Attributes:
        cluster: Name of the cluster.
        backend: Name of its backend.
        at: Seconds since the epoch, by the wall clock.
    """

    cluster: str
    backend: str
    at: float = field(default_factory=time.time)

    def as_dict(self) -> dict[str, Any]:
        """The event as plain data for JSON, its class under ``"event"``."""
        plain: dict[str, Any] = {"event": type(self).__name__}
        for each in fields(self):
            value = getattr(self, each.name)
            plain[each.name] = value.value if isinstance(value, enum.Enum) else value
        return plain


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled(Event):
    """A failed attempt will be followed by another.

    Attributes:
        operation: The database's name of the command.
        attempt: Number of the attempt that failed, from 1.
        node: The node that was asked, or None.
        fault: What the error meant.
        error: Class name of the driver's error.
        delay_s: Seconds until the next attempt.
        is_hop: Whether it goes to another node.
    """

    operation: str
    attempt: int
    node: str | None
    fault: Fault
    error: str
    delay_s: float
    is_hop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecovered(Event):
    """A call succeeded after it had failed.

    Attributes:
        operation: The database's name of the command.
        node: The node that served it, or None where that is not known.
        attempts: Attempts made, the successful one included.
        elapsed_s: Seconds from the first failure to the success.
    """

    operation: str
    node: str | None
    attempts: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed(Event):
    """A call was given up, and its caller got an error.

    Attributes:
        operation: The database's name of the command.
        node: The node that was asked last, or None.
        attempts: Attempts made.
        elapsed_s: Seconds from the start of the call.
        reason: Why it was not run again, such as ``"deadline"`` or ``"budget"``.
        error: Class name of what was raised.
    """

    operation: str
    node: str | None
    attempts: int
    elapsed_s: float
    reason: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeLeftUnknown(CallFailed):
    """A write was sent and never answered, and its caller got `OutcomeUnknown`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetEmptied(Event):
    """A re-run could not be paid for. Published once, until the budget has been half full again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerOpened(Event):
    """A node is left alone for a while, since it does not answer.

    Attributes:
        node: The node.
        open_s: Seconds until the first probe.
    """

    node: str
    open_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerHalfOpened(Event):
    """One probe is on its way to a node that was left alone.

    Attributes:
        node: The node.
    """

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerClosed(Event):
    """A node answers again.

    Attributes:
        node: The node.
    """

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryLost(Event):
    """No node takes writes any more.

    Attributes:
        node: The node that took them, or None where that is not known.
    """

    node: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryFound(Event):
    """A node takes writes.

    Attributes:
        node: That node.
    """

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLost(Event):
    """A node answers no more.

    Attributes:
        node: The node.
        reason: Class name of the error that showed it, or None.
    """

    node: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFound(Event):
    """A node answers.

    Attributes:
        node: The node.
        role: What it does now.
    """

    node: str
    role: str = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverCompleted(Event):
    """Another node has taken over.

    Attributes:
        from_node: The node that was lost, or None where that is not known.
        to_node: The node that took over.
        elapsed_s: Seconds without either.
    """

    from_node: str | None
    to_node: str
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageBegan(Event):
    """No node of the cluster answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageEnded(Event):
    """A node of the cluster answers again.

    Attributes:
        elapsed_s: Seconds without any.
    """

    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorResumed(Event):
    """A scan whose node was lost goes on elsewhere, after the last document that was delivered.

    Attributes:
        node: The node that was lost, or None where that is not known.
        delivered: Documents delivered so far.
    """

    node: str | None = None
    delivered: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoPrimaries(Event):
    """Several nodes say that they take writes: one of them was replaced, and has come back or was never told.

    Attributes:
        nodes: All of them.
        chosen: The one that writes go to, that of the newest timeline; None where it cannot be told which is right.
    """

    nodes: tuple[str, ...]
    chosen: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcknowledgedLost(Event):
    """The node that takes writes lacks transactions whose COMMIT had been answered.

    Attributes:
        node: That node.
        from_node: The node that had answered, or None where that is not known.
        lost_bytes: Bytes of the log that are missing, at least.
    """

    node: str
    from_node: str | None = None
    lost_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DurabilityWeakened(Event):
    """A COMMIT was answered although no other node had confirmed it: its wait for a synchronous standby was cancelled.

    Attributes:
        node: The node that answered; were it lost now, the transaction would be, too.
    """

    node: str | None = None
