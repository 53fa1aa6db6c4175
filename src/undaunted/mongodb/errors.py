"""The errors of this backend: each is undaunted's class and pymongo's at once.

An ``except pymongo.errors.AutoReconnect`` written for the plain driver goes on catching what it caught.
"""

from __future__ import annotations

import pymongo.errors

from undaunted import errors
from undaunted.engine.guard import ErrorClasses

__all__ = [
    "BudgetExhausted",
    "CredentialsRefused",
    "DeadlineExceeded",
    "Exhausted",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "error_classes",
]


class OutcomeUnknown(errors.OutcomeUnknown, pymongo.errors.AutoReconnect):
    """The write was sent and no answer says whether it was applied. Look before you run it again.

    It was not run again, because that could apply it twice. Read the document to see what happened, or declare
    the operation idempotent with ``undaunted.options(idempotent=True)`` where running it twice does no harm.
    """


class Exhausted(errors.Exhausted, pymongo.errors.AutoReconnect):
    """Every attempt that was allowed has failed. Raise `retry.attempts`, or mend the nodes named here."""


class DeadlineExceeded(errors.DeadlineExceeded, pymongo.errors.NetworkTimeout):
    """The call's deadline passed. Raise `retry.deadline`, or look why the nodes named here are slow."""


class NoNodeAvailable(errors.NoNodeAvailable, pymongo.errors.ServerSelectionTimeoutError):
    """No node can serve this call, and the outage is older than `retry.fail_fast_after`. Start a node."""


class BudgetExhausted(errors.BudgetExhausted, pymongo.errors.AutoReconnect):
    """The cluster's retry budget is empty, so nothing was run again. Mend the nodes, or raise `budget.capacity`."""


class CredentialsRefused(errors.ConfigurationError, pymongo.errors.OperationFailure):
    """A node refuses the login. Correct `credentials` of the cluster; it was tried once, and is not tried again."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        # Again, since the way through our own classes knows no code.
        pymongo.errors.OperationFailure.__init__(self, message, code)


def error_classes() -> ErrorClasses:
    """The classes that the engine raises for this backend."""
    return ErrorClasses(
        outcome_unknown=OutcomeUnknown,
        deadline_exceeded=DeadlineExceeded,
        no_node_available=NoNodeAvailable,
        budget_exhausted=BudgetExhausted,
        exhausted=Exhausted,
    )
