"""A session that finds its engine: by its target, by the class of each statement, or where a reader may go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import exc, orm
from sqlalchemy.ext import asyncio as sa_asyncio

from undaunted.backend import directory
from undaunted.core.operation import Kind, Operation
from undaunted.engine.call import current_call
from undaunted.sqlalchemy import declared, statements
from undaunted.sqlalchemy.reading import Reader
from undaunted.sqlalchemy.targets import cluster_name, cluster_of, default_name, only_cluster
from undaunted.sqlalchemy.tokens import Token

if TYPE_CHECKING:
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard
    from undaunted.sqlalchemy.cluster import Cluster
    from undaunted.sqlalchemy.tokens import Commit

__all__ = ["READ", "READ_PRIMARY", "Bound", "sorted_out"]

READ = Operation(name="select", kind=Kind.READ, needs_primary=False)
READ_PRIMARY = Operation(name="select", kind=Kind.READ, needs_primary=True)


class Bound(orm.Session):
    """What `undaunted.sqlalchemy.Session` knows of clusters and engines; see there for its arguments."""

    _undaunted_is_async: ClassVar[bool] = False

    readonly: bool

    # Of a transaction, as it is before its first statement: one that writes, and one that reads.
    _undaunted_has_flushed = _undaunted_is_committing = False
    _undaunted_is_stateful = _undaunted_has_read = False

    def __init__(
        self,
        target: Any = None,
        *,
        readonly: bool = False,
        token: Token | str | None = None,
        bind: Any = None,
        **options: Any,
    ) -> None:
        target, bind = sorted_out(target, bind)
        super().__init__(bind=bind, **options)
        self.readonly = readonly
        self._undaunted_target: str | type | None = target
        self._undaunted_only: Cluster | None = None
        self._undaunted_token = None if token is None else _token(token, target, readonly=readonly)
        self._undaunted_has_binds = bind is not None or bool(options.get("binds"))
        if readonly and self._undaunted_has_binds:
            raise TypeError(
                "a readonly session chooses its nodes itself, so it takes neither bind nor binds. Name a base, a "
                "mapped class or a cluster; on an engine of your own, use its execution option postgresql_readonly."
            )
        self._undaunted_readers: dict[str, Reader] = {}
        self._undaunted_commits: dict[str, Commit] = {}
        self._undaunted_written: set[str] = set()

    # -- which engine ----------------------------------------------------------------------------

    def get_bind(self, mapper: Any = None, *, clause: Any = None, bind: Any = None, **options: Any) -> Any:
        """The engine for a mapped class or a statement, as SQLAlchemy's; it is asked for each of them."""
        if bind is not None:
            return bind
        if self._undaunted_has_binds or self.bind is not None:
            try:
                return super().get_bind(mapper, clause=clause, **options)
            except exc.UnboundExecutionError:
                pass  # binds that name others
        cluster = self._undaunted_cluster(mapper, clause)
        if cluster is None:
            return super().get_bind(mapper, clause=clause, **options)
        if self.readonly:
            if not statements.is_reading(clause):
                self._undaunted_is_stateful = True
            reader = self._undaunted_reader(cluster)
            return reader.engine or self._undaunted_choose(reader)
        if clause is None or not statements.is_plain_select(clause):
            self._undaunted_written.add(cluster.name)
        return cluster.async_writer.sync_engine if self._undaunted_is_async else cluster.writer

    def bind_mapper(self, mapper: Any, bind: Any) -> None:
        """As SQLAlchemy's."""
        self._undaunted_has_binds = True
        super().bind_mapper(mapper, bind)

    def bind_table(self, table: Any, bind: Any) -> None:
        """As SQLAlchemy's."""
        self._undaunted_has_binds = True
        super().bind_table(table, bind)

    def _undaunted_cluster(self, mapper: Any, clause: Any) -> Cluster | None:
        """Where a mapped class or a statement lives: as the class declares, else where this session's target does."""
        only = self._undaunted_only
        if only is not None and not only.is_closed and declared.is_only(only.name):
            return only
        target = self._undaunted_target
        only = self._undaunted_only = None if target is None else only_cluster(target)
        if only is not None:
            return only
        own = None if target is None else cluster_name(target)
        kind: Any = mapper if isinstance(mapper, type) else getattr(sa.inspect(mapper, raiseerr=False), "class_", None)
        if kind is None and clause is not None:
            kind = statements.mapped_class(clause)
        if kind is not None:
            if declared.cluster_declared(kind) is not None:
                return cluster_of(kind)
            placed = None if own is None else directory().models(own).get(declared.path_of(kind))
            if placed is not None and placed.cluster:
                return cluster_of(placed.cluster)
        name = own or default_name()
        return None if name is None else cluster_of(name)

    def _undaunted_policy(self, guard: Guard) -> Policy:
        target = self._undaunted_target
        return declared.policy_in_force(target if isinstance(target, type) else None, guard)

    def _undaunted_reader(self, cluster: Cluster) -> Reader:
        reader = self._undaunted_readers.get(cluster.name)
        if reader is None or reader.cluster is not cluster:
            reader = self._undaunted_readers[cluster.name] = Reader(cluster, self._undaunted_token)
        elif not self.in_transaction():
            reader.engine = None  # one that was asked for, and never used
        return reader

    def _undaunted_choose(self, reader: Reader) -> sa.Engine:
        cluster, call = reader.cluster, current_call()
        own = call if call is not None and call.guard is cluster.guard else None
        is_reading = own is not None and own.operation in (READ, READ_PRIMARY)
        engine = reader.engine_for(
            own.policy if own is not None and is_reading else self._undaunted_policy(cluster.guard),
            avoid=() if own is None else [tried.node for tried in own.attempts if tried.node is not None],
            is_async=self._undaunted_is_async,
        )
        if own is not None:
            own.node = reader.node
        return engine


def sorted_out(target: Any, bind: Any) -> tuple[str | type | None, Any]:
    """The target and SQLAlchemy's bind, whichever of the two places they were given in."""
    if isinstance(bind, (str, type)) and target is None:
        target, bind = bind, None
    if target is None or isinstance(target, (str, type)):
        return target, bind
    if bind is None and isinstance(target, _BINDS):
        return None, target
    raise TypeError(
        f"a session is for a base, a mapped class or the name of a cluster, not for {type(target).__name__}. An engine "
        "or a connection may stand in its place, once."
    )


_BINDS = (sa.Engine, sa.Connection, sa_asyncio.AsyncEngine, sa_asyncio.AsyncConnection)


def _token(given: Token | str, target: object, *, readonly: bool) -> Token:
    if not readonly or target is None:
        raise TypeError("a token is for a readonly session of one cluster: Session(Base, readonly=True, token=...).")
    return Token.parse(given) if isinstance(given, str) else given
