"""What each error of pymongo and MongoEngine means for the operation that met it: one table.

Sources: the retryable reads, retryable writes and transactions specifications of MongoDB, and measurements on
6.0 (which of the raised writes had been applied). Errors are told apart by type, code and label, never by text.

A label that pymongo itself puts on a failed connect (``SystemOverloadedError``, since 4.17) is not believed:
a frozen or refused node is not an overloaded one. Only a server's answer can say that it was overloaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo import errors as driver

from undaunted.core.attempt import Failure
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind
from undaunted.mongodb.operations import GET_MORE

if TYPE_CHECKING:
    from undaunted.core.operation import Operation
    from undaunted.engine.call import Call

__all__ = ["NOT_EXECUTED_CODES", "STATE_CHANGE_CODES", "classify", "driver_error", "fault_of", "mark_final"]

NOT_EXECUTED_CODES = frozenset({10107, 13435, 13436, 10058})
"""The node is not a primary, so it executed nothing: NotWritablePrimary and its kin (measured: 3 of 3 not applied)."""

STATE_CHANGE_CODES = frozenset({11602, 11600, 189, 91})
"""The node stopped being one while it worked: InterruptedDueToReplStateChange, InterruptedAtShutdown,
PrimarySteppedDown, ShutdownInProgress. The write may have been applied, and may be rolled back."""

NETWORK_CODES = frozenset({6, 7, 89, 9001, 134, 262})
"""A node beyond the one asked was out of reach: HostUnreachable, HostNotFound, NetworkTimeout, SocketException,
ReadConcernMajorityNotAvailableYet, ExceededTimeLimit."""

CURSOR_LOST_CODES = frozenset({43, 237})
"""CursorNotFound, CursorKilled: the cursor went with its node, or was idle for ten minutes."""

WRITE_CONFLICT = 112
OVERLOADED = 462
MAX_TIME_EXPIRED = 50
CREDENTIALS_CODES = frozenset({13, 18})
WRITE_TIMEOUT = 64

_CLOSE_S = 0.25
"""A server's time limit that strikes within this much of the deadline came from the deadline."""

TRANSIENT = "TransientTransactionError"
UNKNOWN_COMMIT = "UnknownTransactionCommitResult"


def driver_error(error: BaseException) -> BaseException:
    """The driver's own error behind `error`: MongoEngine hides code and labels in ``__context__``."""
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, driver.PyMongoError):
        seen = seen.__cause__ or seen.__context__
    return error if seen is None else seen


def mark_final(error: Exception) -> None:
    """Have `error` taken as permanent, although its kind is not: what it interrupted cannot be run again."""
    error.undaunted_is_final = True  # type: ignore[attr-defined]


def fault_of(error: BaseException, operation: Operation, *, sent: bool) -> Fault:
    """The meaning of `error`, which may be a wrapper, for `operation`.

    Args:
        error: What was raised.
        operation: What was being done.
        sent: Whether the command had been handed to a connection; a failure before that reached no server.
    """
    found = driver_error(error)
    if not isinstance(found, driver.PyMongoError):
        return Fault.PERMANENT
    if operation.kind is Kind.UNIT_OF_WORK:
        return _fault_of_transaction(found)
    if isinstance(found, driver.OperationFailure):
        return _fault_of_answer(found)
    if isinstance(found, driver.ConnectionFailure):
        return _fault_of_connection(found, sent=sent)
    return Fault.PERMANENT


def _fault_of_transaction(error: driver.PyMongoError) -> Fault:
    if error.has_error_label(UNKNOWN_COMMIT):
        return Fault.UNKNOWN
    if error.has_error_label(TRANSIENT):
        return Fault.ROLLED_BACK
    if isinstance(error, driver.ConnectionFailure):
        return Fault.ROLLED_BACK
    code = getattr(error, "code", None)
    if code in STATE_CHANGE_CODES or code in NOT_EXECUTED_CODES or code == WRITE_CONFLICT:
        return Fault.ROLLED_BACK
    return Fault.PERMANENT


def _fault_of_answer(error: driver.OperationFailure) -> Fault:
    code = _code_of(error)
    if error.has_error_label("NoWritesPerformed") or code in NOT_EXECUTED_CODES:
        return Fault.NOT_SENT
    if error.has_error_label("SystemOverloadedError") or code == OVERLOADED:
        return Fault.SHED
    if code == WRITE_CONFLICT or error.has_error_label(TRANSIENT):
        return Fault.ROLLED_BACK
    if code in STATE_CHANGE_CODES or code in NETWORK_CODES or code in {WRITE_TIMEOUT, MAX_TIME_EXPIRED}:
        return Fault.UNKNOWN
    if error.has_error_label("RetryableWriteError"):
        return Fault.UNKNOWN
    return Fault.PERMANENT


def _code_of(error: driver.OperationFailure) -> int | None:
    """The code that matters: a bulk's write concern error carries its own, inside the details."""
    if isinstance(error, driver.BulkWriteError):
        if error.details.get("writeErrors"):
            return error.code
        for concern in error.details.get("writeConcernErrors") or ():
            return int(concern.get("code", 0))
    return error.code


def _fault_of_connection(error: driver.ConnectionFailure, *, sent: bool) -> Fault:
    if isinstance(error, driver.NotPrimaryError):
        code = (error.details or {}).get("code") if isinstance(error.details, dict) else None
        return Fault.UNKNOWN if code in STATE_CHANGE_CODES else Fault.NOT_SENT
    if isinstance(error, (driver.ServerSelectionTimeoutError, driver.WaitQueueTimeoutError)):
        return Fault.UNKNOWN if sent else Fault.NOT_SENT
    return Fault.UNKNOWN if sent else Fault.NOT_SENT


def classify(error: BaseException, call: Call) -> Failure:
    """Say what `error` means for the running call; the engine's question to this backend.

    Nothing here counts against ``retry.attempts``: a lost connection and a primary that steps down both mean
    that a new primary is awaited, which the deadline alone bounds. Contention between transactions costs no
    budget, since it says nothing about the health of the cluster.
    """
    if getattr(error, "undaunted_is_final", False):
        return Failure(fault=Fault.PERMANENT, node=call.node)
    found = driver_error(error)
    if call.operation.name == GET_MORE and getattr(found, "code", None) in CURSOR_LOST_CODES:
        return Failure(fault=Fault.NOT_SENT, node=call.node, counted=False)
    if (
        isinstance(found, driver.ExecutionTimeout)
        and call.operation.kind is Kind.READ
        and call.remaining_s() > _CLOSE_S
    ):
        return Failure(fault=Fault.PERMANENT, node=call.node)  # the caller's own max_time_ms, not our deadline
    fault = fault_of(error, call.operation, sent=call.sent)
    contention = fault is Fault.ROLLED_BACK and getattr(found, "code", None) == WRITE_CONFLICT
    return Failure(fault=fault, node=call.node, cost=0.0 if contention else 1.0, counted=fault is Fault.SHED)
