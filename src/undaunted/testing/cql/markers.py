"""What a statement's markers stand for: the columns whose values PREPARE asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.schema import Column
from undaunted.testing.cql.statements import (
    Bind,
    Braces,
    Brackets,
    Call,
    Insert,
    Parentheses,
    Relation,
    Select,
    Update,
)
from undaunted.testing.cql.types import CqlType, scalar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from undaunted.testing.cql.schema import Table
    from undaunted.testing.cql.statements import Assignment, Change, Term

    Slot = tuple[Term | None, str, CqlType]

__all__ = ["key_markers", "markers"]


def markers(table: Table, statement: Select | Change) -> list[Column]:
    """A column for each marker, in order.

    Raises:
        Invalid: A column is unknown, or a marker stands where none may.
    """
    found: dict[int, Column] = {}
    for term, name, kind in _slots(table, statement):
        for marker, what, wanted in _binds(term, name, kind):
            found[marker.place] = Column(name=marker.name or what, type=wanted)
    if sorted(found) != list(range(len(found))):
        raise Invalid("a marker stands where the fake knows no type for it")
    return [found[place] for place in range(len(found))]


def key_markers(table: Table, found: Sequence[Column]) -> list[int]:
    """Which markers are the partition key, in the order of its columns; none where one of them is missing."""
    names = [column.name for column in found]
    if not all(column.name in names for column in table.partition_key):
        return []
    return [names.index(column.name) for column in table.partition_key]


def _binds(term: Term | None, name: str, kind: CqlType) -> Iterator[tuple[Bind, str, CqlType]]:
    if isinstance(term, Bind):
        yield term, name, kind
    elif isinstance(term, Brackets | Parentheses):
        inner = kind.arguments if kind.name == "tuple" else (kind.arguments[:1] or (kind,)) * len(term.items)
        for item, each in zip(term.items, inner, strict=False):
            yield from _binds(item, name, each)
    elif isinstance(term, Braces):
        yield from _braces(term, name, kind)
    elif isinstance(term, Call):
        wanted = {"mintimeuuid": "timestamp", "maxtimeuuid": "timestamp", "textasblob": "text"}
        for item in term.arguments:
            yield from _binds(item, name, scalar(wanted.get(term.function, "timeuuid")))


def _braces(term: Braces, name: str, kind: CqlType) -> Iterator[tuple[Bind, str, CqlType]]:
    for left, right in term.items:
        if isinstance(left, str):
            if left in kind.fields:
                yield from _binds(right, f"{name}.{left}", kind.arguments[kind.fields.index(left)])
            continue
        yield from _binds(left, f"key({name})", kind.arguments[0])
        yield from _binds(right, f"value({name})", kind.arguments[-1])


def _slots(table: Table, statement: Select | Change) -> Iterator[Slot]:
    if isinstance(statement, Insert):
        for name, term in statement.values.items():
            yield term, name, table.column(name).type
        yield statement.ttl, "[ttl]", scalar("int")
        yield statement.timestamp, "[timestamp]", scalar("bigint")
        return
    for relation in statement.where:
        yield from _relation(table, relation)
    if isinstance(statement, Select):
        yield statement.limit, "[limit]", scalar("int")
        yield statement.partition_limit, "[per partition limit]", scalar("int")
        return
    yield statement.timestamp, "[timestamp]", scalar("bigint")
    for condition in statement.conditions:
        column = table.column(condition.column)
        yield condition.element, f"key({column.name})", _element_key(column.type)
        kind = column.type.arguments[-1] if condition.element else column.type
        yield _operand(condition.term, column.name, kind, condition.operator)
    if isinstance(statement, Update):
        yield statement.ttl, "[ttl]", scalar("int")
        for assignment in statement.assignments:
            yield from _assignment(table, assignment)
    else:
        for target in statement.targets:
            yield target.element, f"key({target.column})", _element_key(table.column(target.column).type)


def _element_key(kind: CqlType) -> CqlType:
    return kind.arguments[0] if kind.name == "map" else scalar("int")


def _assignment(table: Table, assignment: Assignment) -> Iterator[Slot]:
    column = table.column(assignment.column)
    kind = column.type
    if assignment.element is not None:
        yield assignment.element, f"key({column.name})", _element_key(kind)
        yield assignment.term, f"value({column.name})", kind.arguments[-1]
    elif assignment.kind == "-" and kind.name == "map":
        yield assignment.term, column.name, CqlType("set", kind.arguments[:1])
    else:
        yield assignment.term, column.name, kind


def _relation(table: Table, relation: Relation) -> Iterator[Slot]:
    columns = [table.column(name) for name in relation.columns]
    if relation.token:
        if isinstance(relation.term, Call):
            for column, term in zip(columns, relation.term.arguments, strict=False):
                yield term, column.name, column.type
        else:
            yield relation.term, "partition key token", scalar("bigint")
        return
    if len(columns) > 1:
        kind = CqlType("tuple", tuple(column.type for column in columns), frozen=True)
        yield _operand(relation.term, f"({', '.join(relation.columns)})", kind, relation.operator)
        return
    column = columns[0]
    kind = column.type
    if relation.element is not None:
        yield relation.element, f"key({column.name})", _element_key(kind)
        kind = kind.arguments[-1]
    if relation.operator == "CONTAINS KEY":
        kind = kind.arguments[0]
    elif relation.operator == "CONTAINS":
        kind = kind.arguments[-1]
    yield _operand(relation.term, column.name, kind, relation.operator)


def _operand(term: Term, name: str, kind: CqlType, operator: str) -> Slot:
    """What stands behind an operator: behind IN a list, which may be written or bound as a whole."""
    if operator != "IN":
        return term, name, kind
    listed = CqlType("list", (kind,), frozen=True)
    return term, f"in({name})" if isinstance(term, Bind) else name, listed
