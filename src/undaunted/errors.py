"""Every error that undaunted raises of its own.

An error's class docstring is its default remedy. Errors of a backend (`undaunted.mongodb.OutcomeUnknown`
and its siblings) inherit from the class here and from the driver's own class, so an ``except`` clause
written for the driver goes on working.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from undaunted.core.attempt import Attempt

__all__ = [
    "BudgetExhausted",
    "ConfigurationError",
    "DeadlineExceeded",
    "Exhausted",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "Problem",
    "UndauntedError",
]


class UndauntedError(Exception):
    """See the attempts listed with this error.

    Attributes:
        attempts: The failed tries behind this error, oldest first.
    """

    attempts: tuple[Attempt, ...] = ()

    def __init__(self, message: str | None = None, /, *, attempts: Iterable[Attempt] = ()) -> None:
        self.attempts = tuple(attempts)
        super().__init__(message or inspect.getdoc(type(self)) or type(self).__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the settings.

    Attributes:
        path: Dotted path of the setting, such as ``"clusters.orders.retry.deadline"``.
        message: What was found and what to do, in one or two sentences; never a secret's value.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class Outage(Problem):
    """A problem that leaves an application nothing to work with, such as a cluster of which no node answers."""

    __slots__ = ()

    @classmethod
    def of(cls, cluster: str) -> Outage:
        """No node of this cluster answers.

        Args:
            cluster: Its name.
        """
        return cls(f"clusters.{cluster}.nodes", "no node answers, so applications cannot use the cluster.")


class ConfigurationError(UndauntedError):
    """Correct the settings named here; `undaunted config show --origin` tells where each came from.

    Attributes:
        problems: Every mistake that was found, not only the first.
    """

    problems: tuple[Problem, ...]

    def __init__(self, message: str | None = None, /, *, problems: Iterable[Problem] = ()) -> None:
        self.problems = tuple(problems)
        if message is None and self.problems:
            count = len(self.problems)
            head = "1 mistake" if count == 1 else f"{count} mistakes"
            message = "\n".join([f"{head} in the settings:", *(f"  {p}" for p in self.problems)])
        super().__init__(message)


class OutcomeUnknown(UndauntedError):
    """The write was sent and no answer says whether it was applied. Look before you run it again.

    It was not run again, because that could apply it twice. Read the data to see what happened, or declare
    the operation idempotent with ``undaunted.options(idempotent=True)`` where running it twice does no harm.
    """


class Exhausted(UndauntedError):
    """Every attempt that was allowed has failed. Raise `retry.attempts`, or mend the nodes named here."""


class DeadlineExceeded(Exhausted):
    """The call's deadline passed. Raise `retry.deadline`, or look why the nodes named here are slow."""


class NoNodeAvailable(Exhausted):
    """No node can serve this call, and the outage is older than `retry.fail_fast_after`. Start a node."""


class BudgetExhausted(Exhausted):
    """The cluster's retry budget is empty, so nothing was run again. Mend the nodes, or raise `budget.capacity`."""
