"""Writes to many documents, each in a short transaction of its own, so that they can be run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import pymongo
from pymongo import errors as driver

from undaunted.mongodb import scope, seams
from undaunted.mongodb.faults import driver_error
from undaunted.mongodb.sending import at_least
from undaunted.mongodb.units import run_unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.client_session import ClientSession

    from undaunted.mongodb.client import MongoClient
    from undaunted.mongodb.database import Collection

__all__ = ["run_whole"]

T = TypeVar("T")

_NOT_IN_TRANSACTION_CODES = frozenset({20, 73, 263, 166})
"""IllegalOperation (a standalone server), InvalidNamespace (config, admin), OperationNotSupportedInTransaction
(capped, time series), CommandNotSupportedOnView: known not to have been applied, so it may run plainly."""


def run_whole(collection: Collection, session: ClientSession | None, write: Callable[..., T]) -> T:
    """Run a write to many documents so that a lost reply leaves nothing half done.

    An error that the request itself causes (a duplicate key, a failed validation) keeps the meaning it has without a
    transaction, partial effect included: the transaction is undone, and the write is run plainly once more.

    Args:
        collection: Where it writes.
        session: The caller's session, or None.
        write: The driver's method with all its arguments but the session.
    """
    client = cast("MongoClient", collection.database.client)
    bound = session or seams.bound_session(client)
    policy = scope.policy_in_force(client.guard)
    if not collection.write_concern.acknowledged:
        with pymongo.timeout(at_least(policy.deadline_s)):  # the driver sends it past the place where calls are bounded
            return write(session=session)
    if (bound is not None and bound.in_transaction) or policy.many_writes == "plain":
        return write(session=session)

    def body(inner: ClientSession) -> T:
        return write(session=inner)

    try:
        return run_unit(client, body, session=bound, write_concern=collection.write_concern)
    except (driver.OperationFailure, driver.InvalidOperation) as error:
        if not _is_of_the_request(error):
            raise
    return write(session=session)


def _is_of_the_request(error: BaseException) -> bool:
    """Whether the request itself was refused, so that nothing was applied and a plain run tells why."""
    found = driver_error(error)
    if isinstance(found, (driver.BulkWriteError, driver.WriteError)):
        return True
    code: Any = getattr(found, "code", None)
    return code in _NOT_IN_TRANSACTION_CODES
