"""One row an error, one test a row: what each error of the driver means."""

from __future__ import annotations

import mongoengine
import pytest
from pymongo import errors as driver

from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.engine.call import Call
from undaunted.mongodb.faults import classify, driver_error, fault_of, mark_final
from undaunted.mongodb.operations import GET_MORE, describe
from undaunted.mongodb.topology import default_guard

READ = describe("find", True, False, False, True)
WRITE = describe("insert", False, False, False, True)
NUMBERED = describe("insert", False, True, False, True)
UNIT = Operation(name="transaction", kind=Kind.UNIT_OF_WORK, patient=True)


def labelled(error: driver.PyMongoError, *labels: str) -> driver.PyMongoError:
    for label in labels:
        error._add_error_label(label)
    return error


def answer(code: int, *labels: str) -> driver.PyMongoError:
    return labelled(driver.OperationFailure("x", code, {"code": code}), *labels)


def not_primary(code: int) -> driver.PyMongoError:
    return driver.NotPrimaryError("x", {"code": code})


ROWS = [
    # error, sent, fault
    (driver.AutoReconnect("reset"), True, Fault.UNKNOWN),
    (driver.AutoReconnect("refused"), False, Fault.NOT_SENT),
    (driver.NetworkTimeout("slow"), True, Fault.UNKNOWN),
    (driver.NetworkTimeout("connect"), False, Fault.NOT_SENT),
    (driver.ServerSelectionTimeoutError("none"), False, Fault.NOT_SENT),
    (driver.WaitQueueTimeoutError("full"), False, Fault.NOT_SENT),
    (not_primary(10107), True, Fault.NOT_SENT),
    (not_primary(13435), True, Fault.NOT_SENT),
    (not_primary(13436), True, Fault.NOT_SENT),
    (not_primary(11602), True, Fault.UNKNOWN),
    (not_primary(11600), True, Fault.UNKNOWN),
    (not_primary(189), True, Fault.UNKNOWN),
    (not_primary(91), True, Fault.UNKNOWN),
    (answer(11602), True, Fault.UNKNOWN),
    (answer(64), True, Fault.UNKNOWN),
    (answer(6), True, Fault.UNKNOWN),
    (answer(112), True, Fault.ROLLED_BACK),
    (answer(462), True, Fault.SHED),
    (answer(1, "SystemOverloadedError", "RetryableError"), True, Fault.SHED),
    (answer(11602, "NoWritesPerformed"), True, Fault.NOT_SENT),
    (answer(4711, "RetryableWriteError"), True, Fault.UNKNOWN),
    (answer(18), False, Fault.PERMANENT),
    (answer(13), True, Fault.PERMANENT),
    (answer(59), True, Fault.PERMANENT),
    (driver.DuplicateKeyError("x", 11000), True, Fault.PERMANENT),
    (driver.WriteError("x", 121), True, Fault.PERMANENT),
    (driver.WriteConcernError("x", 91), True, Fault.UNKNOWN),
    (driver.WTimeoutError("x", 64), True, Fault.UNKNOWN),
    (driver.InvalidOperation("x"), True, Fault.PERMANENT),
    (driver.ConfigurationError("x"), True, Fault.PERMANENT),
    (driver.DocumentTooLarge("x"), True, Fault.PERMANENT),
    (ValueError("x"), True, Fault.PERMANENT),
]


@pytest.mark.parametrize("operation", [READ, WRITE, NUMBERED], ids=lambda o: f"{o.kind.value}-{o.idempotent}")
@pytest.mark.parametrize(("error", "sent", "fault"), ROWS, ids=lambda v: getattr(v, "name", None) or repr(v)[:40])
def test_each_error_has_its_meaning(operation: Operation, error: Exception, sent: bool, fault: Fault) -> None:
    assert fault_of(error, operation, sent=sent) is fault


def test_overload_labels_that_the_driver_made_are_not_believed() -> None:
    """pymongo labels every failed connect as overload; a frozen node is not an overloaded one."""
    error = labelled(driver.NetworkTimeout("connect"), "SystemOverloadedError", "RetryableError")
    assert fault_of(error, WRITE, sent=False) is Fault.NOT_SENT
    assert fault_of(error, WRITE, sent=True) is Fault.UNKNOWN


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (labelled(driver.AutoReconnect("x"), "UnknownTransactionCommitResult"), Fault.UNKNOWN),
        (labelled(driver.AutoReconnect("x"), "TransientTransactionError"), Fault.ROLLED_BACK),
        (driver.AutoReconnect("x"), Fault.ROLLED_BACK),
        (answer(251, "TransientTransactionError"), Fault.ROLLED_BACK),
        (answer(112), Fault.ROLLED_BACK),
        (answer(10107), Fault.ROLLED_BACK),
        (driver.DuplicateKeyError("x", 11000), Fault.PERMANENT),
        (KeyError("application"), Fault.PERMANENT),
    ],
)
def test_what_an_error_means_for_a_whole_transaction(error: Exception, fault: Fault) -> None:
    assert fault_of(error, UNIT, sent=True) is fault


def test_mongoengine_wrappers_are_looked_through() -> None:
    hidden = answer(251, "TransientTransactionError")
    with pytest.raises(mongoengine.OperationError) as caught:
        try:
            raise hidden
        except driver.OperationFailure:
            raise mongoengine.OperationError("Could not save document") from None
    assert driver_error(caught.value) is hidden
    assert fault_of(caught.value, UNIT, sent=True) is Fault.ROLLED_BACK


def test_bulk_write_concern_errors_carry_their_code_inside() -> None:
    error = driver.BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 11602}]})
    assert fault_of(error, WRITE, sent=True) is Fault.UNKNOWN
    error = driver.BulkWriteError({"writeErrors": [{"code": 11000}], "writeConcernErrors": []})
    assert fault_of(error, WRITE, sent=True) is Fault.PERMANENT


def call_of(operation: Operation) -> Call:
    guard = default_guard()
    call = Call(guard, operation, guard.policy)
    call.sent = True
    return call


def test_contention_costs_no_budget_and_nothing_counts_but_load() -> None:
    assert classify(answer(112), call_of(UNIT)).cost == 0.0
    assert classify(driver.AutoReconnect("x"), call_of(WRITE)).cost == 1.0
    assert not classify(driver.AutoReconnect("x"), call_of(WRITE)).counted
    assert classify(answer(462), call_of(WRITE)).counted


def test_the_callers_own_time_limit_is_not_a_fault() -> None:
    assert classify(driver.ExecutionTimeout("x", 50), call_of(READ)).fault is Fault.PERMANENT
    late = call_of(READ)
    late.deadline_s = late.started_s
    assert classify(driver.ExecutionTimeout("x", 50), late).fault is Fault.UNKNOWN
    assert classify(driver.ExecutionTimeout("x", 50), call_of(WRITE)).fault is Fault.UNKNOWN


def test_a_lost_cursor_may_be_asked_for_again_elsewhere() -> None:
    fetch = Operation(name=GET_MORE, kind=Kind.READ, idempotent=True)
    assert classify(driver.CursorNotFound("x", 43), call_of(fetch)).fault is Fault.NOT_SENT
    assert classify(driver.CursorNotFound("x", 43), call_of(READ)).fault is Fault.PERMANENT


def test_an_error_marked_final_is_permanent() -> None:
    error = driver.AutoReconnect("x")
    mark_final(error)
    assert classify(error, call_of(UNIT)).fault is Fault.PERMANENT
