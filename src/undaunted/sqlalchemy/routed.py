"""The session: SQLAlchemy's own, that finds its engine by cluster; a readonly one outlives the loss of its node."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, exc, orm
from sqlalchemy.ext import asyncio as sa_asyncio

from undaunted.backend import directory
from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync
from undaunted.engine.call import current_call
from undaunted.sqlalchemy import declared, seams, statements
from undaunted.sqlalchemy.faults import is_lost
from undaunted.sqlalchemy.reading import Reader
from undaunted.sqlalchemy.targets import cluster_name, cluster_of, default_name, only_cluster
from undaunted.sqlalchemy.tokens import LAST, Commit, Token, await_token, note_commit
from undaunted.sqlalchemy.waiting import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from undaunted.core.policy import Policy
    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard
    from undaunted.sqlalchemy.cluster import Cluster

__all__ = ["Session", "sorted_out"]

T = TypeVar("T")

_READ = Operation(name="select", kind=Kind.READ, needs_primary=False)
_READ_PRIMARY = Operation(name="select", kind=Kind.READ, needs_primary=True)


class Session(orm.Session):
    """`sqlalchemy.orm.Session`, bound to a cluster: ``Session(Base)``, ``Session("ledger", readonly=True)``.

    A session that writes always works on the node that takes writes, and nothing of it is run again behind the back of
    the application: its errors are SQLAlchemy's own. What shall outlive a failover as a whole is a unit of work
    (`undaunted.sqlalchemy.unit_of_work`).

    A readonly session reads where the cluster's `reads` says, a node for each transaction, on a connection on which the
    server refuses writes. A statement whose node is lost is run again on another one, unless the transaction has a
    state that would be lost with it. It never sees less than what this thread or task has committed, nor less than
    its `token`, nor less than what it has itself seen.

    Args:
        target: A base, a mapped class, or the name of a cluster; or what SQLAlchemy takes as `bind`. None leaves it to
            the mapped class of each statement, and to the cluster that the settings call the default one.
        readonly: Whether it only reads.
        token: A position that a readonly session must not be behind: ``str(session.token())`` of another process.
        bind: As SQLAlchemy's; it goes before the target, and so do `binds`.
        **options: Everything else that `sqlalchemy.orm.Session` takes.

    Raises:
        TypeError: The target is nothing of these; or a token is given to a session that writes, or has no target.
        ValueError: The token is none.
    """

    _undaunted_is_async: ClassVar[bool] = False

    readonly: bool

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
        self._undaunted_token = _token(token, target, readonly=readonly)
        self._undaunted_has_binds = bind is not None or bool(options.get("binds"))
        if readonly and self._undaunted_has_binds:
            raise TypeError(
                "a readonly session chooses its nodes itself, so it takes neither bind nor binds. Name a base, a "
                "mapped class or a cluster; on an engine of your own, use its execution option postgresql_readonly."
            )
        self._undaunted_readers: dict[str, Reader] = {}
        self._undaunted_commits: dict[str, Commit] = {}
        self._undaunted_written: set[str] = set()
        self._undaunted_forget()

    def _undaunted_forget(self) -> None:
        """What is known of a transaction, as it is before the first statement of the next one."""
        self._undaunted_has_flushed = self._undaunted_is_committing = False  # of one that writes
        self._undaunted_is_stateful = self._undaunted_has_read = False  # of one that reads

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
        if not statements.is_plain_select(clause):
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
        target = self._undaunted_target
        only = None if target is None else only_cluster(target)
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
        is_reading = own is not None and own.operation in (_READ, _READ_PRIMARY)
        engine = reader.engine_for(
            own.policy if own is not None and is_reading else self._undaunted_policy(cluster.guard),
            avoid=() if own is None else [tried.node for tried in own.attempts if tried.node is not None],
            is_async=self._undaunted_is_async,
        )
        if own is not None:
            own.node = reader.node
        return engine

    # -- reading ---------------------------------------------------------------------------------

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

        operation = _READ_PRIMARY if policy.reads == "primary" else _READ
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
            raise exc.InvalidRequestError(_REFUSED)

    # -- the ends of a transaction ---------------------------------------------------------------

    def commit(self) -> None:
        """As SQLAlchemy's; where the connection has been lost, the next transaction needs no ``rollback()`` first."""
        try:
            super().commit()
        except exc.SQLAlchemyError as error:
            if (is_lost(error) or isinstance(error, exc.PendingRollbackError)) and current_call() is None:
                with contextlib.suppress(exc.SQLAlchemyError):
                    self.rollback()
            raise

    def rollback(self) -> None:
        """As SQLAlchemy's."""
        if self.readonly and not self.in_nested_transaction():
            self._undaunted_leave()
        super().rollback()

    def close(self) -> None:
        """As SQLAlchemy's."""
        if self.readonly:
            self._undaunted_leave()
        super().close()

    def _undaunted_begin_anew(self, error: exc.SQLAlchemyError) -> None:
        """Leave a transaction that has lost its connection, where nothing of it but an error is lost with it.

        Else the session would answer everything with `PendingRollbackError` until somebody calls ``rollback()``. Where
        something may have been written or locked, that is right: what follows must not be committed without it.
        """
        has_done = self._undaunted_written or self._undaunted_has_flushed or self.in_nested_transaction()
        if not has_done and is_lost(error) and self.get_transaction() is not None:
            with contextlib.suppress(exc.SQLAlchemyError):
                self.rollback()

    def undaunted_flushes(self) -> None:
        """Not to be called: SQLAlchemy's event before a flush."""
        if not self.readonly:
            self._undaunted_has_flushed = True
        elif self.new or self.deleted or any(self.is_modified(changed) for changed in self.dirty):
            raise exc.InvalidRequestError(_REFUSED)

    def undaunted_commits(self) -> None:
        """Not to be called: SQLAlchemy's event before a commit."""
        if not self.readonly:
            self._undaunted_is_committing = True
        elif not self.in_nested_transaction():
            self._undaunted_leave()  # nothing is to be stored, so no COMMIT can fail

    def undaunted_committed(self) -> None:
        """Not to be called: SQLAlchemy's event behind a commit."""
        if self._undaunted_written and not self.in_nested_transaction():
            self._undaunted_note_commit()

    def undaunted_ended(self) -> None:
        """Not to be called: SQLAlchemy's event behind the end of a transaction."""
        for reader in self._undaunted_readers.values():
            reader.engine = None
        if self._undaunted_is_committing:
            self._undaunted_note_commit()  # its COMMIT may have been applied, though no answer says so
        self._undaunted_written.clear()
        self._undaunted_forget()

    def _undaunted_note_commit(self) -> None:
        for name in self._undaunted_written:
            self._undaunted_commits[name] = note_commit(name)
        self._undaunted_written.clear()

    # -- tokens ----------------------------------------------------------------------------------

    def token(self) -> Token | None:
        """The position behind what this session has committed last, for a readonly session in another process.

        Of a readonly session, the position that it must not be behind. It asks no server where the cluster's monitors
        know the answer already, else it waits for their next one.

        Returns:
            The token, for ``Session(..., readonly=True, token=str(token))``; None where nothing has been committed.

        Raises:
            TypeError: The session has no target.
            ConfigurationError: The cluster is no PostgreSQL.
            OperationalError: No primary has answered within the deadline; undaunted's, and SQLAlchemy's.
        """
        if self._undaunted_target is None:
            raise TypeError(
                "this session has no target; undaunted.sqlalchemy.token(Base) asks for the cluster you mean."
            )
        cluster = cluster_of(self._undaunted_target)
        commit = self._undaunted_commits.get(cluster.name) or LAST.get().get(cluster.name)
        found = await_token(cluster, commit, pause)
        return self._undaunted_token if found is None else found.joined(self._undaunted_token)


_REFUSED = (
    "this session is readonly: it may read from a replica, and nothing that it adds, changes or deletes is stored. "
    "Use a session without readonly=True for what writes."
)


@event.listens_for(Session, "before_flush")
def _before_flush(session: Session, *_: Any) -> None:
    session.undaunted_flushes()


@event.listens_for(Session, "before_commit")
def _before_commit(session: Session) -> None:
    session.undaunted_commits()


@event.listens_for(Session, "after_commit")
def _after_commit(session: Session) -> None:
    session.undaunted_committed()


@event.listens_for(Session, "after_transaction_end")
def _after_end(session: Session, transaction: orm.SessionTransaction) -> None:
    if transaction.parent is None:
        session.undaunted_ended()


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


def _token(given: Token | str | None, target: object, *, readonly: bool) -> Token | None:
    if given is None:
        return None
    if not readonly or target is None:
        raise TypeError("a token is for a readonly session of one cluster: Session(Base, readonly=True, token=...).")
    return Token.parse(given) if isinstance(given, str) else given
