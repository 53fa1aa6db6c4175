"""Cells, rows and partitions: the newest timestamp wins, cell by cell, whenever it arrives.

At equal timestamps a deletion wins, then the greater value, as in Cassandra. Elements of a list stand in the order in
which they were added, whatever their timestamps.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["NEVER", "Cell", "Elements", "Partition", "Reversed", "Row", "Stamp"]

NEVER = -(1 << 63)
"""The timestamp of a deletion that has not happened."""

_places = itertools.count(1)


class Reversed:
    """Sorts against the order of what it holds."""

    __slots__ = ("order",)

    def __init__(self, order: Any) -> None:
        self.order = order

    def __lt__(self, other: Reversed) -> bool:
        return bool(other.order < self.order)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reversed) and bool(self.order == other.order)

    __hash__ = None  # type: ignore[assignment]


@dataclass(slots=True)
class Cell:
    """One value.

    Attributes:
        value: None where it is deleted, and in the marker of a row.
        timestamp: Microseconds, as the writer says.
        expires_s: When it ends, by the clock of the cluster; None for never.
        dead: Whether it is a deletion.
    """

    value: Any
    timestamp: int
    expires_s: float | None = None
    dead: bool = False

    def is_live(self, now_s: float, deleted: int) -> bool:
        """Whether a reader sees it, behind a deletion of that timestamp."""
        if self.dead or self.timestamp <= deleted:
            return False
        return self.expires_s is None or now_s < self.expires_s

    def yields_to(self, other: Cell) -> bool:
        """Whether the other takes its place."""
        if self.timestamp != other.timestamp:
            return self.timestamp < other.timestamp
        if self.dead or other.dead:
            return other.dead and not self.dead
        return repr(other.value) > repr(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """When a change happens.

    Attributes:
        timestamp: What its cells carry, in microseconds.
        now_s: The clock of the cluster, which ends what has a time to live.
        expires_s: When its cells end; None for never.
    """

    timestamp: int
    now_s: float
    expires_s: float | None = None

    def lasting(self, lifetime_s: int) -> Stamp:
        """The same for cells that live so long; 0 stands for ever."""
        return replace(self, expires_s=self.now_s + lifetime_s) if lifetime_s else self

    def cell(self, value: Any) -> Cell:
        """A cell of this change; a deletion where the value is null."""
        return Cell(value, self.timestamp, None if value is None else self.expires_s, dead=value is None)


@dataclass(slots=True)
class Elements:
    """A collection that is written element by element: a map by its keys, a set by its elements, a list by places."""

    deleted: int = NEVER
    cells: dict[Any, Cell] = field(default_factory=dict[Any, Cell])

    def put(self, key: Any, cell: Cell) -> None:
        """Write one element."""
        old = self.cells.get(key)
        if old is None or old.yields_to(cell):
            self.cells[key] = cell

    def clear(self, timestamp: int) -> None:
        """Delete what is older."""
        self.deleted = max(self.deleted, timestamp)

    def live(self, now_s: float, deleted: int) -> Iterator[tuple[Any, Cell]]:
        """Keys and cells that a reader sees."""
        limit = max(self.deleted, deleted)
        return ((key, cell) for key, cell in self.cells.items() if cell.is_live(now_s, limit))

    @staticmethod
    def place_behind() -> int:
        """Where an element goes that is appended to a list."""
        return next(_places)

    @staticmethod
    def places_before(count: int) -> list[int]:
        """Where elements go that are put before a list, so that they keep their own order."""
        return [-next(_places) for _ in range(count)][::-1]


@dataclass(slots=True)
class Row:
    """Cells by column; `marker` is what an INSERT leaves even where all else is null."""

    deleted: int = NEVER
    marker: Cell | None = None
    cells: dict[str, Cell | Elements] = field(default_factory=dict[str, "Cell | Elements"])

    def put(self, column: str, cell: Cell) -> None:
        """Write a column whole."""
        old = self.cells.get(column)
        if not isinstance(old, Cell) or old.yields_to(cell):
            self.cells[column] = cell

    def elements(self, column: str) -> Elements:
        """A column that is written element by element."""
        found = self.cells.get(column)
        if not isinstance(found, Elements):
            found = self.cells[column] = Elements()
        return found

    def mark(self, cell: Cell) -> None:
        """An INSERT has been here."""
        if self.marker is None or self.marker.yields_to(cell):
            self.marker = cell

    def is_live(self, now_s: float, deleted: int) -> bool:
        """Whether a reader sees the row."""
        limit = max(deleted, self.deleted)
        if self.marker is not None and self.marker.is_live(now_s, limit):
            return True
        for found in self.cells.values():
            if isinstance(found, Cell):
                if found.is_live(now_s, limit):
                    return True
            elif next(found.live(now_s, limit), None) is not None:
                return True
        return False


@dataclass(slots=True)
class Partition:
    """Rows by their clustering values, and the static columns as a row of their own."""

    key: tuple[Any, ...]
    deleted: int = NEVER
    static: Row = field(default_factory=Row)
    rows: dict[tuple[Any, ...], Row] = field(default_factory=dict[tuple[Any, ...], Row])
    order: list[tuple[Any, tuple[Any, ...]]] = field(default_factory=list[tuple[Any, tuple[Any, ...]]])
    ranges: list[tuple[Callable[[tuple[Any, ...]], bool], int]] = field(default_factory=list[Any])

    def row(self, clustering: tuple[Any, ...], order: Callable[[tuple[Any, ...]], Any]) -> Row:
        """The row, made where there is none."""
        found = self.rows.get(clustering)
        if found is None:
            found = self.rows[clustering] = Row()
            for covers, timestamp in self.ranges:
                if covers(clustering):
                    found.deleted = max(found.deleted, timestamp)
            bisect.insort(self.order, (order(clustering), clustering))
        return found

    def delete_range(self, covers: Callable[[tuple[Any, ...]], bool], timestamp: int) -> None:
        """Delete the rows that a range covers, with those that arrive late."""
        self.ranges.append((covers, timestamp))
        for clustering, row in self.rows.items():
            if covers(clustering):
                row.deleted = max(row.deleted, timestamp)
