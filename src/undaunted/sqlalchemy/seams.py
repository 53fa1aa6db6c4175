"""What is used of SQLAlchemy and psycopg beneath their public names, in one place, with a test that it is there."""

# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from psycopg import errors, generators
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import exc

if TYPE_CHECKING:
    from collections.abc import Generator

    import sqlalchemy as sa
    from sqlalchemy import orm

__all__ = ["begun_with", "fail", "leave", "missing"]


def missing() -> list[str]:
    """What this release of psycopg lacks of the names used here; nothing, where all is well."""
    lacks = [] if hasattr(psycopg.Connection, "_get_tx_start_command") else ["Connection._get_tx_start_command"]
    lacks += [] if inspect.isroutine(getattr(generators, "execute", None)) else ["generators.execute"]
    return lacks + ([] if hasattr(errors, "error_from_result") else ["errors.error_from_result"])


def begun_with(connection: Any, statement: bytes) -> Generator[Any, Any, bytes | None]:
    """Begin a transaction, where none is open, with a first statement in the same message: one round trip for both.

    A generator for the ``wait`` of psycopg's connections, as all of psycopg's own I/O is. psycopg itself sends BEGIN
    alone, and waits for the answer.

    Returns:
        The first field of the first row, as the server wrote it.

    Raises:
        psycopg.Error: As a cursor's ``execute``.
    """
    pgconn = connection.pgconn
    if pgconn.transaction_status == TransactionStatus.IDLE and not connection.autocommit:
        statement = connection._get_tx_start_command() + b"; " + statement
    pgconn.send_query(statement)
    results: list[Any] = yield from generators.execute(pgconn)
    last = results[-1]
    if last.status == ExecStatus.FATAL_ERROR:
        raise errors.error_from_result(last)
    found: bytes | None = last.get_value(0, 0)
    return found


def fail(connection: sa.Connection, error: Exception) -> NoReturn:
    """Raise a driver's error as SQLAlchemy does when a statement of its own meets it; to be called where it was caught.

    For a statement that was given to the driver directly: what the error means for the connection is found out, told to
    all listeners, and the error is wrapped.
    """
    connection._handle_dbapi_exception(error, None, None, None, None)


def leave(transaction: orm.SessionTransaction, engine: sa.Engine) -> None:
    """End what a session's transaction has on one engine, and have it begin anew there or elsewhere.

    For transactions that only read: whether their end reaches the server makes no difference, so no error comes of it.
    SQLAlchemy has no way to take one connection out of a session's transaction; with a dead one in it, the transaction
    could only be rolled back, and every object that the session has read would be lost to the application with it.
    """
    kept: Any = transaction._connections.pop(engine, None)
    if kept is None:
        return
    connection: sa.Connection = kept[0]
    transaction._connections.pop(connection, None)
    try:
        kept[1].close()
    except exc.SQLAlchemyError:
        with contextlib.suppress(exc.SQLAlchemyError):
            connection.invalidate()
    with contextlib.suppress(exc.SQLAlchemyError):
        connection.close()
