"""The attempts of a unit of work: each a fresh session, the key first, the COMMIT last.

Everything here does its I/O as SQLAlchemy's sync session does, so that threads call it and coroutines call it beneath
`AsyncSession.run_sync` (`undaunted.sqlalchemy.aio`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy import event, exc

from undaunted.core.fault import Fault
from undaunted.sqlalchemy.consequences import IN_FAILED_TRANSACTION, follows
from undaunted.sqlalchemy.errors import UnusableCluster
from undaunted.sqlalchemy.faults import is_lost, sqlstate_of
from undaunted.sqlalchemy.free import FreeKey
from undaunted.sqlalchemy.keys import have_key_inserted, insert_key, is_table_missing
from undaunted.sqlalchemy.opening import Opening
from undaunted.sqlalchemy.unitsessions import UnitSession

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from sqlalchemy.engine import ExceptionContext

    from undaunted.engine.call import Call
    from undaunted.sqlalchemy.cluster import Cluster
    from undaunted.sqlalchemy.unit import Terms, Unit
    from undaunted.sqlalchemy.unitsessions import AsyncUnitSession

__all__ = ["Attempt", "joined"]


class Attempt:
    """One attempt of a unit of work: a context manager that gives its session.

    Attributes:
        unit: The unit.
        call: Its guarded call.
        session: The session; None before it was opened, and behind its end.
        given: The same as a coroutine function gets it; None for a plain function.
        value: What the function returned; set before the block ends.
        free: What is noted for settling without a key row.
        owner: The thread and the task that it runs in.
    """

    def __init__(self, unit: Unit, call: Call) -> None:
        self.unit = unit
        self.call = call
        self.session: UnitSession | None = None
        self.given: AsyncUnitSession | None = None
        self.value: Any = None
        self.free = FreeKey() if unit.terms.key == "free" and not unit.terms.readonly else None
        self.owner = _owner()
        self._noted: exc.DBAPIError | None = None
        self._connection: sa.Connection | None = None
        self._token: Token[Attempt | None] | None = None

    @property
    def opened(self) -> UnitSession:
        """The session, behind `begin`."""
        assert self.session is not None  # noqa: S101
        return self.session

    @property
    def is_running(self) -> bool:
        """Whether its function runs."""
        return self._token is not None

    def is_in_savepoint(self) -> bool:
        """Whether what is done now may be undone alone."""
        session, connection = self.session, self._connection
        return (session is not None and session.in_nested_transaction()) or (
            connection is not None and connection.in_nested_transaction()
        )

    # -- begin ---------------------------------------------------------------------------------------

    def __enter__(self) -> UnitSession:
        terms = self.unit.terms
        session = UnitSession(terms.target, readonly=terms.readonly, expire_on_commit=False)
        try:
            self.begin(session)
        except BaseException:
            self.drop()
            raise
        self.enter()
        return session

    def begin(self, session: UnitSession, /) -> None:
        """Take a fresh session, put objects from outside back, and insert the key."""
        unit = self.unit
        self.call.subject = unit
        self.session = session
        session.undaunted_attempt = self
        unit.runs += 1
        unit.is_handed_over = False
        if unit.runs > 1:
            unit.memory.restore()
        if unit.terms.isolation is not None or not unit.is_key_with_statement:
            options = {} if unit.terms.isolation is None else {"isolation_level": unit.terms.isolation}
            session.connection(execution_options=options)

    def begun(self, connection: sa.Connection) -> None:
        """A transaction has begun on a connection of the session: the first, or the next behind a rollback."""
        unit = self.unit
        cluster = unit.cluster
        engine = connection.engine
        if not unit.terms.readonly and not _is_writer_of(unit, engine):
            raise exc.InvalidRequestError(
                f"A statement in a unit of work on cluster {cluster.name!r} goes to another database, and nothing can "
                "commit both together. Do that part in a unit of work of its own."
            )
        if _is_autocommit(connection):
            raise UnusableCluster(
                f"Cluster {cluster.name!r} has an AUTOCOMMIT engine (`options.isolation_level`), on which a unit of "
                'work cannot be undone. Leave that option out, or give unit_of_work(..., isolation="READ COMMITTED").'
            )
        _listen(engine)
        self._connection = connection
        if self.free is not None:
            self.free.begun(connection)
        if unit.has_key_row and not (
            unit.is_key_with_statement and have_key_inserted(connection, unit.table, unit.key)
        ):
            insert_key(connection, unit.table, unit.key)
            cluster.key_tables.add(unit.table.fullname)

    def enter(self) -> None:
        """From here on the function runs, and units within it belong to this one."""
        self._token = _CURRENT.set(self)

    # -- end -----------------------------------------------------------------------------------------

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
        if error is None:
            try:
                self.commit()
            except Exception as failed:
                self.close()
                if (meant := self.meaning_of(failed)) is not failed:
                    raise meant  # noqa: B904  # its own cause says more
                raise
            except BaseException:
                self.drop()
                raise
            self.close()
        elif not isinstance(error, Exception):
            self.drop()
        else:
            self.close()
            if (meant := self.meaning_of(error)) is not error:
                raise meant

    def leave(self) -> None:
        """The function has come to its end."""
        if self._token is not None:
            _CURRENT.reset(self._token)
            self._token = None

    def commit(self) -> None:
        """Commit, unless it is known to be in vain."""
        if self._noted is not None and is_lost(self._noted):
            raise self._noted  # it was caught, in a savepoint perhaps; the transaction went with the connection
        self.unit.value = self.value
        self.unit.free = self.free
        self.unit.is_handed_over = True
        if self._connection is not None and not self.unit.cluster.is_postgresql:
            self.call.sent = True  # psycopg's connections tell of it themselves, and only where there is a COMMIT
        self.opened.undaunted_commit()

    def close(self) -> None:
        """Give the connection back; what fails with that is of no interest to anybody any more.

        A lost attempt's objects stay as they are, since it may turn out to have been applied.
        """
        session = self.session
        if session is not None:
            try:  # noqa: SIM105  # each unit comes by here
                session.undaunted_close()
            except Exception:  # noqa: BLE001, S110  # such as one of a connection that has been lost
                pass
        self._forget()

    def drop(self) -> None:
        """Throw the connection away, without a word to the server: nothing may wait now, and nothing is run again."""
        if self.session is not None:
            with contextlib.suppress(Exception):
                self.session.undaunted_invalidate()
        self._forget()
        self.unit.memory.restore()

    def _forget(self) -> None:
        """Let go of the session, which leads back here: nothing is left for the garbage collector."""
        self.session = self.given = self._connection = None

    def rolled_back(self) -> None:
        """The function has undone what it had done, and with it whatever went wrong until then."""
        self._noted = None
        if self.free is not None:
            self.free.forget()

    # -- errors --------------------------------------------------------------------------------------

    def note(self, context: ExceptionContext) -> None:
        """Note what a statement of this attempt has failed with."""
        error = context.sqlalchemy_exception
        if not isinstance(error, exc.DBAPIError) or context.connection is not self._connection:
            return
        if sqlstate_of(error) != IN_FAILED_TRANSACTION:
            self._noted = error
            if self.unit.has_key_row and is_table_missing(
                error
            ):  # which may be that of the keys, and the next unit is to say so
                self.unit.cluster.key_tables.discard(self.unit.table.fullname)

    def meaning_of(self, error: Exception) -> Exception:
        """The error to judge: where the function met one of the database's and raised its own, that of the database.

        A wrong request is the function's business, so there its own error is what counts.
        """
        noted = self._noted
        if noted is None or noted is error or not follows(error, noted):
            return error
        fault = self.call.guard.classify(noted, self.call).fault
        return error if fault is Fault.PERMANENT else noted


_CURRENT: ContextVar[Attempt | None] = ContextVar("undaunted_sqlalchemy_attempt", default=None)


def joined(cluster: Cluster, terms: Terms) -> Attempt | None:
    """The attempt that runs here, where a unit of these terms is to become part of it; else None.

    Raises:
        InvalidRequestError: It would have to, and cannot.
    """
    attempt = _CURRENT.get()
    if attempt is None or not attempt.is_running or attempt.unit.cluster is not cluster or attempt.owner != _owner():
        return None
    outer = attempt.unit.terms
    if outer.readonly and not terms.readonly:
        raise exc.InvalidRequestError(
            "A unit of work that writes was called within a readonly one of the same cluster, whose transaction it "
            "would be part of. Take readonly=True away from the outer one."
        )
    if terms.isolation is not None and terms.isolation != outer.isolation:
        raise exc.InvalidRequestError(
            f"A unit of work with isolation {terms.isolation!r} was called within one that has another, and is part of "
            "its transaction. Declare that isolation for the outer one."
        )
    return attempt


def _owner() -> tuple[int, object]:
    """Who runs here: neither another thread nor another task may use a session that is in use."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.get_ident(), task


_LISTENED: WeakSet[sa.Engine] = WeakSet()


def _listen(engine: sa.Engine) -> None:
    if engine not in _LISTENED:
        _LISTENED.add(engine)
        event.listen(engine, "handle_error", _note)


def _note(context: ExceptionContext) -> None:
    attempt = _CURRENT.get()
    if attempt is not None:
        attempt.note(context)


def _is_writer_of(unit: Unit, engine: sa.Engine) -> bool:
    writer = unit.cluster.async_writer.sync_engine if unit.is_async else unit.cluster.writer
    return engine is writer or engine.pool is writer.pool


def _is_autocommit(connection: sa.Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, Opening):
        return driver.is_autocommit  # it has been told by now, whoever has declared it
    declared = connection.get_execution_options().get("isolation_level")
    if declared is None:
        declared = getattr(connection.dialect, "_on_connect_isolation_level", None)
    return declared == "AUTOCOMMIT" or getattr(connection.connection.dbapi_connection, "autocommit", None) is True
