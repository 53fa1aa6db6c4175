"""psycopg's connections and cursors, but for how a transaction begins: together with its first statement.

psycopg sends BEGIN alone, and waits for its answer before it sends the statement that it is for. Here both go out in
one message, and with them the key of a unit of work where one is due: one round trip in place of two or three. The key
has been answered before its transaction can commit, all the same, since the statement's answer is behind the key's.
"""

# ruff: noqa: SLF001

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import capabilities
from psycopg.pq import TransactionStatus

from undaunted.sqlalchemy import piped

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["IDLE", "INERROR", "INTRANS", "AsyncCursor", "Cursor", "Due", "Opening"]

IDLE, INTRANS, INERROR = TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR
"""By names of their own, since to look a member up costs more than to compare with it."""

_CAN_PIPELINE = capabilities.has_pipeline()
"""Whether libpq can send several statements in one message; from its version 14 on."""

_ALONE = re.compile(rb"\s*(?:select|insert|update|delete|savepoint)\b[^;]*\Z", re.IGNORECASE)
"""A statement without parameters that is certainly one, and none that speaks a protocol of its own, as COPY does."""


class Due(NamedTuple):
    """The key that a transaction inserts first.

    Attributes:
        text: The statement, with the key as its one parameter; it returns one value.
        name: By which name the server keeps it.
        key: The 16 bytes of the key.
    """

    text: bytes
    name: bytes
    key: bytes


class Opening:
    """What both kinds of connections share about the begin of a transaction.

    Attributes:
        due: What the next transaction inserts first; None for most.
        written_at: What the server has said about where its log stood when the key was inserted; None without a key.
        undaunted_prepared: The names of those of our statements that the server keeps for this connection.
        undaunted_pid: The process that has made it.
    """

    due: Due | None = None
    written_at: bytes | None = None
    undaunted_prepared: set[bytes]
    undaunted_pid: int

    @property
    def is_idle(self: Any) -> bool:
        """Whether no transaction is open."""
        return bool(self.pgconn.transaction_status == IDLE)

    @property
    def is_autocommit(self: Any) -> bool:
        """Whether each statement is a transaction of its own."""
        return bool(self.autocommit)

    def _start_query(self) -> Any:
        """Begin where psycopg does; what the cursors below send begins by itself."""
        parent: Any = super()
        return parent._start_query() if self.due is None else self._start_with_key(parent._start_query())

    def _start_with_key(self: Any, start: Any) -> Generator[Any, Any, None]:
        if self._pipeline is None and _CAN_PIPELINE:
            yield from piped.opened(self)
            return
        yield from start
        due, self.due = self.due, None
        if due is not None:
            yield from piped.executed(self, due.text.replace(b"$1", b"'%s'" % due.key.hex().encode()))

    def _deallocate(self, name: bytes | None) -> Any:
        if name is None:  # all of them, and ours with them
            self.undaunted_prepared.clear()
        parent: Any = super()
        return parent._deallocate(name)

    def _check_intrans_gen(self, attribute: str) -> Any:
        """Refuse a change of the transaction's own terms once a key is due, as psycopg does once it has begun."""
        if self.due is not None:
            raise psycopg.ProgrammingError(
                f"can't change {attribute!r} now: the connection belongs to a unit of work. Declare it for the unit."
            )
        parent: Any = super()
        return parent._check_intrans_gen(attribute)

    def _is_undone(self: Any) -> bool:
        """Whether there is nothing to undo, not even a message; true for each connection that comes back committed."""
        self.due = self.written_at = None
        if self.pgconn.transaction_status == IDLE and self._tpc is None and self._pipeline is None:
            return True
        return bool(self.undaunted_pid != os.getpid())  # then it is the parent's transaction, and not to be undone here

    def _undone(self: Any) -> Any:
        """What undoes a transaction in place of psycopg's own way; None where that is to do it.

        psycopg forgets all prepared statements then, since what they refer to may have been undone. What only reads has
        made nothing, so there they stay, and most readers end each of their transactions so.
        """
        is_reading = self.read_only and self.pgconn.transaction_status == INTRANS
        return piped.executed(self, b"ROLLBACK") if is_reading and self._pipeline is None else None


class _Opens:
    """What both kinds of cursors share."""

    __slots__ = ()

    def _execute_gen(self: Any, query: Any, params: Any = None, *, prepare: Any = None, binary: Any = None) -> Any:
        connection = self._conn
        if (
            connection.pgconn.transaction_status != IDLE
            or connection.autocommit
            or not _CAN_PIPELINE
            or connection._pipeline is not None
        ):
            return super()._execute_gen(query, params, prepare=prepare, binary=binary)  # type: ignore[misc]
        return piped.begun(self, query, params, prepare=prepare, binary=binary, is_alone=_ALONE.match)


class Cursor(_Opens, psycopg.Cursor[Any]):
    """`psycopg.Cursor`, whose first statement takes the BEGIN with it."""

    __slots__ = ()


class AsyncCursor(_Opens, psycopg.AsyncCursor[Any]):
    """The same for asyncio."""

    __slots__ = ()
