"""What a SELECT gives of each row: columns, and functions of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.aggregates import AGGREGATES
from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.schema import Column
from undaunted.testing.cql.types import scalar
from undaunted.testing.cql.values import time_uuid

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.testing.cql.found import Found
    from undaunted.testing.cql.schema import Table
    from undaunted.testing.cql.statements import Select, Selector

__all__ = ["readers", "result_columns"]


def readers(table: Table, statement: Select, now_s: float) -> list[Callable[[Found], Any]]:
    """One function a column of the result, which takes it from a row."""
    if not statement.selectors:
        return [_column_reader(column.name) for column in table.listed()]
    return [_reader(table, selector, now_s) for selector in statement.selectors]


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
    if selector.function == "now" and not selector.columns:
        return Column(name=selector.alias or "system.now()", type=scalar("timeuuid"))
    if selector.function not in AGGREGATES or (not selector.columns and selector.function != "count"):
        known = "writetime, ttl, token, now and aggregates"
        raise Invalid(f"Unknown function '{selector.function}' (the fake knows {known})")
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
    if selector.function == "now":
        return lambda _: time_uuid(round(now_s * 1000))
    column = table.column(selector.columns[0])

    def told(found: Found) -> Any:
        cell = found.cell(column)
        if cell is None or found.partition is None or found.values.get(column.name) is None:
            return None
        if selector.function == "writetime":
            return cell.timestamp
        return None if cell.expires_s is None else max(0, int(cell.expires_s - now_s))

    return told
