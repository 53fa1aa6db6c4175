"""How a command is handed to the driver: under which number, and when it is taken back. No server is asked."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import errors as driver

from undaunted.engine.call import Call
from undaunted.mongodb.execution import Execution, Given
from undaunted.mongodb.operations import describe
from undaunted.mongodb.sending import at_least
from undaunted.mongodb.topology import default_guard


class Conn:
    address = ("127.0.0.1", 27017)
    is_mongos = False

    def __init__(self, *, is_repl: bool) -> None:
        self.is_repl = is_repl


class Driver:
    """The driver's loop: it makes a number when told to retry, and goes on by itself once."""

    def __init__(self, *, takes_numbers: bool = True, unreachable: int = 0, is_member: bool | None = None) -> None:
        self.numbers = 0
        self.conn = Conn(is_repl=takes_numbers if is_member is None else is_member)
        self.unreachable = unreachable
        self.takes_numbers = takes_numbers

    def name_of(self, address: Any) -> str:
        return "127.0.0.1:27017"

    def await_node(self, call: Call, read_pref: Any = None) -> None:
        pass

    def drive(self, func: Any, execution: Execution, *, retryable: bool) -> Any:
        self.numbers += retryable
        if self.unreachable:
            self.unreachable -= 1
            raise driver.WaitQueueTimeoutError("full")
        may_retry = retryable and self.takes_numbers
        try:
            return func(None, self.conn, may_retry)
        except driver.AutoReconnect:
            if not may_retry:
                raise
            return func(None, self.conn, may_retry)


def execution(made: Driver, sent: list[bool], *, failures: int) -> tuple[Execution, Call]:
    def func(session: Any, conn: Any, numbered: bool) -> str:
        sent.append(numbered)
        if len(sent) <= failures:
            raise driver.AutoReconnect("reset")
        return "done"

    guard = default_guard()
    call = Call(guard, describe("insert", False, True, False, True), guard.policy)
    return Execution(made, guard, func, None, None, "insert", False, None, None, True, {}), call  # type: ignore[arg-type]


def run(made: Execution, call: Call, *, times: int) -> list[str]:
    results = []
    for _ in range(times):
        try:
            results.append(made(call))
        except driver.PyMongoError as error:
            results.append(type(error).__name__)
    return results


def test_every_run_carries_the_first_number_and_the_driver_is_stopped() -> None:
    made, sent = Driver(), []
    assert run(*execution(made, sent, failures=3), times=4) == ["AutoReconnect"] * 3 + ["done"]
    assert sent == [True] * 4, "once a run, each under a number"
    assert made.numbers == 1


@pytest.mark.parametrize("unreachable", [1, 3])
def test_a_write_that_was_not_sent_at_first_gets_its_number_later(unreachable: int) -> None:
    made, sent = Driver(unreachable=unreachable), []
    results = run(*execution(made, sent, failures=1), times=unreachable + 2)
    assert results == ["WaitQueueTimeoutError"] * unreachable + ["AutoReconnect", "done"]
    assert sent == [True, True]
    assert made.numbers == unreachable + 1, "a new one until one was sent, then none"


def test_a_server_without_numbers_makes_the_write_unrepeatable() -> None:
    made, sent = Driver(takes_numbers=False), []
    one, call = execution(made, sent, failures=1)
    assert run(one, call, times=1) == ["AutoReconnect"]
    assert sent == [False]
    assert not call.operation.is_repeatable


def test_a_member_that_was_just_lost_to_another_call_is_not_taken_for_one_without_numbers() -> None:
    """The driver looks at what is known of the node after it has the connection; by then it may know nothing."""
    made, sent = Driver(takes_numbers=False, is_member=True), []
    one, call = execution(made, sent, failures=0)
    assert run(one, call, times=1) == ["AutoReconnect"]
    assert sent == []
    assert not call.sent


def test_options_are_found_in_arguments_and_connection_strings() -> None:
    given = Given(("mongodb://a,b/?socketTimeoutMS=5&w=1",), {"Connect": False})
    assert given.has("sockettimeoutms")
    assert given.has("w")
    assert given.has("connect")
    assert not given.has("waitQueueTimeoutMS")
    assert Given((), {"host": ["mongodb://a/?retryWrites=false"]}).has("retryWrites")


def test_a_timeout_is_never_none() -> None:
    assert at_least(0) > 0
    assert at_least(3) == 3
