"""Does planned changes: all of them, or where a condition does not hold none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.found import found_row
from undaunted.testing.cql.result import Rows, Void
from undaunted.testing.cql.schema import Column
from undaunted.testing.cql.types import scalar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.testing.cql.changes import Plan
    from undaunted.testing.cql.found import Found
    from undaunted.testing.cql.result import Result
    from undaunted.testing.cql.rows import Stamp
    from undaunted.testing.cql.schema import Table

__all__ = ["apply"]

APPLIED = Column(name="[applied]", type=scalar("boolean"))


def apply(plans: Sequence[Plan], stamp: Stamp) -> tuple[Result, bool]:
    """Do all, or where a condition does not hold nothing; with whether it was done.

    Raises:
        Invalid: Conditions over several partitions.
    """
    conditional = any(each.is_conditional for each in plans)
    if conditional:
        if len({(each.table.title, key) for each in plans for key, _ in each.rows}) > 1:
            raise Invalid("Batch with conditions cannot span multiple partitions")
        refused = [refusal for each in plans if (refusal := _refusal(each, stamp.now_s)) is not None]
        if refused:
            return refused[0], False
    for each in plans:
        own = stamp if each.timestamp is None else replace(stamp, timestamp=each.timestamp)
        for key, row in each.rows:
            each.write(each.table.partition(key), row, own)
    if not conditional:
        return Void(), True
    return Rows([APPLIED], [[True]], keyspace=plans[0].table.keyspace, table=plans[0].table.name), True


def _refusal(each: Plan, now_s: float) -> Rows | None:
    """What a condition that does not hold is answered with; None where all hold."""
    table = each.table
    found = _present(each, now_s)
    if each.only_new:
        return None if found is None else _refused(table, table.listed(), found)
    if each.only_old:
        return _refused(table, [], None) if found is None else None
    values = found.values if found is not None else {}
    if all(test(values.get(column.name)) for column, test in each.tests):
        return None
    return _refused(table, list(dict.fromkeys(column for column, _ in each.tests)), found)


def _present(each: Plan, now_s: float) -> Found | None:
    key, clustering = each.rows[0]
    partition = each.table.partitions.get(key)
    if partition is None:
        return None
    found = found_row(each.table, partition, clustering, now_s)
    static_only = bool(each.tests) and all(column.kind == "static" for column, _ in each.tests)
    if found is None and static_only:
        return found_row(each.table, partition, None, now_s)
    return found


def _refused(table: Table, columns: Sequence[Column], found: Found | None) -> Rows:
    shown = list(columns) if found is not None else []
    values = [found.values.get(column.name) for column in shown] if found is not None else []
    return Rows([APPLIED, *shown], [[False, *values]], keyspace=table.keyspace, table=table.name)
