"""What stands behind WHERE: which partitions it names, and which of their rows it lets through."""

from __future__ import annotations

import itertools
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.statements import Braces, Brackets, Call, Parentheses
from undaunted.testing.cql.types import CqlType, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from undaunted.testing.cql.schema import Column, Table
    from undaunted.testing.cql.statements import Relation, Term
    from undaunted.testing.cql.values import Bound

__all__ = ["Where", "read_where", "value_test"]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
}
FILTERING = (
    "Cannot execute this query as it might involve data filtering and thus may have unpredictable performance. "
    "If you want to execute this query despite the performance unpredictability, use ALLOW FILTERING"
)

Values = "Mapping[str, Any]"


@dataclass(slots=True)
class Where:
    """The conditions of a statement, with their values.

    Attributes:
        keys: The partitions that are named; None where any could match.
        rows: The rows that are named by their whole clustering key; None where any could match.
        tokens: Conditions on the token.
        tests: Conditions on the values of a row.
        filters: Whether rows must be looked at that no key or index leads to.
        columns: The names of all columns that are restricted.
    """

    keys: list[tuple[Any, ...]] | None = None
    rows: list[tuple[Any, ...]] | None = None
    tokens: list[Callable[[int], bool]] = field(default_factory=list[Any])
    tests: list[Callable[[Mapping[str, Any]], bool]] = field(default_factory=list[Any])
    filters: bool = False
    columns: set[str] = field(default_factory=set[str])

    def lets(self, values: Mapping[str, Any]) -> bool:
        """Whether a row with these values is meant."""
        return all(test(values) for test in self.tests)


def read_where(table: Table, relations: Sequence[Relation], bound: Bound) -> Where:
    """The conditions with their values put in.

    Raises:
        Invalid: A column or an operator does not fit.
    """
    where = Where()
    exact: dict[str, list[Any]] = {}
    for relation in relations:
        where.columns.update(relation.columns)
        for name in relation.columns:
            table.column(name)
        if relation.token:
            where.tokens.append(_token_test(table, relation, bound))
        elif len(relation.columns) > 1:
            where.tests.append(_tuple_test(table, relation, bound))
        else:
            _single(table, relation, bound, where, exact)
    where.keys = _product(table.partition_key, exact)
    where.rows = _product(table.clustering, exact) if table.clustering else None
    where.filters = _filters(table, relations, where, exact)
    return where


def _single(table: Table, relation: Relation, bound: Bound, where: Where, exact: dict[str, list[Any]]) -> None:
    column = table.column(relation.columns[0])
    where.tests.append(_column_test(column, relation, bound))
    if relation.operator == "=" and relation.element is None:
        exact.setdefault(column.name, [bound.given(relation.term, column.type, column.name)])
    elif relation.operator == "IN":
        exact.setdefault(column.name, _choices(relation.term, column.type, column.name, bound))


def _product(columns: Sequence[Column], exact: Mapping[str, list[Any]]) -> list[tuple[Any, ...]] | None:
    if not all(column.name in exact for column in columns):
        return None
    keys = itertools.product(*(exact[column.name] for column in columns))
    return list(dict.fromkeys(keys))


def _filters(table: Table, relations: Sequence[Relation], where: Where, exact: Mapping[str, list[Any]]) -> bool:
    indexed = {column for column, _ in table.indexes.values()}
    if any(
        relation.columns[0] in indexed and relation.operator in {"=", "CONTAINS", "CONTAINS KEY"}
        for relation in relations
    ):
        return False
    token_columns = {name for relation in relations if relation.token for name in relation.columns}
    open_end = False
    for column in table.clustering:
        if column.name not in where.columns:
            open_end = True
        elif open_end or (where.keys is None):
            return True
        elif column.name not in exact and all(len(r.columns) == 1 for r in relations if column.name in r.columns):
            open_end = True
    if where.keys is None and any(c.name in where.columns and c.name not in token_columns for c in table.partition_key):
        return True
    keys = {column.name for column in (*table.partition_key, *table.clustering)}
    return bool(where.columns - keys)


def _token_test(table: Table, relation: Relation, bound: Bound) -> Callable[[int], bool]:
    if list(relation.columns) != [column.name for column in table.partition_key]:
        raise Invalid("The token function arguments must be in the partition key order")
    compare = _COMPARE.get(relation.operator)
    if compare is None:
        raise Invalid(f"{relation.operator} cannot be used with token()")
    if isinstance(relation.term, Call) and relation.term.function == "token":
        key = tuple(
            bound.given(term, column.type, column.name)
            for term, column in zip(relation.term.arguments, table.partition_key, strict=True)
        )
        limit = table.token(key)
    else:
        limit = bound.given(relation.term, scalar("bigint"), "partition key token")
    return lambda token: compare(token, limit)


def _tuple_test(table: Table, relation: Relation, bound: Bound) -> Callable[[Mapping[str, Any]], bool]:
    columns = [table.column(name) for name in relation.columns]
    kind = CqlType("tuple", tuple(column.type for column in columns), frozen=True)

    def order(values: Mapping[str, Any]) -> Any:
        return kind.order(tuple(values[column.name] for column in columns))

    if relation.operator == "IN":
        allowed = [kind.order(value) for value in _choices(relation.term, kind, "the tuple", bound)]
        return lambda values: order(values) in allowed
    compare = _COMPARE[relation.operator]
    wanted = kind.order(bound.given(relation.term, kind, "the tuple"))
    return lambda values: compare(order(values), wanted)


def _column_test(column: Column, relation: Relation, bound: Bound) -> Callable[[Mapping[str, Any]], bool]:
    test = value_test(column, relation.operator, relation.term, relation.element, bound)
    return lambda values: test(values.get(column.name))


def value_test(
    column: Column,
    sign: str,
    term: Term,
    element: Term | None,
    bound: Bound,
) -> Callable[[Any], bool]:
    """A condition on one column, behind WHERE or IF.

    Raises:
        Invalid: Operator and type do not fit.
    """
    if sign in {"CONTAINS", "CONTAINS KEY"}:
        return _contains(column, sign, term, bound)
    pick, kind = _picked(column, element, bound)
    if sign == "IN":
        choices = _choices(term, kind, column.name, bound)
        return lambda value: pick(value) in choices
    compare = _COMPARE.get(sign)
    if compare is None:
        raise Invalid(f"{sign} is not supported on {column.name} (nor by the fake)")
    wanted = bound.value(term, kind, column.name)
    if wanted is None:
        return lambda value: (pick(value) is None) == (sign == "=")
    if sign in {"=", "!="}:
        return lambda value: compare(pick(value), wanted)
    limit = kind.order(wanted)

    def within(value: Any) -> bool:
        found = pick(value)
        return found is not None and compare(kind.order(found), limit)

    return within


def _picked(column: Column, element: Term | None, bound: Bound) -> tuple[Callable[[Any], Any], CqlType]:
    if element is None:
        return lambda value: value, column.type
    if column.type.name == "map":
        key_type, kind = column.type.arguments
        key = bound.given(element, key_type, f"a key of {column.name}")
        return lambda value: next((item for name, item in value or () if name == key), None), kind
    if column.type.name == "list":
        index = bound.given(element, scalar("int"), f"an index of {column.name}")
        return lambda value: value[index] if value and index < len(value) else None, column.type.arguments[0]
    raise Invalid(f"Invalid element access syntax for non-collection column {column.name}")


def _contains(column: Column, sign: str, term: Term, bound: Bound) -> Callable[[Any], bool]:
    if not column.type.is_collection or (sign == "CONTAINS KEY") > (column.type.name == "map"):
        raise Invalid(f"Cannot use {sign} on column {column.name} of type {column.type}")
    is_map, by_key = column.type.name == "map", sign == "CONTAINS KEY"
    wanted = bound.given(term, column.type.arguments[0 if by_key or not is_map else 1], column.name)
    if not is_map:
        return lambda value: wanted in (value or ())
    return lambda value: wanted in [pair[0 if by_key else 1] for pair in value or ()]


def _choices(term: Term, kind: CqlType, what: str, bound: Bound) -> list[Any]:
    """What stands behind IN, or is bound to it."""
    if isinstance(term, Parentheses | Brackets):
        return [bound.given(item, kind, what) for item in term.items]
    if isinstance(term, Braces):
        raise Invalid(f"Invalid set or map literal behind IN for {what}")
    return list(bound.given(term, CqlType("list", (kind,), frozen=True), f"in({what})"))
