"""Running a transaction as a whole: again from its start when it was rolled back, its commit again when unanswered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pymongo
from pymongo import errors as driver

from undaunted.core.backoff import full_jitter_s
from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync
from undaunted.mongodb import scope
from undaunted.mongodb.faults import UNKNOWN_COMMIT
from undaunted.mongodb.sending import at_least

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.client_session import ClientSession

    from undaunted.engine.call import Call
    from undaunted.mongodb.client import MongoClient

__all__ = ["run_unit"]

T = TypeVar("T")

_UNIT = Operation(name="transaction", kind=Kind.UNIT_OF_WORK, patient=True)


def run_unit(
    client: MongoClient,
    body: Callable[[ClientSession], T],
    *,
    session: ClientSession | None = None,
    before_rerun: Callable[[], None] | None = None,
    **options: Any,
) -> T:
    """Run `body` in a transaction until it has happened exactly once, or cannot within the deadline.

    Args:
        client: The cluster.
        body: Gets the session; is run again as a whole after a rollback.
        session: The caller's own session, or None for one of its own.
        before_rerun: Called before each run but the first.
        **options: For `pymongo.client_session.ClientSession.start_transaction`.

    Raises:
        OutcomeUnknown: The commit was sent, and the deadline passed before anything said what became of it.
        Exception: Whatever `body` raises; nothing of the transaction has happened then.
    """
    guard = client.guard
    runs = 0

    def once(call: Call) -> T:
        nonlocal runs
        runs += 1
        if runs > 1 and before_rerun is not None:
            before_rerun()
        client.await_node(call)
        with pymongo.timeout(at_least(call.remaining_s())):
            if session is not None:
                return _run_once(session, body, call, options)
            with client.start_session() as own:
                return _run_once(own, body, call, options)

    return sync.run(guard, _UNIT, once, policy=scope.policy_in_force(guard))


def _run_once(session: ClientSession, body: Callable[[ClientSession], T], call: Call, options: dict[str, Any]) -> T:
    session.start_transaction(**options)
    try:
        result = body(session)
    except BaseException:
        if session.in_transaction:
            session.abort_transaction()
        raise
    if session.in_transaction:
        call.sent = True
        _commit(session, call)
    return result


def _commit(session: ClientSession, call: Call) -> None:
    """Commit, and ask again while no answer came: to the server a repeated commit is the same commit."""
    tries = 0
    while True:
        try:
            session.commit_transaction()
        except driver.PyMongoError as error:
            delay = full_jitter_s(call.policy.backoff, tries, call.guard.chance())
            tries += 1
            is_unanswered = error.has_error_label(UNKNOWN_COMMIT) and not isinstance(error, driver.ExecutionTimeout)
            if not is_unanswered or call.remaining_s() <= delay:
                raise
            call.guard.sleep(delay)
        else:
            return
