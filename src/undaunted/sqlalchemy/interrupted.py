"""psycopg's connections: they begin with a statement, tell before they commit, and are left at once when interrupted.

What interrupts is Ctrl-C, or the cancellation of a task.

psycopg asks the server to cancel what runs, and waits for both, 5 s each: so long a frozen node would hold a task that
has been cancelled. And a COMMIT that is cancelled while it waits for a synchronous standby is not undone, but answered
without that standby. So a COMMIT is left alone, and all else is cancelled as far as that takes no time.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from psycopg import capabilities
from psycopg.pq import TransactionStatus

from undaunted.engine.call import current_call
from undaunted.sqlalchemy import seams
from undaunted.sqlalchemy.errors import CommitRolledBack

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AsyncConnection", "Connection"]

_PATIENCE_S = 0.1


class Connection(psycopg.Connection[Any]):
    """`psycopg.Connection` that is closed when a signal interrupts what it does.

    Attributes:
        before_commit: Called before each COMMIT that is sent.
    """

    before_commit: Callable[[], None] | None = None

    def commit(self) -> None:
        """As psycopg's.

        Raises:
            CommitRolledBack: The server would answer with ROLLBACK.
        """
        if self.pgconn.transaction_status == TransactionStatus.INERROR:
            # SQLAlchemy takes the transaction for ended now, as it is after a COMMIT that fails at the server.
            with contextlib.suppress(psycopg.Error):
                self.rollback()
            raise CommitRolledBack
        if self.before_commit is not None:
            self.before_commit()
        super().commit()

    def begin_with(self, statement: bytes) -> bytes | None:
        """Begin a transaction with a statement, in one round trip; returns the first field of its first row."""
        with self.lock:
            return self.wait(seams.begun_with(self, statement))

    def _try_cancel(self, *, timeout: float = 5.0) -> NoReturn:  # noqa: ARG002  # overrides psycopg's
        interruption = sys.exc_info()[1]
        if not _is_committing() and capabilities.has_cancel_safe():  # else it could not be left
            with contextlib.suppress(Exception):
                self.cancel_safe(timeout=_PATIENCE_S)
        self.pgconn.finish()
        raise interruption or KeyboardInterrupt


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """`psycopg.AsyncConnection` that is closed when the task that uses it is cancelled; see `Connection`."""

    before_commit: Callable[[], None] | None = None

    async def commit(self) -> None:
        """As psycopg's; see `Connection.commit`."""
        if self.pgconn.transaction_status == TransactionStatus.INERROR:
            with contextlib.suppress(psycopg.Error):
                await self.rollback()
            raise CommitRolledBack
        if self.before_commit is not None:
            self.before_commit()
        await super().commit()

    async def begin_with(self, statement: bytes) -> bytes | None:
        """As `Connection.begin_with`."""
        async with self.lock:
            return await self.wait(seams.begun_with(self, statement))

    async def _try_cancel(self, *, timeout: float = 5.0) -> NoReturn:  # noqa: ARG002  # overrides psycopg's
        interruption = sys.exc_info()[1]
        if not _is_committing():
            with contextlib.suppress(Exception):
                await self.cancel_safe(timeout=_PATIENCE_S)
        self.pgconn.finish()
        raise interruption or asyncio.CancelledError


def _is_committing() -> bool:
    call = current_call()
    return call is not None and call.sent
