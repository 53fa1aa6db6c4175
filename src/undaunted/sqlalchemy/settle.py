"""What became of a COMMIT whose reply was lost: asked of whoever is primary now, until it is known or time is up.

Never by the number of the transaction (``pg_xact_status``): behind a crash or a promotion the server may have given it
to another one, and in up to 43 % of the cases it answered "committed" for what was not.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from undaunted.core.backoff import full_jitter_s
from undaunted.core.fault import Fault
from undaunted.engine.guard import NOT_APPLIED, UNDECIDED
from undaunted.sqlalchemy.faults import sqlstate_of
from undaunted.sqlalchemy.keys import KeyTaken, insert_key
from undaunted.sqlalchemy.tokens import note_commit
from undaunted.sqlalchemy.unit import Unit

if TYPE_CHECKING:
    from undaunted.core.attempt import Failure
    from undaunted.engine.call import Call

__all__ = ["settle"]

_LONGEST_WAIT_S = 0.25
_TOO_LONG = frozenset({"55P03", "57014"})
"""``lock_timeout`` and ``statement_timeout``."""


def settle(call: Call, failure: Failure) -> Any:  # noqa: ARG001  # the seam's signature
    """Find out what became of a unit of work; the guard's `settle`.

    Returns:
        What its function returned, where it was applied; `NOT_APPLIED`; or `UNDECIDED`. Of a coroutine function, an
        awaitable of that.
    """
    unit: object = getattr(call, "subject", None)
    if not isinstance(unit, Unit):
        return UNDECIDED
    if not unit.is_handed_over:
        return NOT_APPLIED  # the COMMIT that was sent meanwhile was another one
    return _settle_async(call, unit) if unit.is_async else _settle(call, unit)


def _settle(call: Call, unit: Unit) -> Any:
    tries = 0
    while unit.can_be_settled and call.remaining_s() > 0:
        try:
            found = _asked(unit)
        except (exc.SQLAlchemyError, OSError) as error:
            _check(error, call)
            found = None
        if found is not None:
            return _answer(unit, was_applied=found)
        delay_s = _delay_s(call, tries)
        if delay_s >= call.remaining_s():
            break
        call.guard.sleep(delay_s)
        tries += 1
    return _undecided(call, unit)


async def _settle_async(call: Call, unit: Unit) -> Any:
    tries = 0
    while unit.can_be_settled and call.remaining_s() > 0:
        try:
            found = await _asked_async(unit)
        except (exc.SQLAlchemyError, OSError) as error:
            _check(error, call)
            found = None
        if found is not None:
            return _answer(unit, was_applied=found)
        delay_s = _delay_s(call, tries)
        if delay_s >= call.remaining_s():
            break
        await (call.guard.async_sleep or asyncio.sleep)(delay_s)
        tries += 1
    return _undecided(call, unit)


def _asked(unit: Unit) -> bool | None:
    connection = unit.cluster.writer.connect()
    try:
        return ask(unit, connection)
    finally:
        _leave(connection)


async def _asked_async(unit: Unit) -> bool | None:
    connection = await unit.cluster.async_writer.connect()
    try:
        return await connection.run_sync(lambda beneath: ask(unit, beneath))
    finally:
        await connection.run_sync(_leave)


def ask(unit: Unit, connection: sa.Connection) -> bool | None:
    """Whether a unit of work was applied; None where that cannot be said yet.

    Each question must see what has been committed until then, and the key must not stay: whatever the engine's own
    isolation level is, AUTOCOMMIT included.
    """
    isolation = "READ COMMITTED" if unit.cluster.is_postgresql else unit.terms.isolation
    if isolation is not None:
        connection.execution_options(isolation_level=isolation)
    if unit.free is not None:
        return unit.free.ask(connection)
    # A transaction that SQLAlchemy knows of is undone by `_leave`; of any other the pool would decide, and where
    # `pool_reset_on_return` is "commit", the key would stay, and tell that a unit was applied which never was.
    connection.begin()
    try:
        insert_key(connection, unit.table, unit.key)  # waits for an old transaction that is still undecided
    except KeyTaken:
        return True
    return False  # and undone by the caller; no older transaction can have it any more


def _leave(connection: sa.Connection) -> None:
    with contextlib.suppress(exc.SQLAlchemyError):
        connection.rollback()
    with contextlib.suppress(exc.SQLAlchemyError):
        connection.close()


def _check(error: Exception, call: Call) -> None:
    """Raise an error where nothing is gained by asking again.

    A limit that was set for waits and statements is for those of the application: the lost COMMIT may still hang.
    """
    if sqlstate_of(error) in _TOO_LONG:
        return
    if call.guard.classify(error, call).fault is Fault.PERMANENT:
        raise error


def _undecided(call: Call, unit: Unit) -> Any:
    """What is said where nobody can know: what was declared to do no harm twice may run again, unless time is up."""
    return NOT_APPLIED if call.operation.idempotent and not unit.can_be_settled else UNDECIDED


def _answer(unit: Unit, *, was_applied: bool) -> Any:
    if not was_applied:
        return NOT_APPLIED
    note_commit(unit.cluster.name)
    return unit.value


def _delay_s(call: Call, tries: int) -> float:
    return min(_LONGEST_WAIT_S, full_jitter_s(call.policy.backoff, tries, call.guard.chance()))
