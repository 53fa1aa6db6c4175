"""Which kind of operation a driver command is: what may be run again, and what only once."""

from __future__ import annotations

from functools import lru_cache

from undaunted.core.operation import Kind, Operation

__all__ = ["GET_MORE", "describe"]

GET_MORE = "getMore"

_REPEATABLE_COMMANDS = frozenset({
    "buildInfo", "collStats", "connectionStatus", "count", "createIndexes", "dbStats", "distinct", "explain", "find",
    "getParameter", "hello", "hostInfo", "isMaster", "ismaster", "killCursors", "listCollections", "listDatabases",
    "listIndexes", "ping", "replSetGetConfig", "replSetGetStatus", "serverStatus", "validate",
})  # fmt: skip
"""Commands that change nothing, or that do the same when done twice. Everything else that is not numbered
and not a read might do harm the second time."""


@lru_cache(maxsize=256)
def describe(  # positional, since the cache's key is made on every command
    name: str,
    is_read: bool,  # noqa: FBT001
    is_numbered: bool,  # noqa: FBT001
    is_declared_idempotent: bool,  # noqa: FBT001
    needs_primary: bool,  # noqa: FBT001
) -> Operation:
    """The facts that decide whether the command `name` may be run again.

    Args:
        name: The server's name of the command.
        is_read: The driver calls it a read, and it neither writes (``$out``) nor is a bare command.
        is_numbered: The driver sends it with a transaction number, so the server applies it once however often it
            comes.
        is_declared_idempotent: Its caller said that running it twice does no harm.
        needs_primary: Only the primary can serve it.
    """
    repeatable = is_numbered or is_declared_idempotent or name in _REPEATABLE_COMMANDS
    return Operation(
        name=name,
        kind=Kind.READ if is_read else Kind.WRITE,
        idempotent=is_read or repeatable,
        patient=True,
        needs_primary=needs_primary,
    )
