"""What a visitor is told when a database cannot serve his request now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.errors import Exhausted, OutcomeUnknown
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from undaunted.config.web import WebSettings

__all__ = ["Failure", "failure_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An answer that says: not now, try again.

    Attributes:
        retry_after_s: What to give as ``Retry-After``, in whole seconds.
        title: A heading for people.
        detail: A sentence for people; names no node, no data and nothing of the request.
        status: The status of HTTP.
    """

    retry_after_s: int
    title: str = "Temporarily unavailable"
    detail: str = ""
    status: int = 503


def failure_of(error: BaseException, web: WebSettings | None = None) -> Failure | None:
    """Say what to answer when a request has ended with this error.

    Args:
        error: What the request has ended with.
        web: The section ``[web]`` of the application; None means that of this process.

    Returns:
        The answer for `NoNodeAvailable`, `DeadlineExceeded` and `BudgetExhausted`. None for everything else, which
        must pass on; `OutcomeUnknown` above all, since only the application knows what to say of a write that may
        have happened.
    """
    if isinstance(error, OutcomeUnknown) or not isinstance(error, Exhausted):
        return None
    after_s = max(1, math.ceil((web or REGISTRY.loaded.settings.web).retry_after))
    plural = "second" if after_s == 1 else "seconds"
    return Failure(
        retry_after_s=after_s,
        detail=f"A database that this page needs does not answer in time. Please try again in {after_s} {plural}.",
    )
