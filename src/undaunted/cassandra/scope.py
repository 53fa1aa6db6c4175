"""What is known about the statement that is being executed here: its model, its clauses, its write timestamp.

cqlengine hands a session nothing but text and values; what else our model hooks know reaches it through this context.
"""

from __future__ import annotations

import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from cassandra.cqlengine import models
from cassandra.timestamps import MonotonicTimestampGenerator

from undaunted.backend import directory
from undaunted.config import model_settings
from undaunted.engine.context import current_options

if TYPE_CHECKING:
    from threading import Lock

    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard

__all__ = ["ORIGIN", "PINNED", "Origin", "Timestamps", "model_policy", "path_of", "policy_in_force", "policy_of_table"]


class Origin:
    """Where a statement comes from. One is made for each statement, so it is a plain class with slots.

    Attributes:
        model: The model whose query it is; None for a batch.
        statement: cqlengine's own object of it, with its clauses; None for a batch.
        routing: Keyspace and the parts of the routing key of a batch that lies in one partition.
    """

    __slots__ = ("model", "routing", "statement")

    def __init__(self, model: Any, statement: Any, routing: tuple[str, tuple[bytes, ...]] | None = None) -> None:
        self.model = model
        self.statement = statement
        self.routing = routing


ORIGIN: ContextVar[Origin | None] = ContextVar("undaunted_cassandra_origin", default=None)

PINNED: ContextVar[int | None] = ContextVar("undaunted_cassandra_timestamp", default=None)
"""The write timestamp of the operation that is being run again, in microseconds; None for a first attempt."""


class Timestamps(MonotonicTimestampGenerator):  # type: ignore[misc]  # the driver is untyped
    """Tells the driver each request's write timestamp: the first one's own again, when an operation is run again.

    A frozen node executes what it was sent when it goes on. So a re-run must not be later than what others wrote in the
    meantime, and the late first one must be no news.
    """

    last: int
    lock: Lock

    def __call__(self) -> int:
        """Microseconds since the epoch, never the same twice but for a re-run."""
        pinned = PINNED.get()
        if pinned is not None:
            return pinned
        with self.lock:
            now_us = int(time.time() * 1e6)
            if now_us > self.last:
                self.last = now_us
                return now_us
        return super().__call__()  # type: ignore[no-any-return]  # it counts on where the clock stands still or goes back


def path_of(model: type) -> str:
    """The dotted path under which the settings know a model; a copy made by `ContextQuery` is the model it copies."""
    while model.__module__ == models.__name__ and model.__base__ is not None:
        model = model.__base__
    return f"{model.__module__}.{model.__qualname__}"


def model_policy(cluster: str, model: type) -> Policy | None:
    """The policy of a model that has one of its own, by declaration or by ``[models]``; else None."""
    declared = getattr(model, "__undaunted__", None)
    path = path_of(model)
    settings = model_settings(declared, model=path) if declared is not None else None
    found = directory()
    if not found.knows(cluster):
        return None
    own = found.policy(cluster, model=path, declared=settings)
    return own if own != found.handle(cluster).guard.policy else None


def policy_of_table(guard: Guard, table: str | None) -> Policy | None:
    """The policy that ``[models]`` gives to the model of a table, for models without a base of ours."""
    found = directory()
    for path in found.models(guard.cluster):
        module, _, name = path.rpartition(".")
        model = getattr(sys.modules.get(module), name, None)
        named = getattr(model, "column_family_name", None)
        if named is not None and table is not None and named().replace('"', "") == table:
            return found.policy(guard.cluster, model=path)
    return None


def policy_in_force(guard: Guard, own: Policy | None) -> Policy:
    """What bounds a statement now: a profile asked for by the caller, else the model's, else the cluster's."""
    declared = current_options()
    if declared is not None and declared.profile is not None:
        return directory().policy(guard.cluster, profile=declared.profile)
    return own or guard.policy
