"""A readonly session's statements: run again on another node when theirs is lost, and refused where they write."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import exc

from undaunted.engine import sync
from undaunted.engine.call import current_call
from undaunted.sqlalchemy import seams, statements
from undaunted.sqlalchemy.bound import READ, READ_PRIMARY, Bound
from undaunted.sqlalchemy.faults import is_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from undaunted.engine.call import Call
    from undaunted.sqlalchemy.cluster import Cluster

__all__ = ["REFUSED", "Rereading"]

T = TypeVar("T")

REFUSED = (
    "this session is readonly: it may read from a replica, and nothing that it adds, changes or deletes is stored. "
    "Use a session without readonly=True for what writes."
)


class Rereading(Bound):
    """What `undaunted.sqlalchemy.Session` does with its statements."""

    if not TYPE_CHECKING:  # for a type checker they are SQLAlchemy's, with all their overloads

        def execute(self, statement: Any, *args: Any, **options: Any) -> Any:
            """As SQLAlchemy's; in a readonly session, run again elsewhere when its node is lost."""
            return self._undaunted_run(super().execute, statement, args, options)

        def scalar(self, statement: Any, *args: Any, **options: Any) -> Any:
            """As SQLAlchemy's; in a readonly session, run again elsewhere when its node is lost."""
            return self._undaunted_run(super().scalar, statement, args, options)

        def scalars(self, statement: Any, *args: Any, **options: Any) -> Any:
            """As SQLAlchemy's; in a readonly session, run again elsewhere when its node is lost."""
            return self._undaunted_run(super().scalars, statement, args, options)

    def _undaunted_run(self, run: Callable[..., T], statement: Any, args: Any, options: Any) -> T:
        if current_call() is not None:
            self._undaunted_refuse(statement)
            return run(statement, *args, **options)  # whatever is around decides, as it does for a statement's parts
        try:
            cluster = self._undaunted_cluster_to_read(statement, options.get("bind_arguments") or {})
            if cluster is None:
                return run(statement, *args, **options)
            return self._undaunted_read(cluster, lambda: run(statement, *args, **options))
        except exc.SQLAlchemyError as error:
            self._undaunted_begin_anew(error)
            raise

    def _undaunted_cluster_to_read(self, statement: Any, arguments: Mapping[str, Any]) -> Cluster | None:
        """Where a readonly session may run a statement again; None where it may not."""
        if not self.readonly:
            return None
        self._undaunted_refuse(statement)
        if arguments.get("bind") is not None or self._undaunted_is_stateful or self.in_nested_transaction():
            return None
        cluster = self._undaunted_cluster(arguments.get("mapper"), statement)
        if cluster is None:
            return None
        if not cluster.is_postgresql and not statements.is_plain_select(statement):
            return None  # where the server does not refuse a change, this may be one
        if self._undaunted_has_read and self._undaunted_has_snapshot(cluster):
            return None
        return cluster

    def _undaunted_has_snapshot(self, cluster: Cluster) -> bool:
        """Whether all statements of a transaction see the same moment, which another node could not show again."""
        engine = self._undaunted_reader(cluster).engine
        if engine is None:
            return False
        level = engine.get_execution_options().get("isolation_level") or cluster.settings.options.get("isolation_level")
        return (level or engine.dialect.default_isolation_level) not in (None, "READ COMMITTED", "AUTOCOMMIT")

    def _undaunted_read(self, cluster: Cluster, run: Callable[[], T]) -> T:
        policy = self._undaunted_policy(cluster.guard)

        def attempt(call: Call) -> T:
            if call.attempts:
                self._undaunted_leave(cluster)
            return run()

        operation = READ_PRIMARY if policy.reads == "primary" else READ
        result = sync.run(cluster.guard, operation, attempt, policy=policy)
        self._undaunted_has_read = True
        reader = self._undaunted_readers.get(cluster.name)
        if reader is not None:
            reader.saw()
        return result

    def _undaunted_leave(self, cluster: Cluster | None = None) -> None:
        """End what this readonly session's transaction has on a cluster, or on all."""
        transaction = self.get_transaction()
        for reader in self._undaunted_readers.values():
            if cluster is None or reader.cluster is cluster:
                if reader.engine is not None and transaction is not None:
                    seams.leave(transaction, reader.engine)
                reader.engine = None
        self._undaunted_is_stateful = self._undaunted_has_read = False

    def _undaunted_refuse(self, statement: Any) -> None:
        if self.readonly and statements.is_change(statement):
            raise exc.InvalidRequestError(REFUSED)

    def _undaunted_begin_anew(self, error: exc.SQLAlchemyError) -> None:
        """Leave a transaction that has lost its connection, where nothing of it but an error is lost with it.

        Else the session would answer everything with `PendingRollbackError` until somebody calls ``rollback()``. Where
        something may have been written or locked, that is right: what follows must not be committed without it.
        """
        has_done = self._undaunted_written or self._undaunted_has_flushed or self.in_nested_transaction()
        if not has_done and is_lost(error) and self.get_transaction() is not None:
            with contextlib.suppress(exc.SQLAlchemyError):
                self.rollback()
