"""Reads rows: goes over partitions and rows in the order of the ring, filters, limits and cuts into pages."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.aggregates import AGGREGATES, aggregate
from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.paging import Place
from undaunted.testing.cql.result import Rows
from undaunted.testing.cql.rows import Cell
from undaunted.testing.cql.schema import Column
from undaunted.testing.cql.types import scalar
from undaunted.testing.cql.where import FILTERING, read_where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from undaunted.testing.cql.rows import Partition, Row
    from undaunted.testing.cql.schema import Table
    from undaunted.testing.cql.statements import Select, Selector
    from undaunted.testing.cql.values import Bound
    from undaunted.testing.cql.where import Where

__all__ = ["Found", "found_row", "result_columns", "select"]


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


def select(
    table: Table,
    statement: Select,
    bound: Bound,
    *,
    now_s: float,
    page_size: int | None,
    paging_state: bytes | None,
) -> Rows:
    """Run a SELECT.

    Raises:
        Invalid: It cannot be run as it stands.
    """
    where = read_where(table, statement.where, bound)
    if where.filters and not statement.filtering and table.rows_of is None:
        raise Invalid(FILTERING)
    columns = result_columns(table, statement)
    selectors = statement.selectors
    if any(selector.function in AGGREGATES for selector in selectors):
        values = [each.values for each in _ordered(table, statement, where, bound, now_s, None)]
        row = [aggregate(table, selector, values) for selector in selectors]
        return Rows(columns, [row], keyspace=table.keyspace, table=table.name)
    place = Place.read(paging_state, table) if paging_state is not None else None
    found = _limited(table, statement, where, bound, now_s, place)
    page, state = _cut(table, found, page_size, place, _limit(statement, bound))
    read = [_reader(table, selector, now_s) for selector in selectors] or [
        _column_reader(column.name) for column in columns
    ]
    rows = [[each(row) for each in read] for row in page]
    return Rows(columns, rows, keyspace=table.keyspace, table=table.name, paging_state=state)


def _limit(statement: Select, bound: Bound) -> int | None:
    if statement.limit is None:
        return None
    limit = int(bound.given(statement.limit, scalar("int"), "[limit]"))
    if limit <= 0:
        raise Invalid("LIMIT must be strictly positive")
    return limit


def _limited(
    table: Table,
    statement: Select,
    where: Where,
    bound: Bound,
    now_s: float,
    place: Place | None,
) -> Iterator[Found]:
    """Rows in order, behind `place`, up to the limit of the statement."""
    limit = place.left if place is not None else _limit(statement, bound)
    count = 0
    for found in _ordered(table, statement, where, bound, now_s, place):
        if limit is not None and count >= limit:
            return
        count += 1
        yield found


def _ordered(
    table: Table,
    statement: Select,
    where: Where,
    bound: Bound,
    now_s: float,
    place: Place | None,
) -> Iterator[Found]:
    if table.rows_of is not None:
        yield from (Found(dict(values)) for values in table.rows_of() if where.lets(values))
        return
    backwards = _backwards(table, statement, where)
    if statement.partition_limit is None:
        most = 1 if statement.distinct else None
    else:
        most = int(bound.given(statement.partition_limit, scalar("int"), "[per partition limit]"))
    if statement.order and where.keys is not None and len(where.keys) > 1:
        found = [f for partition in _partitions(table, where, None) for f in _rows(table, partition, where, now_s)]
        keyed = sorted(found, key=lambda f: table.clustering_order(f.clustering or ()), reverse=backwards)
        yield from keyed
        return
    for partition in _partitions(table, where, place):
        taken = place.taken if place is not None and place.key == partition.key else 0
        for found in _rows(table, partition, where, now_s, backwards=backwards, place=place):
            if most is not None and taken >= most:
                break
            taken += 1
            yield found


def _backwards(table: Table, statement: Select, where: Where) -> bool:
    if not statement.order:
        return False
    if where.keys is None:
        raise Invalid("ORDER BY is only supported when the partition key is restricted by an EQ or an IN.")
    turned: set[bool] = set()
    for (name, descending), column in zip(statement.order, table.clustering, strict=False):
        if name != column.name:
            raise Invalid(
                f"Order by currently only supports the ordering of columns following their declared order in the PRIMARY KEY, not {name}"
            )
        turned.add(descending != column.descending)
    if len(turned) != 1 or len(statement.order) > len(table.clustering):
        raise Invalid("Unsupported order by relation")
    return turned.pop()


def _partitions(table: Table, where: Where, place: Place | None) -> Iterator[Partition]:
    if where.keys is not None:
        named = [key for key in where.keys if key in table.partitions]
        order = (
            sorted((table.token(key), table.packed_key(key), key) for key in named)
            if len(named) > 1
            else [(0 if not where.tokens else table.token(key), b"", key) for key in named]
        )
        if place is not None and len(order) > 1:
            order = [each for each in order if each[:2] >= (place.token, place.packed)]
    else:
        start = (
            0 if place is None else bisect.bisect_left(table.order, (place.token, place.packed), key=lambda o: o[:2])
        )
        order = table.order[start:]
    for token, _, key in order:
        if all(test(token) for test in where.tokens):
            yield table.partitions[key]


def _rows(
    table: Table,
    partition: Partition,
    where: Where,
    now_s: float,
    *,
    backwards: bool = False,
    place: Place | None = None,
) -> Iterator[Found]:
    seen = False
    behind = place if place is not None and place.key == partition.key else None
    for clustering in _clusterings(table, partition, where, backwards=backwards, behind=behind):
        found = found_row(table, partition, clustering, now_s)
        if found is None:
            continue
        seen = True
        if where.lets(found.values):
            yield found
    if seen or behind is not None or not partition.static.cells or not table.clustering:
        return
    if any(column.name in where.columns for column in table.clustering):
        return
    if any(found_row(table, partition, each, now_s) for each in partition.rows):
        return
    alone = found_row(table, partition, None, now_s)
    if alone is not None and partition.static.is_live(now_s, partition.deleted) and where.lets(alone.values):
        yield alone


def _clusterings(
    table: Table,
    partition: Partition,
    where: Where,
    *,
    backwards: bool,
    behind: Place | None,
) -> list[tuple[Any, ...]]:
    if where.rows is not None:
        named = [row for row in where.rows if row in partition.rows]
        order = sorted((table.clustering_order(row), row) for row in named)
    else:
        order = partition.order
    if behind is not None:
        if behind.clustering is None:
            return []
        at = (table.clustering_order(behind.clustering),)
        cut = bisect.bisect_left if backwards else bisect.bisect_right
        index = cut(order, at, key=lambda each: each[:1])
        order = order[:index] if backwards else order[index:]
    rows = [clustering for _, clustering in order]
    return rows[::-1] if backwards else rows


def _cut(
    table: Table,
    found: Iterator[Found],
    page_size: int | None,
    place: Place | None,
    limit: int | None,
) -> tuple[list[Found], bytes | None]:
    """One page of rows, and where the next one begins."""
    if not page_size or page_size < 0 or table.rows_of is not None:
        return list(found), None
    page: list[Found] = []
    for each in found:
        if len(page) == page_size:
            break
        page.append(each)
    else:
        return page, None
    last = page[-1]
    if last.partition is None:
        return page, None
    left = place.left if place is not None else limit
    key = last.partition.key
    taken = sum(1 for each in page if each.partition is last.partition)
    if place is not None and place.key == key:
        taken += place.taken
    state = Place(
        page=1 if place is None else place.page + 1,
        left=None if left is None else left - len(page),
        taken=taken,
        token=table.token(key),
        packed=table.packed_key(key),
        key=key,
        clustering=last.clustering,
    )
    return page, state.write(table)


def result_columns(table: Table, statement: Select) -> list[Column]:
    """What the result of a SELECT is made of.

    Raises:
        Invalid: A column or a function is unknown.
    """
    if not statement.selectors:
        return table.listed()
    return [_result_column(table, selector) for selector in statement.selectors]


def _result_column(table: Table, selector: Selector) -> Column:
    if not selector.function:
        column = table.column(selector.columns[0])
        return Column(name=selector.alias or column.name, type=column.type)
    inside = ", ".join(selector.columns)
    if selector.function in {"writetime", "ttl"}:
        column = table.column(selector.columns[0])
        if column.kind in {"partition_key", "clustering"} or column.type.is_multicell:
            raise Invalid(f"Cannot use selection function {selector.function} on {column.name}")
        kind = scalar("bigint" if selector.function == "writetime" else "int")
        return Column(name=selector.alias or f"{selector.function}({inside})", type=kind)
    if selector.function == "token":
        return Column(name=selector.alias or f"system.token({inside})", type=scalar("bigint"))
    if selector.function not in AGGREGATES:
        raise Invalid(f"Unknown function '{selector.function}' (the fake knows writetime, ttl, token and aggregates)")
    if selector.function == "count":
        name = "count" if not selector.columns or selector.columns[0].isdigit() else f"system.count({inside})"
        return Column(name=selector.alias or name, type=scalar("bigint"))
    column = table.column(selector.columns[0])
    return Column(name=selector.alias or f"system.{selector.function}({inside})", type=column.type)


def _column_reader(name: str) -> Callable[[Found], Any]:
    return lambda found: found.values.get(name)


def _reader(table: Table, selector: Selector, now_s: float) -> Callable[[Found], Any]:
    if not selector.function:
        return _column_reader(selector.columns[0])
    if selector.function == "token":
        return lambda found: table.token(found.partition.key) if found.partition else None
    column = table.column(selector.columns[0])

    def told(found: Found) -> Any:
        cell = found.cell(column)
        if cell is None or found.partition is None or found.values.get(column.name) is None:
            return None
        if selector.function == "writetime":
            return cell.timestamp
        return None if cell.expires_s is None else max(0, int(cell.expires_s - now_s))

    return told
