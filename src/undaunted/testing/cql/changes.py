"""Writes rows: INSERT, UPDATE and DELETE, with their conditions, alone or as a batch.

A change is planned first, with every value read and every mistake found, and applied then: a batch with a mistake in
its last statement changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.assignments import Assign, Write, plan_assignments
from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.rows import Cell, Stamp
from undaunted.testing.cql.statements import Assignment, Delete, Insert, Update
from undaunted.testing.cql.types import scalar
from undaunted.testing.cql.where import read_where, value_test
from undaunted.testing.cql.wire import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.testing.cql.rows import Partition, Row
    from undaunted.testing.cql.schema import Column, Table
    from undaunted.testing.cql.statements import Change, Term
    from undaunted.testing.cql.values import Bound

__all__ = ["Plan", "plan"]


@dataclass(slots=True, kw_only=True)
class Plan:
    """One change with its values.

    Attributes:
        rows: Partition keys, each with a clustering key; None for a change of the partition.
        write: What to do with each.
        timestamp: Its own; None for that of the request.
        only_new: Behind IF NOT EXISTS.
        only_old: Behind IF EXISTS.
        tests: Behind IF, with the columns that they look at.
    """

    table: Table
    rows: list[tuple[tuple[Any, ...], tuple[Any, ...] | None]]
    write: Callable[[Partition, tuple[Any, ...] | None, Stamp], None]
    timestamp: int | None = None
    only_new: bool = False
    only_old: bool = False
    tests: list[tuple[Column, Callable[[Any], bool]]] = field(default_factory=list[Any])

    @property
    def is_conditional(self) -> bool:
        """Whether it is a lightweight transaction."""
        return self.only_new or self.only_old or bool(self.tests)


def plan(table: Table, change: Change, bound: Bound) -> Plan:
    """Read all values of a change.

    Raises:
        Invalid: It cannot be done.
    """
    if table.rows_of is not None:
        raise Invalid(f"{table.title} is not user-modifiable.")
    made = _PLANS[type(change)](table, change, bound)
    if made.is_conditional:
        if made.timestamp is not None:
            raise Invalid("Cannot provide custom timestamp for conditional updates")
        if len(made.rows) > 1:
            raise Invalid("IN on the primary key columns is not supported with conditional updates")
    return made


def _timestamp(term: Term | None, bound: Bound) -> int | None:
    if term is None:
        return None
    found = bound.value(term, scalar("bigint"), "[timestamp]")
    return None if found is UNSET or found is None else int(found)


def _lifetime(table: Table, term: Term | None, bound: Bound) -> int:
    """Seconds, 0 for ever."""
    found = None if term is None else bound.value(term, scalar("int"), "[ttl]")
    if found is None or found is UNSET:
        return int(table.options.get("default_time_to_live", 0))
    if found < 0:
        raise Invalid(f"A TTL must be greater or equal to 0, but was {found}")
    return int(found)


def _plan_insert(table: Table, change: Insert, bound: Bound) -> Plan:
    if table.is_counter:
        raise Invalid("INSERT statements are not allowed on counter tables, use UPDATE instead")
    for name in change.values:
        table.column(name)
    key = _inserted(table.partition_key, change, bound, "Some partition key parts are missing: ")
    columns = [name for name in change.values if table.columns[name].kind in {"static", "regular"}]
    only_static = bool(columns) and all(table.columns[name].kind == "static" for name in columns)
    clustering: tuple[Any, ...] | None
    if only_static and not any(column.name in change.values for column in table.clustering):
        clustering = None
    else:
        clustering = _inserted(table.clustering, change, bound, "Some clustering keys are missing: ")
    lifetime_s = _lifetime(table, change.ttl, bound)
    assignments = [Assignment(column=name, kind="=", term=change.values[name]) for name in columns]
    assign = plan_assignments(table, assignments, bound)

    def write(partition: Partition, row: tuple[Any, ...] | None, stamp: Stamp) -> None:
        lasting = stamp.lasting(lifetime_s)
        _assign(table, partition, row, assign, lasting)
        if row is not None:
            partition.row(row, table.clustering_order).mark(Cell(None, lasting.timestamp, lasting.expires_s))

    return Plan(
        table=table,
        rows=[(key, clustering)],
        write=write,
        timestamp=_timestamp(change.timestamp, bound),
        only_new=change.if_not_exists,
    )


def _inserted(columns: Sequence[Column], change: Insert, bound: Bound, missing: str) -> tuple[Any, ...]:
    lost = [column.name for column in columns if column.name not in change.values]
    if lost:
        raise Invalid(missing + ", ".join(lost))
    return tuple(bound.given(change.values[column.name], column.type, column.name) for column in columns)


def _assign(
    table: Table,
    partition: Partition,
    clustering: tuple[Any, ...] | None,
    assign: Sequence[Assign],
    stamp: Stamp,
) -> None:
    for each in assign:
        owner = partition.static if each.column.kind == "static" else _row(table, partition, clustering)
        each.writer(Write(owner, each.column, stamp, partition.deleted))


def _row(table: Table, partition: Partition, clustering: tuple[Any, ...] | None) -> Row:
    if clustering is None:
        raise Invalid("Some clustering keys are missing: " + ", ".join(column.name for column in table.clustering))
    return partition.row(clustering, table.clustering_order)


def _plan_update(table: Table, change: Update, bound: Bound) -> Plan:
    columns = [table.column(each.column) for each in change.assignments]
    for column in columns:
        if column.kind in {"partition_key", "clustering"}:
            raise Invalid(f"PRIMARY KEY part {column.name} found in SET part")
    if table.is_counter and (change.timestamp is not None or change.ttl is not None):
        raise Invalid("Cannot provide custom timestamp or TTL for counter updates")
    only_static = all(column.kind == "static" for column in columns)
    tests = _tests(table, change, bound)
    rows = _named(table, change, bound, needs_row=not only_static or any(c.kind == "regular" for c, _ in tests))
    lifetime_s = _lifetime(table, change.ttl, bound)
    assign = plan_assignments(table, change.assignments, bound)

    def write(partition: Partition, row: tuple[Any, ...] | None, stamp: Stamp) -> None:
        _assign(table, partition, row, assign, stamp.lasting(0 if table.is_counter else lifetime_s))

    return Plan(
        table=table,
        rows=rows,
        write=write,
        timestamp=_timestamp(change.timestamp, bound),
        only_old=change.if_exists,
        tests=tests,
    )


def _tests(table: Table, change: Update | Delete, bound: Bound) -> list[tuple[Column, Callable[[Any], bool]]]:
    found: list[tuple[Column, Callable[[Any], bool]]] = []
    for each in change.conditions:
        column = table.column(each.column)
        if column.kind in {"partition_key", "clustering"}:
            raise Invalid(f"PRIMARY KEY column '{column.name}' cannot have IF conditions")
        found.append((column, value_test(column, each.operator, each.term, each.element, bound)))
    return found


def _named(
    table: Table,
    change: Update | Delete,
    bound: Bound,
    *,
    needs_row: bool,
) -> list[tuple[tuple[Any, ...], tuple[Any, ...] | None]]:
    where = read_where(table, change.where, bound)
    if where.keys is None or where.tokens:
        lost = [column.name for column in table.partition_key if column.name not in where.columns]
        raise Invalid("Some partition key parts are missing: " + ", ".join(lost))
    foreign = where.columns - {column.name for column in (*table.partition_key, *table.clustering)}
    if foreign:
        raise Invalid(f"Non PRIMARY KEY columns found in where clause: {', '.join(sorted(foreign))} ")
    if not table.clustering:
        return [(key, ()) for key in where.keys]
    if where.rows is not None:
        return [(key, row) for key in where.keys for row in where.rows]
    if needs_row:
        lost = [column.name for column in table.clustering if column.name not in where.columns]
        raise Invalid("Some clustering keys are missing: " + ", ".join(lost))
    return [(key, None) for key in where.keys]


def _plan_delete(table: Table, change: Delete, bound: Bound) -> Plan:
    columns = [table.column(each.column) for each in change.targets]
    for column in columns:
        if column.kind in {"partition_key", "clustering"}:
            raise Invalid(f"Invalid identifier {column.name} for deletion (should not be a PRIMARY KEY part)")
    needs_row = any(column.kind == "regular" for column in columns) or change.if_exists
    tests = _tests(table, change, bound)
    rows = _named(table, change, bound, needs_row=needs_row)
    where = read_where(table, change.where, bound)
    assign = plan_assignments(table, change.targets, bound)
    names = [column.name for column in table.clustering]
    ranged = any(column.name in where.columns for column in table.clustering)

    def covers(key: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], bool]:
        fixed = {column.name: part for column, part in zip(table.partition_key, key, strict=True)}
        return lambda row: where.lets({**fixed, **dict(zip(names, row, strict=True))})

    def write(partition: Partition, row: tuple[Any, ...] | None, stamp: Stamp) -> None:
        if assign:
            _assign(table, partition, row, assign, stamp)
        elif row is not None:
            found = partition.row(row, table.clustering_order)
            found.deleted = max(found.deleted, stamp.timestamp)
        elif ranged:
            partition.delete_range(covers(partition.key), stamp.timestamp)
        else:
            partition.deleted = max(partition.deleted, stamp.timestamp)

    return Plan(
        table=table,
        rows=rows,
        write=write,
        timestamp=_timestamp(change.timestamp, bound),
        only_old=change.if_exists,
        tests=tests,
    )


_PLANS: dict[type, Callable[[Any, Any, Any], Plan]] = {
    Insert: _plan_insert,
    Update: _plan_update,
    Delete: _plan_delete,
}
