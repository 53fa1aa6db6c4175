"""What a statement does, read from its text: a read or a write, conditional or not, and whether it may be run twice.

cqlengine renders each statement as a template with placeholders, ``UPDATE "t" SET "n" = "n" + %(0)s WHERE ...``, and
hands the values over beside it. So the text alone shows the shape; and since models, untouched models, batches,
`NamedTable` and management commands all end in such a text, one reading serves them all.

What is not known to do the same when it is run twice counts as not idempotent: text that somebody wrote by hand, with
values or function calls in it, is only ever a read or a write of which nothing is known.
"""

# ruff: noqa: S608  (these are patterns, and no statements)

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from cassandra.util import SortedSet

from undaunted.core.operation import Kind, Operation

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Shape", "holds_list", "operation_of", "shape_of", "table_in"]

_LONGEST_KEPT = 4000
"""Characters of the longest text whose shape is remembered: what is longer is a batch that never comes again."""

_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_ONE = r'(?:\w+|"\d*")'
"""A name, as it stands once what is between quotes has been taken out: whatever that says, it is no syntax."""
_NAME = rf"{_ONE}(?:\.{_ONE})?"
_VALUE = r"%\(\w+\)s"
_USING = r"(?: +USING (?:TTL|TIMESTAMP) \d+(?: AND (?:TTL|TIMESTAMP) \d+)?)?"
_CALLS = r"(?:token|TOKEN|MinTimeUUID|MaxTimeUUID)"
"""Functions whose value is the same each time; any other may be ``now()``."""
_TERM = rf"(?:{_VALUE}|{_CALLS}\((?:{_ONE}|{_VALUE})(?:, *(?:{_ONE}|{_VALUE}))*\))"
_IS = r"(?: *(?:=|<=|>=|<|>) *| +(?:IN|CONTAINS|LIKE) +)"
_RELATION = rf"(?:{_ONE}|{_CALLS}\({_ONE}(?:, *{_ONE})*\)){_IS}(?:{_TERM}|\(\))"
_WHERE = rf" +WHERE {_RELATION}(?: AND {_RELATION})*"

_INSERT = re.compile(rf"INSERT INTO {_NAME} \({_ONE}(?:, {_ONE})*\) VALUES \({_VALUE}(?:, {_VALUE})*\){_USING} *;?")
_COLUMN = rf"{_ONE}(?:\[{_VALUE}\])?"
_DELETE = re.compile(rf"DELETE(?: {_COLUMN}(?:, {_COLUMN})*)? FROM {_NAME}{_USING} *{_WHERE} *;?")
_UPDATE = re.compile(rf"UPDATE {_NAME}{_USING} SET (?P<set>.+?){_WHERE} *;?")
_PUT = rf"{_COLUMN} = {_VALUE}"
_ADD = rf"(?P<column>{_ONE}) = (?P=column) [+-] %\((?P<value>\w+)\)s"
_PREPEND = rf"(?P<list>{_ONE}) = {_VALUE} \+ (?P=list)"
_ASSIGNMENT = re.compile(rf"(?:{_PUT}|{_ADD}|{_PREPEND})(?:, |$)")
_BATCH = re.compile(
    r"BEGIN (?P<type>UNLOGGED|COUNTER)? *BATCH(?: USING TIMESTAMP \d+)?\n(?P<body>.*)\nAPPLY BATCH;", re.DOTALL
)
_SUBSCRIPT = re.compile(rf'("(?:[^"]|"")*"|\w+)\[{_VALUE}\]')
_NO_CODE = re.compile(r"""'(?:[^']|'')*'|\$\$.*?\$\$|"(?:[^"]|"")*"|--[^\n]*|//[^\n]*|/\*.*?\*/""", re.DOTALL)
"""What is no keyword whatever it says: values, names and comments."""
_CONDITION = re.compile(r"(?<![\w(:])IF(?!\w)", re.IGNORECASE)
_STAMPED = re.compile(r" USING (?:TTL \d+ AND )?TIMESTAMP \d")
_WORD = re.compile(r"[A-Za-z]{1,20}")
_DEFINITIONS = frozenset({"CREATE", "ALTER", "DROP"})


@dataclass(frozen=True, slots=True)
class Shape:
    """What a text says of the statement, whatever its values.

    Attributes:
        operation: What the engine is told, while the values do not change it.
        table: ``keyspace.table`` as it is, for a single statement on rows; else None.
        sets: Placeholders whose values are added to or taken from a column: the same twice for a set, but not for a
            counter or a list.
        is_read: Whether it reads only.
        is_definition: Whether it changes the schema.
        is_conditional: Whether it is a lightweight transaction.
        deletes: The tables that it deletes from: what is deleted from a table of counters must not be deleted again.
        subscripts: Table and column where one element is written: the same twice for a map, but not for a list, whose
            elements move.
        is_stamped: Whether the text names the write timestamp itself, so that a re-run has the very same.
    """

    operation: Operation
    table: str | None = None
    sets: tuple[str, ...] = ()
    is_read: bool = False
    is_definition: bool = False
    is_conditional: bool = False
    deletes: tuple[str, ...] = ()
    subscripts: tuple[tuple[str, str], ...] = ()
    is_stamped: bool = False


def operation_of(shape: Shape, values: Any) -> Operation:
    """What the engine is told of a statement with these values."""
    if shape.sets and not _are_sets(shape.sets, values):
        return _unrepeatable(shape.operation)
    if shape.is_stamped and holds_list(values):
        return _unrepeatable(shape.operation)
    return shape.operation


def holds_list(values: Any) -> bool:
    """Whether a list is among the values: to set one twice with the very same timestamp is to append it twice."""
    return isinstance(values, dict) and any(type(value) is list for value in values.values())


def shape_of(text: str) -> Shape:
    """The shape of a statement's text; remembered for texts that may come again."""
    return _remembered(text) if len(text) <= _LONGEST_KEPT else _read(text)


def _are_sets(names: tuple[str, ...], values: Any) -> bool:
    return isinstance(values, dict) and all(_is_set(values, name) for name in names)


def _is_set(values: Mapping[str, Any], name: str) -> bool:
    return isinstance(values.get(name), (set, frozenset, SortedSet))


@lru_cache(maxsize=2048)
def _unrepeatable(operation: Operation) -> Operation:
    return replace(operation, idempotent=False)


@lru_cache(maxsize=2048)
def _remembered(text: str) -> Shape:
    return _read(text)


def _read(text: str) -> Shape:
    stripped = text.strip()
    word = stripped.split(None, 1)[0].upper() if stripped else ""
    if word == "SELECT":
        return Shape(_operation("select", Kind.READ, idempotent=True), _table("SELECT", stripped), is_read=True)
    if word in _DEFINITIONS:
        # Run again it meets its own effect, which tells that the first had been applied.
        return Shape(_operation(word.lower(), Kind.WRITE, idempotent=True), is_definition=True)
    if word == "BEGIN":
        return _batch(stripped)
    if word in _TABLE:
        return _single(word, stripped)
    return Shape(_operation(word.lower() if _WORD.fullmatch(word) else "statement", Kind.WRITE))


def _numbered(text: str) -> str:
    """Each quoted name as a number, the same for the same, so that ``"n" = "n" + 1`` is still seen."""
    names: dict[str, str] = {}
    return _QUOTED.sub(lambda match: names.setdefault(match.group(), f'"{len(names)}"'), text)


def _operation(name: str, kind: Kind, *, idempotent: bool = False, settleable: bool = False) -> Operation:
    return Operation(name=name, kind=kind, idempotent=idempotent, settleable=settleable, needs_primary=False)


def _is_conditional(text: str) -> bool:
    return _CONDITION.search(_NO_CODE.sub("q ", text)) is not None


def _single(word: str, text: str) -> Shape:
    is_conditional = _is_conditional(text)
    operation = _operation(word.lower(), Kind.WRITE, settleable=is_conditional)
    table = _table(word, text)
    if is_conditional:
        return Shape(operation, table, is_conditional=True)
    parts = _parts(word, text)
    if parts is None:
        return Shape(operation, table)
    return Shape(
        replace(operation, idempotent=True),
        table,
        parts.sets,
        deletes=parts.deletes,
        subscripts=parts.subscripts,
        is_stamped=_STAMPED.search(text) is not None,
    )


class _Parts(NamedTuple):
    """What must be known besides the text before a statement may be run twice."""

    sets: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    subscripts: tuple[tuple[str, str], ...] = ()


def _parts(word: str, text: str) -> _Parts | None:
    """None where running it twice is not known to do what once does."""
    if word == "INSERT":
        return _Parts() if _INSERT.fullmatch(_QUOTED.sub('""', text)) else None
    table = _table(word, text) or ""
    subscripts = tuple((table, _name(found)) for found in _SUBSCRIPT.findall(text))
    if word == "DELETE":
        return _Parts((), (table,), subscripts) if _DELETE.fullmatch(_QUOTED.sub('""', text)) else None
    sets = _sets(_numbered(text))
    return None if sets is None else _Parts(sets, (), subscripts)


def _sets(plain: str) -> tuple[str, ...] | None:
    """The values of an UPDATE that must be sets; None where it is none of those that may be run twice."""
    found = _UPDATE.fullmatch(plain)
    if found is None:
        return None
    names: list[str] = []
    at, assigned = 0, found.group("set")
    while at < len(assigned):
        match = _ASSIGNMENT.match(assigned, at)
        if match is None or match.group("list"):
            return None
        if match.group("value"):
            names.append(match.group("value"))
        at = match.end()
    return tuple(names)


def _batch(text: str) -> Shape:
    is_conditional = _is_conditional(text)
    shape = Shape(_operation("batch", Kind.WRITE, settleable=is_conditional), is_conditional=is_conditional)
    match = _BATCH.fullmatch(text)
    if is_conditional or match is None or match.group("type") == "COUNTER":
        return shape
    all_parts: list[_Parts] = []
    for line in match.group("body").split("\n"):
        statement = line.strip()
        word = statement.split(None, 1)[0] if statement else ""
        parts = _parts(word, statement) if word in {"INSERT", "UPDATE", "DELETE"} else None
        if parts is None:
            return shape
        all_parts.append(parts)
    return replace(
        shape,
        operation=replace(shape.operation, idempotent=True),
        sets=tuple(name for parts in all_parts for name in parts.sets),
        deletes=tuple({table: None for parts in all_parts for table in parts.deletes}),
        subscripts=tuple({where: None for parts in all_parts for where in parts.subscripts}),
        is_stamped=_STAMPED.search(text) is not None,
    )


_PART = re.compile(r'"(?:[^"]|"")+"|\w+')
_QUALIFIED = rf"((?:{_PART.pattern})(?:\.(?:{_PART.pattern}))?)"
_NAMED = re.compile(rf"\b(?:INTO|UPDATE|FROM)\s+{_QUALIFIED}", re.IGNORECASE)
_TABLE = {
    "SELECT": re.compile(rf"SELECT\s.*?\sFROM\s+{_QUALIFIED}", re.IGNORECASE | re.DOTALL),
    "INSERT": re.compile(rf"INSERT\s+INTO\s+{_QUALIFIED}", re.IGNORECASE),
    "UPDATE": re.compile(rf"UPDATE\s+{_QUALIFIED}", re.IGNORECASE),
    "DELETE": re.compile(rf"DELETE\s.*?FROM\s+{_QUALIFIED}", re.IGNORECASE | re.DOTALL),
}


def table_in(text: str) -> str | None:
    """The first table that a text names as one, whatever kind of text it is."""
    match = _NAMED.search(text)
    return ".".join(_name(part) for part in _PART.findall(match.group(1))) if match else None


def _table(word: str, text: str) -> str | None:
    match = _TABLE[word].match(text)
    return ".".join(_name(part) for part in _PART.findall(match.group(1))) if match else None


def _name(written: str) -> str:
    """A name as the schema has it: what is not quoted is in small letters."""
    return written[1:-1].replace('""', '"') if written.startswith('"') else written.lower()
