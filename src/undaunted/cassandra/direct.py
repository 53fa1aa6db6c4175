"""A model's statement on the shortest way to the session.

cqlengine looks up its connection three times for each statement, and words a line for its log whether or not anybody
reads it. Our model bases know where they live, so they hand over text, values and routing key themselves; what that
saves is about what the guard around a statement costs. What is seldom takes cqlengine's own way, which ends in the same
session: a batch, a condition, a connection named by the caller, a log that is read.
"""

# ruff: noqa: SLF001  (cqlengine has no public names for what a query knows of its model, and a model of its keys)

from __future__ import annotations

import logging
from typing import Any, Protocol

from cassandra.query import SimpleStatement

from undaunted.cassandra.operations import shape_of
from undaunted.cassandra.places import place_of

__all__ = ["execute"]

_is_logged = logging.getLogger("cassandra.cqlengine.connection").isEnabledFor


class Asker(Protocol):
    """A queryset of ours, or the query of an instance."""

    model: Any
    _consistency: Any
    _timeout: Any

    def _undaunted_their_way(self, statement: Any) -> Any:
        """Have cqlengine execute it."""
        ...


def execute(asker: Asker, statement: Any) -> Any:
    """Execute a statement of cqlengine's, and return the driver's result.

    Args:
        asker: Whose statement it is.
        statement: cqlengine's object of it, with its clauses.

    Raises:
        ConfigurationError: The model's declaration has a mistake.
        Exception: As `Session.execute`.
    """
    model = asker.model
    place = place_of(model)
    session = place.session
    if session is None or _is_logged(logging.DEBUG):
        return asker._undaunted_their_way(statement)
    text = str(statement)
    query = SimpleStatement(text, consistency_level=asker._consistency, fetch_size=statement.fetch_size)
    index = model._partition_key_index
    if index:
        keys = statement.partition_key_values(index)
        if None not in keys:
            query.routing_key = model._routing_key_from_values(keys, session.link.protocol_version)
            query.keyspace = model.__keyspace__ or model._get_keyspace()
    return session.begin(
        query, statement.get_context(), asker._timeout, shape=shape_of(text), policy=place.policy, model=model,
        statement=statement,
    )  # fmt: skip
