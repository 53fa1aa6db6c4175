"""What each error of cassandra-driver means for the operation that met it: one table.

Sources: the native protocol's specification (v5, section 9), the retry rules of the Java and Rust drivers, and
measurements on Cassandra 5.0 (which of the raised writes had been applied). Errors are told apart by type, code and
fields. What a coordinator refused before it asked any replica was not executed; all else may have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cassandra
from cassandra import WriteType, protocol
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionException, ProtocolError
from cassandra.pool import NoConnectionsAvailable

from undaunted.core.attempt import Failure
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from undaunted.cassandra.request import Request
    from undaunted.core.operation import Operation
    from undaunted.engine.call import Call

__all__ = ["CAS_WRITE_UNKNOWN", "classify", "fault_of", "is_answer"]

CAS_WRITE_UNKNOWN = 0x1700
"""A lightweight transaction whose coordinator does not know its outcome; the driver has no class for it."""

SHUTTING_DOWN = "Server is shutting down"
"""A node that is being stopped says this in place of executing a request, as an overloaded one: the protocol has no
code for it (Cassandra 4.0 to 5.0, at the entry of its dispatcher). Its words are the only sign."""

TOO_MANY_TOMBSTONES = 1
"""Reason of a replica's failure that no other try mends: the data are so."""

_SERIAL = frozenset({cassandra.ConsistencyLevel.SERIAL, cassandra.ConsistencyLevel.LOCAL_SERIAL})

_NEVER_SENT = (NoConnectionsAvailable, ConnectionBusy)
"""The connection was not even tried."""

_REFUSED = (
    cassandra.RequestValidationException, cassandra.AuthenticationFailed, cassandra.UnsupportedOperation,
    cassandra.FunctionFailure, protocol.RequestValidationException, protocol.ProtocolException,
    protocol.BadCredentials, protocol.CDCWriteException,
)  # fmt: skip
"""The request itself is wrong, or cannot be executed until somebody mends something."""

_MAYBE = (
    cassandra.OperationTimedOut, cassandra.Timeout, cassandra.CoordinationFailure, ConnectionException,
    ProtocolError, protocol.ServerError, protocol.TruncateError, protocol.ErrorMessage, OSError, EOFError,
)  # fmt: skip
"""It was on its way, and what it did is not known. An error code that is not known counts among these."""

_WORST_FIRST = (Fault.UNKNOWN, Fault.PERMANENT, Fault.SHED, Fault.NOT_SENT)


def fault_of(error: BaseException, operation: Operation, *, sent: bool) -> Fault:  # noqa: PLR0911  # a table
    """The meaning of `error` for `operation`.

    Args:
        error: What was raised.
        operation: What was being done.
        sent: Whether the request had been handed to a connection.
    """
    if isinstance(error, ConfigurationError):
        return Fault.PERMANENT
    if isinstance(error, NoHostAvailable):
        return _fault_of_no_host(error, operation, sent=sent)
    if isinstance(error, cassandra.Unavailable):
        return _fault_of_unavailable(error, operation)
    if isinstance(error, (*_NEVER_SENT, protocol.IsBootstrappingErrorMessage)):
        return Fault.NOT_SENT
    if isinstance(error, protocol.OverloadedErrorMessage):
        if error.message == SHUTTING_DOWN:
            return Fault.NOT_SENT
        # Some servers refuse before, some give up amidst; only what may run twice takes its word for it.
        return Fault.SHED if operation.is_repeatable else Fault.UNKNOWN
    if isinstance(error, _REFUSED) or _is_of_the_data(error):
        return Fault.PERMANENT
    if isinstance(error, _MAYBE):
        return Fault.UNKNOWN if sent or is_answer(error) else Fault.NOT_SENT
    # None of the driver's: before it was sent the values were wrong; behind a write it is an answer that nobody could
    # read, and so does not say whether it was applied.
    return Fault.UNKNOWN if sent and operation.kind is Kind.WRITE else Fault.PERMANENT


def classify(error: BaseException, call: Call) -> Failure:
    """Say what `error` means for the running call; the engine's question to this backend.

    A wait for a dead replica is not counted as an attempt, since the next coordinator may wait for it as well; so only
    the deadline bounds it. Nor is it followed by a further wait: it was one itself.
    """
    fault = fault_of(error, call.operation, sent=call.sent)
    has_waited = _waited_for_replica(error, call)
    return Failure(fault=fault, node=call.node, cost=1.0, counted=not has_waited, has_waited=has_waited)


def _waited_for_replica(error: BaseException, call: Call) -> bool:
    """Whether it may be a dead replica that was waited for, and not the coordinator that was asked.

    Until the other nodes have noticed the death (18 s measured), the log of a logged batch goes to it, and a range is
    read from it: there Cassandra asks no second replica when the first is slow. The coordinator gives up after the 2 s
    that its caller waits too, or later, so it is often the caller who gives up first.
    """
    has_timed_out = isinstance(error, cassandra.OperationTimedOut)
    if isinstance(error, cassandra.WriteTimeout) and error.write_type == WriteType.BATCH_LOG:
        return True
    if call.operation.name == "batch":
        return has_timed_out
    request: Request | None = getattr(call, "subject", None)
    is_range = request is not None and call.operation.kind is Kind.READ and request.query.routing_key is None
    if request is None or not is_range or not (has_timed_out or isinstance(error, cassandra.ReadTimeout)):
        return False
    return not request.session.health.are_all_well()


def is_answer(error: BaseException) -> bool:
    """Whether a server has said this, and so has come to an end with the request."""
    return isinstance(
        error, (cassandra.RequestExecutionException, cassandra.RequestValidationException, protocol.ErrorMessage)
    )


def _fault_of_no_host(error: NoHostAvailable, operation: Operation, *, sent: bool) -> Fault:
    inner: list[Any] = list((error.errors or {}).values()) if isinstance(error.errors, dict) else []
    if any(isinstance(one, cassandra.AuthenticationFailed) for one in inner):
        return Fault.PERMANENT
    if not sent:
        return Fault.NOT_SENT
    faults = {fault_of(one, operation, sent=True) for one in inner if isinstance(one, BaseException)}
    return next((fault for fault in _WORST_FIRST if fault in faults), Fault.UNKNOWN)


def _fault_of_unavailable(error: cassandra.Unavailable, operation: Operation) -> Fault:
    """Too few replicas are alive: refused before any was asked, but for the commit of a lightweight transaction."""
    is_conditional = operation.settleable and operation.kind is Kind.WRITE
    return Fault.UNKNOWN if is_conditional and error.consistency not in _SERIAL else Fault.NOT_SENT


def _is_of_the_data(error: BaseException) -> bool:
    reasons: Any = getattr(error, "error_code_map", None)
    return isinstance(error, cassandra.ReadFailure) and bool(reasons) and set(reasons.values()) == {TOO_MANY_TOMBSTONES}
