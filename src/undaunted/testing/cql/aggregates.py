"""Functions that make one value of many rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from undaunted.testing.cql.schema import Table
    from undaunted.testing.cql.statements import Selector

__all__ = ["AGGREGATES", "aggregate"]

AGGREGATES = frozenset({"count", "min", "max", "sum", "avg"})


def aggregate(table: Table, selector: Selector, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The one value; of a plain column beside aggregates that of the first row, as Cassandra does."""
    if selector.function == "count" and (not selector.columns or selector.columns[0].isdigit()):
        return len(rows)
    column = table.column(selector.columns[0])
    values = [row[column.name] for row in rows if row.get(column.name) is not None]
    if selector.function == "count":
        return len(values)
    if not selector.function:
        return rows[0].get(column.name) if rows else None
    if selector.function in {"min", "max"}:
        choose = min if selector.function == "min" else max
        return choose(values, key=column.type.order) if values else None
    zero: Any = 0.0 if column.type.name in {"float", "double"} else 0
    total = sum(values, zero)
    if selector.function == "sum" or not values:
        return total
    is_whole = column.type.name not in {"float", "double", "decimal"}
    return total // len(values) if is_whole else total / len(values)
