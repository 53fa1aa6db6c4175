"""What is used of SQLAlchemy beneath its public names; of psycopg it is in `piped`, and looked for here."""

# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from psycopg import errors, generators
from sqlalchemy import exc
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy import orm

__all__ = ["fail", "leave", "missing", "missing_of_pools"]

_USED: dict[Any, tuple[str, ...]] = {
    psycopg.Connection: (
        "_get_tx_start_command", "_start_query", "_exec_command", "_deallocate", "_rollback_gen",
    ),
    psycopg.Cursor: (
        "_execute_gen", "_reset", "_convert_query", "_maybe_prepare_gen", "_get_prepared", "_execute_send",
        "_send_prepare", "_send_query_prepared", "_check_results", "_set_results",
    ),
    generators: ("send", "fetch_many"),
    errors: ("error_from_result",),
}  # fmt: skip


def missing() -> list[str]:
    """What this release of psycopg lacks of the names used here; nothing, where all is well."""
    lacks = [
        f"{owner.__name__.rpartition('.')[2]}.{name}"
        for owner, names in _USED.items()
        for name in names
        if not inspect.isroutine(getattr(owner, name, None))
    ]
    base: Any = psycopg.Connection.__mro__[1]  # what both kinds of connections are
    written = base.__init__.__code__.co_names
    return lacks + [f"Connection.{name}" for name in ("_pipeline", "_tpc", "_prepared") if name not in written]


def missing_of_pools() -> list[str]:
    """What this release of SQLAlchemy lacks of the names that `undaunted.sqlalchemy.pools` stands on."""
    return [f"QueuePool.{name}" for name in ("_do_get", "_queue_class") if not hasattr(QueuePool, name)]


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
