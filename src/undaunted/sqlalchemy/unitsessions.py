"""The session that a unit of work is given: SQLAlchemy's own in all but its end, which is the unit's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from sqlalchemy import event, exc, orm

from undaunted.sqlalchemy.memory import refuse_detached, refuse_other_session
from undaunted.sqlalchemy.session import AsyncSession, Session

if TYPE_CHECKING:
    import sqlalchemy as sa

    from undaunted.sqlalchemy.attempt import Attempt

__all__ = ["AsyncUnitSession", "UnitSession", "UnitSyncSession"]


class UnitSession(Session):
    """The session of one attempt of a unit of work.

    What the unit returns is to be used after its session has gone, so objects keep their values behind the COMMIT
    (``expire_on_commit=False``). ``rollback()`` undoes what the unit has done so far, and the unit goes on; there is
    no ``commit()`` and no ``close()``, which are the unit's.
    """

    undaunted_attempt: Attempt
    undaunted_merging = 0

    def commit(self) -> NoReturn:
        """Refuse: the unit of work commits when its function returns.

        Raises:
            InvalidRequestError: Always.
        """
        raise exc.InvalidRequestError(
            "A unit of work commits by itself once its function returns, so that it can be run again as a whole until "
            "then. Leave session.commit() out; session.flush() sends what is pending now."
        )

    def rollback(self) -> None:
        """Undo what the unit has done so far; it may go on, and what it does then is committed when it returns."""
        super().rollback()
        self.undaunted_attempt.rolled_back()

    def close(self) -> None:
        """Refuse: the unit of work closes its session behind the COMMIT.

        Raises:
            InvalidRequestError: Always.
        """
        self._refuse_end("close")

    def reset(self) -> None:
        """Refuse, as `close`."""
        self._refuse_end("reset")

    def invalidate(self) -> None:
        """Refuse, as `close`."""
        self._refuse_end("invalidate")

    @staticmethod
    def _refuse_end(name: str) -> NoReturn:
        raise exc.InvalidRequestError(
            f"A unit of work closes its session by itself, behind the COMMIT, and session.{name}() would throw away "
            "what it has done. Leave it out; session.rollback() undoes what was done, and so does an exception."
        )

    def add(self, instance: object, **options: Any) -> None:
        """As SQLAlchemy's; an object of another session is refused, with the remedy."""
        state = getattr(instance, "_sa_instance_state", None)
        if state is not None and state.session_id not in (None, self.hash_key):
            holder = orm.object_session(instance)
            if holder is not None and holder is not self:
                refuse_other_session(instance)
        super().add(instance, **options)

    def merge(self, instance: Any, **options: Any) -> Any:
        """As SQLAlchemy's."""
        self.undaunted_merging += 1
        try:
            return super().merge(instance, **options)
        finally:
            self.undaunted_merging -= 1

    # -- for the unit alone ------------------------------------------------------------------------

    def undaunted_commit(self) -> None:
        """Commit."""
        orm.Session.commit(self)  # within a call, where ours adds nothing

    def undaunted_close(self) -> None:
        """Undo what was not committed, and give the connection back."""
        super().close()

    def undaunted_invalidate(self) -> None:
        """Throw the connection away, asking nobody."""
        super().invalidate()

    def undaunted_flushes(self) -> None:
        """Not to be called: SQLAlchemy's event before a flush."""
        super().undaunted_flushes()
        attempt = self.undaunted_attempt
        if attempt.free is not None:
            attempt.free.flushing(self, in_savepoint=attempt.is_in_savepoint)


class UnitSyncSession(UnitSession):
    """The same beneath asyncio."""

    _undaunted_is_async: ClassVar[bool] = True


class AsyncUnitSession(AsyncSession):
    """The session of one attempt of a unit of work that is a coroutine function; as `UnitSession`."""

    sync_session_class = UnitSyncSession


@event.listens_for(UnitSession, "after_begin")
def _begun(session: UnitSession, transaction: orm.SessionTransaction, connection: sa.Connection) -> None:
    if not transaction.nested:
        session.undaunted_attempt.begun(connection)


@event.listens_for(UnitSession, "before_attach")
def _met(session: UnitSession, instance: object) -> None:
    if orm.attributes.instance_state(instance).key is None:
        session.undaunted_attempt.unit.memory.remember(instance)
    elif not session.undaunted_merging:
        refuse_detached(instance)


@event.listens_for(UnitSession, "after_flush")
def _flushed(session: UnitSession, flush_context: object) -> None:  # noqa: ARG001
    free = session.undaunted_attempt.free
    if free is not None:
        free.flushed()
