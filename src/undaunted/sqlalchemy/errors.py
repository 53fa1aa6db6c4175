"""The errors of this backend: each is undaunted's class and SQLAlchemy's at once.

An ``except sqlalchemy.exc.OperationalError`` written for plain SQLAlchemy goes on catching what it caught. None of them
carries a statement, its parameters or the server's words: `attempts` lists what was met, by node and meaning.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy.exc

from undaunted import errors
from undaunted.engine.guard import ErrorClasses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from undaunted.core.attempt import Attempt

__all__ = [
    "BudgetExhausted",
    "CommitRolledBack",
    "CredentialsRefused",
    "DeadlineExceeded",
    "Exhausted",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "UnusableCluster",
    "error_classes",
]


class _Ours(sqlalchemy.exc.DBAPIError):
    """What makes an error of ours one of SQLAlchemy's: its attributes are there, and empty."""

    attempts: tuple[Attempt, ...]

    def __init__(self, message: str | None = None, /, *, attempts: Iterable[Attempt] = ()) -> None:
        text = message or inspect.getdoc(type(self)) or type(self).__name__
        # Named, since the next class in line is undaunted's, which knows nothing of statements.
        sqlalchemy.exc.StatementError.__init__(self, text, None, None, None, hide_parameters=True)
        self.__dict__["code"] = None  # else a link to a page that explains something else
        self.attempts = tuple(attempts)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without the drivers' own errors, which hold statements and cannot all be pickled."""
        bare = tuple(replace(each, error=Exception(type(each.error).__name__)) for each in self.attempts)
        return (_restored, (type(self), self.args[0], bare))


def _restored(kind: type[_Ours], message: str, attempts: tuple[Attempt, ...]) -> _Ours:
    return kind(message, attempts=attempts)


class OutcomeUnknown(_Ours, errors.OutcomeUnknown, sqlalchemy.exc.OperationalError):
    """The COMMIT was sent and no answer says whether it was applied. Look before you run it again.

    It was not run again, because that could apply it twice. Read the data to see what happened, or let the unit of work
    have its key row (``key="row"``), with which that is found out.
    """


class Exhausted(_Ours, errors.Exhausted, sqlalchemy.exc.OperationalError):
    """Every attempt that was allowed has failed. Raise `retry.attempts`, or mend the nodes named here."""


class DeadlineExceeded(_Ours, errors.DeadlineExceeded, sqlalchemy.exc.OperationalError):
    """The call's deadline passed. Raise `retry.deadline`, or look why the nodes named here are slow."""


class NoNodeAvailable(_Ours, errors.NoNodeAvailable, sqlalchemy.exc.OperationalError):
    """No node can serve this call, and the outage is older than `retry.fail_fast_after`. Start a node."""


class BudgetExhausted(_Ours, errors.BudgetExhausted, sqlalchemy.exc.OperationalError):
    """The cluster's retry budget is empty, so nothing was run again. Mend the nodes, or raise `budget.capacity`."""


class CredentialsRefused(_Ours, errors.ConfigurationError, sqlalchemy.exc.OperationalError):
    """A node refuses the login. Correct the user and password in `url`; calls do not try them again."""

    problems: tuple[errors.Problem, ...] = ()


class UnusableCluster(_Ours, errors.ConfigurationError, sqlalchemy.exc.OperationalError):
    """The nodes answer, and they are not what the settings say. Correct the settings named here."""

    problems: tuple[errors.Problem, ...] = ()


class CommitRolledBack(_Ours, errors.UndauntedError, sqlalchemy.exc.InternalError):
    """The transaction had failed before its COMMIT, so the server would have answered with ROLLBACK: nothing is stored.

    A statement of it failed, and its error was caught; roll back where you catch it, or use a savepoint
    (``session.begin_nested()``) around what may fail.
    """


def error_classes() -> ErrorClasses:
    """The classes that the engine raises for this backend."""
    return ErrorClasses(
        outcome_unknown=OutcomeUnknown,
        deadline_exceeded=DeadlineExceeded,
        no_node_available=NoNodeAvailable,
        budget_exhausted=BudgetExhausted,
        exhausted=Exhausted,
    )
