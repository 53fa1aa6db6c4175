"""A row as a reader sees it now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.rows import Cell

if TYPE_CHECKING:
    from undaunted.testing.cql.rows import Partition, Row
    from undaunted.testing.cql.schema import Column, Table

__all__ = ["Found", "found_row"]


@dataclass(frozen=True, slots=True)
class Found:
    """One row that a reader sees, with where it came from."""

    values: dict[str, Any]
    partition: Partition | None = None
    row: Row | None = None
    clustering: tuple[Any, ...] | None = None

    def cell(self, column: Column) -> Cell | None:
        """The cell of a column that is written whole."""
        owner = self.partition.static if self.partition and column.kind == "static" else self.row
        found = owner.cells.get(column.name) if owner else None
        return found if isinstance(found, Cell) else None


def found_row(
    table: Table,
    partition: Partition,
    clustering: tuple[Any, ...] | None,
    now_s: float,
) -> Found | None:
    """The row as a reader sees it, or None. Without `clustering`: the partition's static columns alone."""
    row = partition.rows.get(clustering) if clustering is not None else None
    if clustering is not None and (row is None or not row.is_live(now_s, partition.deleted)):
        return None
    values: dict[str, Any] = {c.name: part for c, part in zip(table.partition_key, partition.key, strict=True)}
    for column, part in zip(table.clustering, clustering or (None,) * len(table.clustering), strict=False):
        values[column.name] = part
    for column in table.columns.values():
        if column.kind == "static":
            values[column.name] = _read(partition.static, column, now_s, partition.deleted)
        elif column.kind == "regular":
            values[column.name] = None if row is None else _read(row, column, now_s, partition.deleted)
    return Found(values, partition, row, clustering)


def _read(row: Row, column: Column, now_s: float, deleted: int) -> Any:
    found = row.cells.get(column.name)
    if found is None:
        return None
    limit = max(deleted, row.deleted)
    if isinstance(found, Cell):
        return found.value if found.is_live(now_s, limit) else None
    live = list(found.live(now_s, limit))
    if not live:
        return None
    if column.type.name == "list":
        return tuple(cell.value for _, cell in sorted(live, key=lambda item: item[0]))
    pairs = [(key, cell.value) for key, cell in live]
    return column.type.arrange(pairs if column.type.name == "map" else [key for key, _ in pairs])
