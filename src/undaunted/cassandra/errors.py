"""The errors of this backend: each is undaunted's class and the driver's at once.

An ``except (NoHostAvailable, OperationTimedOut)`` written for the plain driver goes on catching what it caught.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import cassandra
from cassandra.cluster import NoHostAvailable

from undaunted import errors
from undaunted.engine.guard import ErrorClasses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from undaunted.core.attempt import Attempt

__all__ = [
    "BudgetExhausted",
    "CredentialsRefused",
    "DeadlineExceeded",
    "Exhausted",
    "ImpossibleConsistency",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "UnknownKeyspace",
    "UnusableCluster",
    "error_classes",
]


class _Native:
    """What the driver's own classes carry beside their message: the last error of each node.

    Attributes:
        errors: Node to its last error.
        last_host: The node that was asked last, as ``"host:port"``, or None.
        applied: Statements of the same call that had been applied before, such as ``"UPDATE of log, name"``; a
            `save()` that nulls columns needs two.
    """

    applied: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...]
    errors: Any
    last_host: Any

    def __init__(self, message: str | None = None, /, *, attempts: Iterable[Attempt] = ()) -> None:
        tries = tuple(attempts)
        # Past the constructors of the driver's classes: they want what only the driver has.
        Exception.__init__(self, message or inspect.getdoc(type(self)) or type(self).__name__)  # type: ignore[arg-type]
        self.attempts = tries
        self.errors = {attempt.node: attempt.error for attempt in tries}
        self.last_host = tries[-1].node if tries else None


class OutcomeUnknown(_Native, errors.OutcomeUnknown, cassandra.OperationTimedOut):  # type: ignore[misc]  # the driver is untyped
    """The write was sent and no answer says whether it was applied. Look before you run it again.

    It was not run again, because that could apply it twice. Read the row to see what happened, or declare the
    operation idempotent with ``undaunted.options(idempotent=True)`` where running it twice does no harm. A node that
    was frozen may still apply it when it goes on.
    """


class Exhausted(_Native, errors.Exhausted, NoHostAvailable):  # type: ignore[misc]  # the driver is untyped
    """Every attempt that was allowed has failed. Raise `retry.attempts`, or mend the nodes named here."""


class DeadlineExceeded(_Native, errors.DeadlineExceeded, cassandra.OperationTimedOut):  # type: ignore[misc]  # the driver is untyped
    """The call's deadline passed. Raise `retry.deadline`, or look why the nodes named here are slow."""


class NoNodeAvailable(_Native, errors.NoNodeAvailable, NoHostAvailable):  # type: ignore[misc]  # the driver is untyped
    """No node can serve this call, and the outage is older than `retry.fail_fast_after`. Start a node."""


class BudgetExhausted(_Native, errors.BudgetExhausted, NoHostAvailable):  # type: ignore[misc]  # the driver is untyped
    """The cluster's retry budget is empty, so nothing was run again. Mend the nodes, or raise `budget.capacity`."""


class CredentialsRefused(errors.ConfigurationError, cassandra.AuthenticationFailed):  # type: ignore[misc]  # the driver is untyped
    """A node refuses the login. Correct `credentials` of the cluster; it was tried once, and is not tried again."""


class UnusableCluster(errors.ConfigurationError, NoHostAvailable):  # type: ignore[misc]  # the driver is untyped
    """The nodes answer, but not as the settings say. Correct the setting that is named."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.attempts, self.problems = (), ()
        self.errors: dict[Any, BaseException] = {}


class UnknownKeyspace(errors.ConfigurationError, cassandra.InvalidRequest):  # type: ignore[misc]  # the driver is untyped
    """There is no such keyspace. Correct `keyspace`, or make it with ``undaunted provision``."""


class ImpossibleConsistency(errors.ConfigurationError, cassandra.Unavailable):  # type: ignore[misc]  # the driver is untyped
    """A consistency needs more replicas than the keyspace has. Ask for less, or raise the replication factor.

    Attributes:
        consistency: The driver's number of it.
        required_replicas: Replicas that it needs.
        alive_replicas: Replicas that were alive.
    """

    def __init__(self, message: str, refusal: cassandra.Unavailable | None = None) -> None:
        Exception.__init__(self, message)
        self.attempts, self.problems = (), ()
        self.consistency: int | None = getattr(refusal, "consistency", None)
        self.required_replicas: int | None = getattr(refusal, "required_replicas", None)
        self.alive_replicas: int | None = getattr(refusal, "alive_replicas", None)


def error_classes() -> ErrorClasses:
    """The classes that the engine raises for this backend."""
    return ErrorClasses(
        outcome_unknown=OutcomeUnknown,
        deadline_exceeded=DeadlineExceeded,
        no_node_available=NoNodeAvailable,
        budget_exhausted=BudgetExhausted,
        exhausted=Exhausted,
    )
