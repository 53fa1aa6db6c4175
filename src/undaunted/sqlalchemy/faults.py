"""What each error of SQLAlchemy and its drivers means for the operation that met it: one table.

Sources: PostgreSQL's appendix of error codes, and measurements on PostgreSQL 15: of 1270 units of work whose connection
was lost before their COMMIT had been sent, none had been applied; of 316 that lost it with their COMMIT, 265 had been.
So the phase decides what a lost connection means: `Call.sent` of a unit of work says that its COMMIT was handed over.

Errors are told apart by SQLSTATE (PostgreSQL), number (MySQL) or result code (SQLite), never by text where any other
sign exists. SQLSTATEs that are not in the table mean that the request itself is wrong.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from sqlalchemy import exc

from undaunted.core.attempt import Failure
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind
from undaunted.sqlalchemy.errors import NoNodeAvailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.engine.call import Call

__all__ = ["CREDENTIALS", "MYSQL", "SQLSTATES", "Sign", "classify", "is_lost", "sign_of", "sqlstate_of"]


class Sign(enum.Enum):
    """What an error shows, whatever was being done."""

    NOT_SENT = "no server has seen it"
    LOST = "the connection went while it was being done"
    DEMOTED = "the node takes no writes any more"
    CONTENTION = "another transaction was in the way, and this one was undone"
    UNDONE = "the server has undone the transaction for a reason of its own"
    SHED = "the server has no room for it now"
    UNDECIDED = "the server itself does not know"
    WRONG = "the request itself is wrong, or nothing is gained by another try"


SQLSTATES: Mapping[str, Sign] = {
    "08000": Sign.LOST,
    "08001": Sign.NOT_SENT,  # could not connect
    "08003": Sign.LOST,
    "08004": Sign.NOT_SENT,  # the server refused the connection
    "08006": Sign.LOST,
    "08007": Sign.UNDECIDED,  # transaction_resolution_unknown
    "08P01": Sign.LOST,  # PgBouncer, when its server has gone
    "25006": Sign.DEMOTED,  # where the connection was given up for it; else the transaction was declared read-only
    "25P03": Sign.WRONG,  # idle in a transaction for too long: the application was slow
    "25P04": Sign.WRONG,  # the same for the whole transaction
    "40000": Sign.UNDONE,
    "40001": Sign.CONTENTION,  # on a standby: a conflict with recovery
    "40003": Sign.UNDECIDED,  # statement_completion_unknown
    "40P01": Sign.CONTENTION,
    "53300": Sign.SHED,  # too_many_connections
    "57P01": Sign.LOST,  # admin_shutdown; sent when the postmaster dies, too
    "57P02": Sign.LOST,  # crash_shutdown
    "57P03": Sign.NOT_SENT,  # cannot_connect_now: it starts, or shuts down
    "57P05": Sign.WRONG,  # idle for too long
}
"""Every SQLSTATE that means anything but a wrong request."""

CREDENTIALS = frozenset({"28P01", "28000"})
"""The server refuses the user: invalid_password, invalid_authorization_specification."""

MYSQL: Mapping[int, Sign] = {
    1040: Sign.SHED,  # too many connections
    1053: Sign.LOST,  # server shutdown in progress
    1203: Sign.SHED,  # too many connections of this user
    1213: Sign.CONTENTION,  # deadlock
    1290: Sign.DEMOTED,  # --read-only
    1792: Sign.WRONG,  # the transaction was declared read-only
    1836: Sign.DEMOTED,  # running in read-only mode
    1927: Sign.LOST,  # connection was killed
    2002: Sign.NOT_SENT,
    2003: Sign.NOT_SENT,  # can't connect
    2005: Sign.NOT_SENT,  # unknown host
    2006: Sign.LOST,  # server has gone away
    2013: Sign.LOST,  # lost connection during query
    2014: Sign.LOST,
    2045: Sign.LOST,
    2055: Sign.LOST,
    3101: Sign.CONTENTION,  # rolled back by group replication
    4031: Sign.LOST,  # disconnected for inactivity
}
"""Errors of MySQL and its clients, by number."""

_SQLITE_BUSY, _SQLITE_LOCKED = 5, 6
_RECONNECT_FIRST = "8s2b"
"""SQLAlchemy's code of the `PendingRollbackError` that follows a lost connection; a failed flush has another."""


def sqlstate_of(error: BaseException) -> str | None:
    """The SQLSTATE of a driver's error, or of SQLAlchemy's around it; None where there is none."""
    orig = _orig(error)
    code: object = getattr(orig, "sqlstate", None) or getattr(orig, "pgcode", None)
    return code if isinstance(code, str) else None


def is_lost(error: BaseException) -> bool:
    """Whether the connection went with this error, so that nothing says what became of what was sent."""
    return sign_of(error) in (Sign.LOST, Sign.DEMOTED)


def sign_of(error: BaseException) -> Sign:
    """What an error shows."""
    if isinstance(error, (NoNodeAvailable, exc.TimeoutError)):
        return Sign.NOT_SENT
    if isinstance(error, exc.PendingRollbackError):
        return Sign.LOST if error.__dict__.get("code") == _RECONNECT_FIRST else Sign.WRONG
    is_broken = isinstance(error, exc.DBAPIError) and error.connection_invalidated
    sign = _sign_of_driver(_orig(error))
    if sign is Sign.DEMOTED and not is_broken:
        return Sign.WRONG
    if sign is None:
        return Sign.LOST if is_broken else Sign.WRONG
    return sign


def _sign_of_driver(orig: Any) -> Sign | None:
    """What a driver's error shows by its code; None where it has no code that is known."""
    code = sqlstate_of(orig)
    if code is not None:
        return SQLSTATES.get(code)
    args: tuple[object, ...] = getattr(orig, "args", ())
    number = args[0] if args else None
    if isinstance(number, int):
        return MYSQL.get(number)
    result: object = getattr(orig, "sqlite_errorcode", None)
    if isinstance(result, int):
        return Sign.CONTENTION if result & 0xFF in (_SQLITE_BUSY, _SQLITE_LOCKED) else None
    # Python 3.10 tells no code of SQLite's.
    if type(orig).__module__ == "sqlite3" and number in ("database is locked", "database table is locked"):
        return Sign.CONTENTION
    return None


def classify(error: BaseException, call: Call) -> Failure:
    """Say what `error` means for the running call; the engine's question to this backend.

    Nothing but a refusal under load counts against ``retry.attempts``: a lost connection and a demoted node both mean
    that a new primary is awaited, and contention is between transactions, which the deadline alone bounds. Contention
    costs no budget, since it says nothing about the health of the cluster.
    """
    sign = sign_of(error)
    fault = _fault_of(sign, call)
    return Failure(
        fault=fault,
        node=call.node,
        cost=0.0 if sign is Sign.CONTENTION else 1.0,
        counted=fault is Fault.SHED,
        has_waited=isinstance(error, (NoNodeAvailable, exc.TimeoutError)),
    )


def _fault_of(sign: Sign, call: Call) -> Fault:
    kind = call.operation.kind
    if sign is Sign.WRONG:
        return Fault.PERMANENT
    if sign is Sign.SHED:
        return Fault.SHED
    if sign is Sign.UNDECIDED:
        return Fault.UNKNOWN
    if sign is Sign.NOT_SENT:
        # Beneath a unit of work that has sent its COMMIT, a later failure to connect says nothing about that COMMIT.
        return Fault.UNKNOWN if kind is Kind.UNIT_OF_WORK and call.sent else Fault.NOT_SENT
    if sign is Sign.LOST:
        return Fault.ROLLED_BACK if kind is Kind.UNIT_OF_WORK and not call.sent else Fault.UNKNOWN
    return Fault.ROLLED_BACK if kind is Kind.UNIT_OF_WORK else Fault.UNKNOWN if kind is Kind.READ else Fault.PERMANENT


def _orig(error: BaseException) -> BaseException:
    found = error.orig if isinstance(error, exc.StatementError) else None
    return error if found is None else found
