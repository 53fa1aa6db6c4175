"""Every private name of pymongo that this backend touches, in one place and checked at start-up.

pymongo offers no public hook that sees each command and may run it again under the same transaction number.
`docs/decisions` tells why these few names were chosen, and ``tests/contract`` holds them against every
supported version.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

import pymongo
from bson import ObjectId
from pymongo import _csot
from pymongo.mongo_client import MongoClient
from pymongo.synchronous import client_session

from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextvars import ContextVar

    from pymongo.client_session import ClientSession
    from pymongo.command_cursor import CommandCursor
    from pymongo.cursor import Cursor

__all__ = [
    "BOUND_SESSION",
    "MINIMUM_PYMONGO",
    "TIMEOUT",
    "CursorView",
    "abandon",
    "bound_session",
    "check_driver",
    "has_buffered",
    "outer_remaining_s",
    "set_query",
]

# None where a release has no such name: `check_driver` refuses it before anything here is used.
TIMEOUT: ContextVar[float | None] = getattr(_csot, "TIMEOUT", cast("Any", None))
"""The length of the ``pymongo.timeout`` around us, or None without one."""

BOUND_SESSION: ContextVar[ClientSession | None] = getattr(client_session, "_SESSION", cast("Any", None))
"""What `ClientSession.bind` has made implicit here for its own client, or None."""

MINIMUM_PYMONGO = (4, 17)
"""The first release with `ClientSession.bind` and with the marks for commands that may write."""

_RETRY_PARAMETERS = (
    "func", "session", "bulk", "operation", "is_read", "address", "read_pref",
    "retryable", "operation_id", "is_run_command", "is_aggregate_write",
)  # fmt: skip
_CURSOR_FIELDS = (
    "_spec", "_ordering", "_skip", "_limit", "_collation", "_projection", "_query_flags", "_exhaust", "_data",
    "_killed", "_id", "_collection", "_session", "_sock_mgr",
)  # fmt: skip
_COLLECTION_FIELDS = ("_write_concern", "_read_concern")


def check_driver() -> None:
    """Make sure that the installed pymongo has what this backend stands on.

    Raises:
        ConfigurationError: It is too old, or its inner parts have changed; says which version to install.
    """
    if pymongo.version_tuple[:2] < MINIMUM_PYMONGO:
        _refuse(f"pymongo {pymongo.version} is too old. Install pymongo 4.17 or newer.")
    missing = _missing()
    if missing:
        _refuse(
            f"pymongo {pymongo.version} has no {', '.join(missing)}, on which retries and cursors stand. Install a "
            "pymongo that this release of undaunted was tested with (4.17 to 4.20)."
        )


@lru_cache(maxsize=1)
def _missing() -> tuple[str, ...]:
    """What this release of pymongo lacks; looked for once, on a client that connects to nothing."""
    known = set(inspect.signature(MongoClient._retry_internal).parameters)  # noqa: SLF001
    lacking = [f"MongoClient._retry_internal({name}=...)" for name in _RETRY_PARAMETERS if name not in known]
    lacking += [name for name in ("_get_bound_session", "_get_topology") if not hasattr(MongoClient, name)]
    lacking += [] if hasattr(_csot, "TIMEOUT") else ["_csot.TIMEOUT"]
    lacking += [] if hasattr(client_session, "_SESSION") else ["client_session._SESSION"]
    lacking += [] if hasattr(ObjectId, "_random") else ["ObjectId._random"]
    with MongoClient[dict[str, Any]](connect=False) as client:
        collection = client["undaunted"]["seams"]
        cursor = collection.find()
        lacking += [f"Collection.{name}" for name in _COLLECTION_FIELDS if not hasattr(collection, name)]
        with client.start_session() as session:
            lacking += [] if hasattr(session, "_implicit") else ["ClientSession._implicit"]
        lacking += [f"Cursor.{name}" for name in _CURSOR_FIELDS if not hasattr(cursor, name)]
    return tuple(lacking)


def _refuse(message: str) -> None:
    raise ConfigurationError(problems=[Problem("backend mongodb", message)])


def renew_ids() -> None:
    """Have this process make ObjectIds of its own, in a forked child while it has one thread.

    The driver notices a fork at the first id. A second thread that asks at that moment is given the parent's random
    part, and so may one in the next worker, with the same counter: two documents with one id.
    """
    ObjectId._random()  # noqa: SLF001


def outer_remaining_s() -> float | None:
    """Seconds left of a ``pymongo.timeout`` that the caller has set around us, or None without one."""
    return _csot.remaining()


def bound_session(client: MongoClient[Any]) -> ClientSession | None:
    """The session that ``ClientSession.bind`` has made implicit here, or None."""
    return client._get_bound_session()  # noqa: SLF001


def has_buffered(cursor: Cursor[Any] | CommandCursor[Any]) -> bool:
    """Whether the next document is already here, so that no command will be sent for it."""
    return bool(cursor._data)  # noqa: SLF001


def abandon(cursor: Cursor[Any] | CommandCursor[Any]) -> None:
    """Have a cursor forgotten without telling its node, which is gone.

    The driver would wait for that node for a whole server selection, in the thread that tends all pools, and print a
    traceback at the end.
    """
    cursor._killed = True  # noqa: SLF001


class CursorView:
    """The query of a find cursor, as far as resuming it needs to know."""

    __slots__ = ("collation", "exhaust", "filter", "limit", "ordering", "projection", "skip", "tailable")

    def __init__(self, cursor: Cursor[Any]) -> None:
        self.filter: Mapping[str, Any] = cursor._spec  # noqa: SLF001
        ordering: Any = cursor._ordering  # noqa: SLF001
        self.ordering: Sequence[tuple[str, Any]] = tuple(ordering.items()) if ordering else ()
        self.skip: int = cursor._skip  # noqa: SLF001
        self.limit: int = cursor._limit  # noqa: SLF001
        self.projection: Mapping[str, Any] | None = cursor._projection  # noqa: SLF001
        self.collation: Any = cursor._collation  # noqa: SLF001
        self.tailable = bool(cursor._query_flags & 2)  # noqa: SLF001
        self.exhaust = bool(cursor._exhaust)  # noqa: SLF001


def set_query(cursor: Cursor[Any], *, spec: Mapping[str, Any], skip: int, limit: int) -> None:
    """Give a rewound cursor another filter, skip and limit; everything else about it stays."""
    cursor._spec = spec  # noqa: SLF001
    cursor._skip = skip  # noqa: SLF001
    cursor._limit = limit  # noqa: SLF001
