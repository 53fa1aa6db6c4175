"""The table of errors: one row a test."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import exc

from undaunted.core.budget import Budget
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.outage import Outage
from undaunted.core.policy import BudgetPolicy, Policy
from undaunted.engine.call import Call
from undaunted.engine.guard import Guard
from undaunted.sqlalchemy import errors
from undaunted.sqlalchemy.faults import MYSQL, SQLSTATES, Sign, classify, is_lost, sign_of, sqlstate_of

if TYPE_CHECKING:
    from undaunted.core.attempt import Failure

GUARD = Guard(
    cluster="ledger",
    backend="sqlalchemy",
    policy=Policy(),
    budget=Budget(BudgetPolicy()),
    outage=Outage(),
    classify=classify,
    errors=errors.error_classes(),
)
LOST = [code for code, sign in SQLSTATES.items() if sign is Sign.LOST]


def refused(code: str | None, *, lost: bool = False) -> exc.DBAPIError:
    """What SQLAlchemy makes of an error of psycopg's with this SQLSTATE."""
    kind = psycopg.OperationalError if code is None else psycopg.errors.lookup(code)
    return exc.OperationalError("SELECT 1", {}, kind("told"), connection_invalidated=lost)


def judged(error: Exception, kind: Kind = Kind.UNIT_OF_WORK, *, sent: bool = False) -> Failure:
    call = Call(GUARD, Operation(name="unit", kind=kind, idempotent=True), GUARD.policy)
    call.sent, call.node = sent, "n1:5432"
    return classify(error, call)


@pytest.mark.parametrize(
    ("code", "lost", "before_commit", "at_commit"),
    [
        ("08000", True, Fault.ROLLED_BACK, Fault.UNKNOWN),
        ("08001", False, Fault.NOT_SENT, Fault.UNKNOWN),
        ("08003", True, Fault.ROLLED_BACK, Fault.UNKNOWN),
        ("08004", False, Fault.NOT_SENT, Fault.UNKNOWN),
        ("08006", True, Fault.ROLLED_BACK, Fault.UNKNOWN),
        ("08007", True, Fault.UNKNOWN, Fault.UNKNOWN),
        ("08P01", True, Fault.ROLLED_BACK, Fault.UNKNOWN),
        ("25006", True, Fault.ROLLED_BACK, Fault.ROLLED_BACK),
        ("25P03", True, Fault.PERMANENT, Fault.PERMANENT),
        ("25P04", True, Fault.PERMANENT, Fault.PERMANENT),
        ("40000", False, Fault.ROLLED_BACK, Fault.ROLLED_BACK),
        ("40001", False, Fault.ROLLED_BACK, Fault.ROLLED_BACK),
        ("40003", False, Fault.UNKNOWN, Fault.UNKNOWN),
        ("40P01", False, Fault.ROLLED_BACK, Fault.ROLLED_BACK),
        ("53300", False, Fault.SHED, Fault.SHED),
        ("57P01", True, Fault.ROLLED_BACK, Fault.UNKNOWN),
        ("57P02", True, Fault.ROLLED_BACK, Fault.UNKNOWN),
        ("57P03", False, Fault.NOT_SENT, Fault.UNKNOWN),
        ("57P05", True, Fault.PERMANENT, Fault.PERMANENT),
        (None, True, Fault.ROLLED_BACK, Fault.UNKNOWN),
    ],
)
def test_a_sqlstate(code: str | None, lost: bool, before_commit: Fault, at_commit: Fault) -> None:
    assert judged(refused(code, lost=lost)).fault is before_commit
    assert judged(refused(code, lost=lost), sent=True).fault is at_commit


def test_every_row_of_the_table_has_its_test() -> None:
    tested = {row[0] for row in test_a_sqlstate.pytestmark[0].args[1]}  # type: ignore[attr-defined]
    assert set(SQLSTATES) == tested - {None}


@pytest.mark.parametrize(
    "code", ["22012", "23505", "23503", "42P01", "28P01", "3D000", "55P03", "57014", "25P02", "0A000"]
)
@pytest.mark.parametrize("sent", [False, True])
def test_a_sqlstate_that_is_not_in_the_table_is_permanent(code: str, sent: bool) -> None:
    assert judged(refused(code), sent=sent).fault is Fault.PERMANENT


@pytest.mark.parametrize("code", ["XX000", "53100", "53200", "58030"])
def test_a_failing_server_is_permanent(code: str) -> None:
    assert judged(refused(code)).fault is Fault.PERMANENT


def test_a_transaction_that_was_declared_read_only_is_the_callers_own() -> None:
    assert judged(refused("25006")).fault is Fault.PERMANENT
    assert not is_lost(refused("25006"))


@pytest.mark.parametrize("code", [*LOST, None, "40001", "25006"])
def test_a_read_that_lost_its_node_runs_again(code: str | None) -> None:
    assert judged(refused(code, lost=True), Kind.READ, sent=True).fault is Fault.UNKNOWN


def test_a_write_outside_of_a_unit_is_never_called_undone() -> None:
    assert judged(refused(None, lost=True), Kind.WRITE, sent=True).fault is Fault.UNKNOWN
    assert judged(refused("40001"), Kind.WRITE).fault is Fault.PERMANENT


def test_contention_costs_no_budget_and_nothing_but_a_refusal_counts() -> None:
    assert (judged(refused("40001")).cost, judged(refused("40001")).counted) == (0.0, False)
    assert (judged(refused("57P01", lost=True)).cost, judged(refused("57P01", lost=True)).counted) == (1.0, False)
    assert (judged(refused("53300")).cost, judged(refused("53300")).counted) == (1.0, True)


@pytest.mark.parametrize("error", [errors.NoNodeAvailable(), exc.TimeoutError("pool")])
def test_who_got_no_connection_has_sent_nothing_and_has_waited(error: Exception) -> None:
    failure = judged(error)
    assert (failure.fault, failure.has_waited, failure.counted) == (Fault.NOT_SENT, True, False)
    assert failure.node == "n1:5432"


def test_no_connection_after_the_commit_was_sent_does_not_undo_it() -> None:
    assert judged(errors.NoNodeAvailable(), sent=True).fault is Fault.UNKNOWN


@pytest.mark.parametrize(
    "error", [errors.CredentialsRefused("x"), errors.UnusableCluster("x"), errors.CommitRolledBack()]
)
def test_errors_of_ours_that_no_try_mends(error: Exception) -> None:
    assert judged(error).fault is Fault.PERMANENT


def test_a_session_that_was_used_after_its_connection_was_lost() -> None:
    assert judged(exc.PendingRollbackError("lost", code="8s2b")).fault is Fault.ROLLED_BACK
    assert judged(exc.PendingRollbackError("a failed flush", code="7s2a")).fault is Fault.PERMANENT


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("id"), RuntimeError(), exc.InvalidRequestError("no")])
def test_errors_of_the_application(error: Exception) -> None:
    assert judged(error).fault is Fault.PERMANENT


class OfMySQL(Exception):
    """What drivers of MySQL raise: the number comes first."""


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1040, Fault.SHED),
        (1053, Fault.ROLLED_BACK),
        (1203, Fault.SHED),
        (1213, Fault.ROLLED_BACK),
        (1290, Fault.ROLLED_BACK),
        (1792, Fault.PERMANENT),
        (1836, Fault.ROLLED_BACK),
        (1927, Fault.ROLLED_BACK),
        (2002, Fault.NOT_SENT),
        (2003, Fault.NOT_SENT),
        (2005, Fault.NOT_SENT),
        (2006, Fault.ROLLED_BACK),
        (2013, Fault.ROLLED_BACK),
        (2014, Fault.ROLLED_BACK),
        (2045, Fault.ROLLED_BACK),
        (2055, Fault.ROLLED_BACK),
        (3101, Fault.ROLLED_BACK),
        (4031, Fault.ROLLED_BACK),
        (1062, Fault.PERMANENT),
    ],
)
def test_a_number_of_mysql(number: int, expected: Fault) -> None:
    lost = MYSQL.get(number) in (Sign.LOST, Sign.DEMOTED)
    error = exc.OperationalError("SELECT 1", {}, OfMySQL(number, "told"), connection_invalidated=lost)
    assert judged(error).fault is expected
    assert number in MYSQL or expected is Fault.PERMANENT


def test_a_locked_sqlite_is_contention(tmp_path: Any) -> None:
    path = tmp_path / "db"
    with sqlite3.connect(path, isolation_level=None) as one, sqlite3.connect(path, timeout=0) as other:
        one.execute("CREATE TABLE t (n int)")
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as caught:
            other.execute("INSERT INTO t VALUES (1)")
        one.execute("ROLLBACK")
    one.close()
    other.close()
    assert judged(exc.OperationalError("INSERT", {}, caught.value)).fault is Fault.ROLLED_BACK
    without_code = sqlite3.OperationalError(*caught.value.args)  # as on Python 3.10
    assert judged(exc.OperationalError("INSERT", {}, without_code)).fault is Fault.ROLLED_BACK
    assert (
        judged(exc.OperationalError("INSERT", {}, sqlite3.OperationalError("no such table: t"))).fault
        is Fault.PERMANENT
    )


def test_where_a_sqlstate_is_found() -> None:
    class OfPsycopg2(Exception):
        pgcode = "40001"

    assert sqlstate_of(psycopg.errors.DeadlockDetected()) == "40P01"
    assert sqlstate_of(exc.DBAPIError("", {}, OfPsycopg2())) == "40001"
    assert sqlstate_of(exc.DBAPIError("", {}, OfMySQL(1213))) is None
    assert sqlstate_of(ValueError()) is None
    assert sign_of(psycopg.errors.SerializationFailure()) is Sign.CONTENTION
