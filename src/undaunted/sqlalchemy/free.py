"""Settling for free: a row that a unit of work inserts anyway shows whether its COMMIT was applied.

That holds for a row whose primary key the client has made, such as a UUID, and that nobody else would insert or delete.
It is noted at the flush, and looked for only behind a lost COMMIT, once the old transaction has certainly ended.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc, orm

from undaunted.sqlalchemy.links import KEY

if TYPE_CHECKING:
    from sqlalchemy.orm import Mapper, Session

__all__ = ["FreeKey"]

_TOLERANCE_S = 0.5
"""How far the rates of two clocks may differ within a unit of work."""

_BACKEND = sa.text(
    "SELECT extract(epoch FROM clock_timestamp() - backend_start), state = 'idle in transaction' "
    "FROM pg_stat_activity WHERE pid = :pid"
)
_TERMINATE = sa.text("SELECT pg_terminate_backend(:pid)")


class FreeKey:
    """What one attempt leaves behind, and where it ran.

    Attributes:
        has_row: Whether a row was noted by which it can be recognised.
    """

    __slots__ = ("_began_s", "_instance", "_known", "_mapper", "_node", "_pid")

    def __init__(self) -> None:
        self._instance: Any = None
        self._mapper: Mapper[Any] | None = None
        self._known: tuple[Any, ...] | None = None
        self._pid = 0
        self._node: object = None
        self._began_s = 0.0

    @property
    def has_row(self) -> bool:
        """Whether a row was noted by which it can be recognised."""
        return self._known is not None

    # -- while the attempt runs ----------------------------------------------------------------------

    def begun(self, connection: sa.Connection) -> None:
        """Note who serves the transaction; nothing is asked for it."""
        driver: Any = connection.connection.driver_connection
        info = getattr(driver, "info", None)
        self._pid = int(getattr(info, "backend_pid", 0) or 0)
        self._node = _node_of(connection)
        self._began_s = time.monotonic()

    def flushing(self, session: Session, *, in_savepoint: bool) -> None:
        """Choose among the rows that are about to be inserted; forget one that is about to be deleted or renamed.

        What is inserted behind a savepoint may be undone alone, so it shows nothing.
        """
        if self._instance is not None and (self._instance in session.deleted or self._is_renamed()):
            self.forget()
        if self._instance is None and not in_savepoint:
            for instance in session.new:
                mapper = orm.object_mapper(instance)
                if _is_made_here(instance, mapper):
                    self._instance, self._mapper = instance, mapper
                    return

    def flushed(self) -> None:
        """Read the key of the row that was chosen, which its default may have made in the flush."""
        if self._instance is not None and self._mapper is not None and self._known is None:
            self._known = tuple(self._mapper.primary_key_from_instance(self._instance))

    def forget(self) -> None:
        """The row is not to be there in the end."""
        self._instance = self._mapper = self._known = None

    def _is_renamed(self) -> bool:
        assert self._mapper is not None  # noqa: S101  # it goes with the instance
        return self._known is not None and tuple(self._mapper.primary_key_from_instance(self._instance)) != self._known

    # -- behind a lost COMMIT ------------------------------------------------------------------------

    def ask(self, connection: sa.Connection) -> bool | None:
        """Whether the attempt was applied; None while its transaction may still be running."""
        if _node_of(connection) == self._node and self._is_running(connection):
            return None
        assert self._mapper is not None  # noqa: S101  # `has_row` was asked
        assert self._known is not None  # noqa: S101
        table = self._mapper.base_mapper.local_table
        keys = zip(self._mapper.base_mapper.primary_key, self._known, strict=True)
        found = sa.select(sa.literal(1)).select_from(table).where(*(column == value for column, value in keys))
        return connection.execute(found).first() is not None

    def _is_running(self, connection: sa.Connection) -> bool:
        """Whether the old server process is still there; one that only waits for its lost client is ended.

        A process of the same number that is younger than the attempt is another one. One in its COMMIT is left to it:
        ended there, it would leave its changes on this node alone.
        """
        found = connection.execute(_BACKEND, {"pid": self._pid}).first()
        if found is None:
            return False
        age_s, is_idle = found
        if age_s is not None and float(age_s) + _TOLERANCE_S < time.monotonic() - self._began_s:
            return False
        if is_idle:
            with contextlib.suppress(exc.DBAPIError):  # who may not, waits
                connection.execute(_TERMINATE, {"pid": self._pid})
        return True


def _node_of(connection: sa.Connection) -> str | None:
    link = connection.info.get(KEY)
    return None if link is None else link.node


def _is_made_here(instance: object, mapper: Mapper[Any]) -> bool:
    """Whether all of an object's primary key is made by this process: set already, or by a default of Python's."""
    values = mapper.primary_key_from_instance(instance)
    return all(
        value is not None or _has_own_default(column) for column, value in zip(mapper.primary_key, values, strict=True)
    )


def _has_own_default(column: Any) -> bool:
    default = column.default
    return bool(default is not None and (default.is_callable or default.is_scalar) and not default.is_sequence)
