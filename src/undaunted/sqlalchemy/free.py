"""Settling for free: a row that a unit of work inserts anyway shows whether its COMMIT was applied.

That holds for a row whose primary key the client has made, such as a UUID, and that nobody else would insert or delete.
It is noted at the flush, and looked for only behind a lost COMMIT, once the old transaction has certainly ended.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import exc, orm

from undaunted.sqlalchemy.links import KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Mapper, Session

    from undaunted.sqlalchemy.links import Link

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

    __slots__ = ("_began_s", "_instance", "_known", "_link", "_mapper")

    def __init__(self) -> None:
        self._instance: Any = None
        self._mapper: Mapper[Any] | None = None
        self._known: tuple[Any, ...] | None = None
        self._link: Link | None = None
        self._began_s = 0.0

    @property
    def has_row(self) -> bool:
        """Whether a row was noted by which it can be recognised."""
        return self._known is not None

    # -- while the attempt runs ----------------------------------------------------------------------

    def begun(self, connection: sa.Connection) -> None:
        """Note who serves the transaction; nothing is asked for it."""
        self._link = connection.info.get(KEY)
        self._began_s = time.monotonic()

    def flushing(self, session: Session, *, in_savepoint: bool | Callable[[], bool]) -> None:
        """Choose among the rows that are about to be inserted; forget one that is about to be deleted or renamed.

        What is inserted behind a savepoint may be undone alone, so it shows nothing.
        """
        if self._instance is not None and (self._instance in session.deleted or self._is_renamed()):
            self.forget()
        if self._instance is None:
            for instance in session.new:
                mapper = orm.attributes.instance_state(instance).mapper
                if _is_made_here(instance, mapper):
                    if not (in_savepoint() if callable(in_savepoint) else in_savepoint):
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
        link: Link | None = connection.info.get(KEY)
        if (
            self._link is not None
            and link is not None
            and link.node == self._link.node
            and self._is_running(connection, self._link.pid)
        ):
            return None
        assert self._mapper is not None  # noqa: S101  # `has_row` was asked
        assert self._known is not None  # noqa: S101
        table = self._mapper.base_mapper.local_table
        keys = zip(self._mapper.base_mapper.primary_key, self._known, strict=True)
        found = sa.select(sa.literal(1)).select_from(table).where(*(column == value for column, value in keys))
        return connection.execute(found).first() is not None

    def _is_running(self, connection: sa.Connection, pid: int) -> bool:
        """Whether the old server process is still there; one that only waits for its lost client is ended.

        A process of the same number that is younger than the attempt is another one. One in its COMMIT is left to it:
        ended there, it would leave its changes on this node alone.
        """
        found = connection.execute(_BACKEND, {"pid": pid}).first()
        if found is None:
            return False
        age_s, is_idle = found
        if age_s is not None and float(age_s) + _TOLERANCE_S < time.monotonic() - self._began_s:
            return False
        if is_idle:
            with contextlib.suppress(exc.DBAPIError):  # who may not, waits
                connection.execute(_TERMINATE, {"pid": pid})
        return True


def _is_made_here(instance: object, mapper: Mapper[Any]) -> bool:
    """Whether all of an object's primary key is made by this process: set already, or by a default of Python's."""
    values = orm.attributes.instance_dict(instance)
    parts = _PARTS.get(mapper)
    if parts is None:
        names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
        defaults = map(_has_own_default, mapper.primary_key)
        parts = _PARTS[mapper] = tuple(zip(names, defaults, strict=True))
    for name, has_default in parts:  # noqa: SIM110  # asked for each object that is stored
        if not has_default and values.get(name) is None:
            return False
    return True


_PARTS: WeakKeyDictionary[Mapper[Any], tuple[tuple[str, bool], ...]] = WeakKeyDictionary()
"""Of each mapper, what its primary key consists of, and whether Python makes it by default."""


def _has_own_default(column: Any) -> bool:
    default = column.default
    return bool(default is not None and (default.is_callable or default.is_scalar) and not default.is_sequence)
