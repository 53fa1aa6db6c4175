"""The session: SQLAlchemy's own, that finds its engine by cluster; a readonly one outlives the loss of its node."""

from __future__ import annotations

import contextlib
from typing import Any

from sqlalchemy import event, exc, orm

from undaunted.engine.call import current_call
from undaunted.sqlalchemy.faults import is_lost
from undaunted.sqlalchemy.rereading import REFUSED, Rereading
from undaunted.sqlalchemy.targets import cluster_of
from undaunted.sqlalchemy.tokens import LAST, Token, await_token, note_commit
from undaunted.sqlalchemy.waiting import pause

__all__ = ["Session"]


class Session(Rereading):
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

    def undaunted_flushes(self) -> None:
        """Not to be called: SQLAlchemy's event before a flush."""
        if not self.readonly:
            self._undaunted_has_flushed = True
        elif self.new or self.deleted or any(self.is_modified(changed) for changed in self.dirty):
            raise exc.InvalidRequestError(REFUSED)

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
        if self._undaunted_written:
            if self._undaunted_is_committing:
                self._undaunted_note_commit()  # its COMMIT may have been applied, though no answer says so
            self._undaunted_written.clear()
        self._undaunted_has_flushed = self._undaunted_is_committing = False
        self._undaunted_is_stateful = self._undaunted_has_read = False

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
