"""What a change does to one column: set it, count, or add, put and take elements of a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.rows import NEVER, Cell, Elements
from undaunted.testing.cql.statements import Assignment
from undaunted.testing.cql.types import CqlType, scalar
from undaunted.testing.cql.wire import UNSET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from undaunted.testing.cql.rows import Row, Stamp
    from undaunted.testing.cql.schema import Column, Table
    from undaunted.testing.cql.statements import Target
    from undaunted.testing.cql.values import Bound

    Writer = Callable[["Write"], None]

__all__ = ["Assign", "Write", "plan_assignments"]


@dataclass(frozen=True, slots=True)
class Write:
    """Where and when an assignment happens.

    Attributes:
        row: The row, or the static row of the partition.
        column: The column.
        stamp: When.
        deleted: Up to which timestamp the partition is deleted.
    """

    row: Row
    column: Column
    stamp: Stamp
    deleted: int

    @property
    def elements(self) -> Elements:
        """The elements of the column."""
        return self.row.elements(self.column.name)

    def live(self) -> list[tuple[Any, Cell]]:
        """The elements that a reader sees now; those of a list in their order."""
        found = self.elements.live(self.stamp.now_s, max(self.deleted, self.row.deleted))
        return sorted(found, key=lambda item: item[0]) if self.column.type.name == "list" else list(found)


@dataclass(frozen=True, slots=True)
class Assign:
    """One assignment with its value; `writer` does it."""

    column: Column
    writer: Writer


def plan_assignments(table: Table, parts: Sequence[Assignment | Target], bound: Bound) -> list[Assign]:
    """Read the values of assignments, or of what a DELETE takes away; those that are "not set" are left out.

    Raises:
        Invalid: A value or an operation does not fit its column.
    """
    found: list[Assign] = []
    for part in parts:
        column = table.column(part.column)
        if isinstance(part, Assignment):
            writer = _writer(column, part, bound)
        elif part.element is None:
            writer = _whole(column, None)
        else:
            writer = _take_element(bound.given(part.element, _key_type(column), column.name))
        if writer is not None:
            found.append(Assign(column, writer))
    return found


def _writer(column: Column, part: Assignment, bound: Bound) -> Writer | None:
    kind = column.type
    if part.element is not None:
        return _put_element(column, part, bound)
    if kind.name == "counter":
        return _count(column, part, bound)
    if part.kind == "=":
        value = bound.value(part.term, kind, column.name)
        return None if value is UNSET else _whole(column, value)
    if not kind.is_multicell:
        raise Invalid(f"Invalid operation ({column.name} = {column.name} {part.kind} ..) for column of type {kind}")
    if part.kind == "-" and kind.name == "map":
        kind = CqlType("set", kind.arguments[:1])
    if part.kind == "before" and kind.name != "list":
        raise Invalid(f"Invalid operation (.. + {column.name}) for column {column.name} of type {kind}")
    value = bound.value(part.term, kind, column.name)
    if value is UNSET or value is None:
        return None
    return _take(column, value) if part.kind == "-" else _add(value, before=part.kind == "before")


def _count(column: Column, part: Assignment, bound: Bound) -> Writer:
    if part.kind not in {"+", "-"}:
        raise Invalid(
            f"Cannot set the value of counter column {column.name} "
            f"(counters can only be incremented/decremented, not set)"
        )
    delta = bound.given(part.term, scalar("counter"), column.name) * (1 if part.kind == "+" else -1)

    def write(at: Write) -> None:
        old = at.row.cells.get(column.name)
        limit = max(at.deleted, at.row.deleted)
        if isinstance(old, Cell) and old.is_live(at.stamp.now_s, limit):
            at.row.cells[column.name] = Cell(old.value + delta, max(old.timestamp, at.stamp.timestamp))
        else:
            timestamp = at.stamp.timestamp if limit == NEVER else max(at.stamp.timestamp, limit + 1)
            at.row.cells[column.name] = Cell(delta, timestamp)

    return write


def _whole(column: Column, value: Any) -> Writer:
    if not column.type.is_multicell:
        return lambda at: at.row.put(column.name, at.stamp.cell(value))

    def write(at: Write) -> None:
        at.elements.clear(at.stamp.timestamp if value is None else at.stamp.timestamp - 1)
        if value is not None:
            _put_all(at, value, (Elements.place_behind() for _ in value))

    return write


def _add(value: Any, *, before: bool) -> Writer:
    def write(at: Write) -> None:
        places = Elements.places_before(len(value)) if before else (Elements.place_behind() for _ in value)
        _put_all(at, value, places)

    return write


def _put_all(at: Write, value: Any, places: Iterable[int]) -> None:
    if at.column.type.name == "map":
        for key, item in value:
            at.elements.put(key, at.stamp.cell(item))
    elif at.column.type.name == "set":
        for key in value:
            at.elements.put(key, at.stamp.cell(True))  # noqa: FBT003 - a set's element has no value of its own
    else:
        for place, item in zip(places, value, strict=True):
            at.elements.put(place, at.stamp.cell(item))


def _take(column: Column, value: Any) -> Writer:
    def write(at: Write) -> None:
        keys = [key for key, cell in at.live() if cell.value in value] if column.type.name == "list" else value
        for key in keys:
            at.elements.put(key, at.stamp.cell(None))

    return write


def _key_type(column: Column) -> CqlType:
    if not column.type.is_multicell:
        raise Invalid(f"Invalid operation on an element of {column.name}, whose type is {column.type}")
    return scalar("int") if column.type.name == "list" else column.type.arguments[0]


def _put_element(column: Column, part: Assignment, bound: Bound) -> Writer | None:
    if column.type.name == "set":
        raise Invalid(f"Invalid operation ({column.name}[..] = ..) for set column {column.name}")
    key = bound.given(part.element, _key_type(column), column.name) if part.element is not None else None
    value = bound.value(part.term, column.type.arguments[-1], column.name)
    if value is UNSET:
        return None
    return lambda at: at.elements.put(_element_key(at, key), at.stamp.cell(value))


def _take_element(key: Any) -> Writer:
    return lambda at: at.elements.put(_element_key(at, key), at.stamp.cell(None))


def _element_key(at: Write, key: Any) -> Any:
    """A list's element is meant by where it stands now."""
    if at.column.type.name != "list":
        return key
    live = at.live()
    if not 0 <= key < len(live):
        raise Invalid(f"List index {key} out of bound, list has size {len(live)}")
    return live[int(key)][0]
