"""What happens to a cluster and to the calls on it, one frozen dataclass an event.

May import `undaunted.core` and `undaunted.errors`. Nothing of the user's data and no secret is in an event.
"""

from __future__ import annotations

from undaunted.events.bus import Bus
from undaunted.events.event import (
    AcknowledgedLost,
    BreakerClosed,
    BreakerHalfOpened,
    BreakerOpened,
    BudgetEmptied,
    CallFailed,
    CallRecovered,
    CursorResumed,
    DurabilityWeakened,
    Event,
    FailoverCompleted,
    NodeFound,
    NodeLost,
    OutageBegan,
    OutageEnded,
    OutcomeLeftUnknown,
    PrimaryFound,
    PrimaryLost,
    RetryScheduled,
    TwoPrimaries,
)

__all__ = [
    "AcknowledgedLost",
    "BreakerClosed",
    "BreakerHalfOpened",
    "BreakerOpened",
    "BudgetEmptied",
    "Bus",
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
