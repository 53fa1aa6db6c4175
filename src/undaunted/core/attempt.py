"""One try of an operation, as it is told to the caller afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undaunted.core.fault import Fault

__all__ = ["Attempt", "Failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What a backend's classifier says of one error.

    Attributes:
        fault: What the error means for the operation.
        node: The node that was asked, as ``"host:port"``; None when none had been chosen.
        cost: Budget tokens that running it again costs; 0 for contention between transactions,
            which is no sign of a failing cluster.
        counted: Whether the execution counts against `Policy.attempts`. False for what never
            reached a server and for a wait for a new primary.
        has_waited: Whether the try was itself a wait for what mends itself, such as a dead replica that is not known
            to be dead; then hardly any wait stands before the next one.
    """

    fault: Fault
    node: str | None = None
    cost: float = 1.0
    counted: bool = True
    has_waited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One failed try: which node, what the fault was, how long it took, and the error itself.

    Attributes:
        node: The node that was asked, as ``"host:port"``, or None when none had been chosen.
        fault: What the error meant for the operation.
        elapsed_s: Seconds from the start of this try to its error.
        error: The driver's own exception.
    """

    node: str | None
    fault: Fault
    elapsed_s: float
    error: BaseException
