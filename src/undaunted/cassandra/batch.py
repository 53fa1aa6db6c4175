"""Batches that keep the connection of their models, and go to a node that has their partition where there is one."""

# ruff: noqa: SLF001  (a model has no public name for where its rows lie)

from __future__ import annotations

from typing import Any

from cassandra.cqlengine import connection
from cassandra.cqlengine.query import BatchQuery as _BatchQuery

from undaunted.cassandra.places import connection_of_table
from undaunted.cassandra.scope import ORIGIN, Origin

__all__ = ["BatchQuery"]


class BatchQuery(_BatchQuery):  # type: ignore[misc]  # cqlengine is untyped
    """`cassandra.cqlengine.query.BatchQuery`, kept undaunted.

    A batch is run again as a whole when each of its statements may be, with the write timestamp of its first run. One
    that holds a counter, an append to a list or a condition is sent once.
    """

    _undaunted_rows: tuple[tuple[Any, Any], ...] = ()

    def execute(self) -> None:
        """As cqlengine's: sends all statements as one."""
        token = ORIGIN.set(Origin(None, None, self._routing()))
        try:
            super().execute()
        finally:
            ORIGIN.reset(token)
        self._undaunted_rows = ()

    def _execute_callbacks(self) -> None:
        token = ORIGIN.set(None)  # what a callback executes is none of the batch
        try:
            super()._execute_callbacks()
        finally:
            ORIGIN.reset(token)

    def add_query(self, query: Any) -> None:
        """As cqlengine's: keeps a statement for later, and where its row lies."""
        origin = ORIGIN.get()
        if origin is None and not self._connection:
            # An update of a model without a base of ours: cqlengine would send it to the default connection.
            self._connection: Any = connection_of_table(query.table)
        self._undaunted_rows += ((origin.model if origin else None, query),)
        super().add_query(query)

    def _routing(self) -> tuple[str, tuple[bytes, ...]] | None:
        """Keyspace and the parts of the routing key, if every statement is known to lie in one partition."""
        found: set[tuple[str, tuple[bytes, ...]]] = set()
        for model, query in self._undaunted_rows:
            if model is None or not model._partition_key_index:
                return None
            values = query.partition_key_values(model._partition_key_index)
            if any(value is None for value in values):
                return None
            version = connection.get_cluster(self._connection).protocol_version
            found.add((model._get_keyspace(), tuple(model._routing_key_from_values(values, version))))
        return found.pop() if len(found) == 1 else None
