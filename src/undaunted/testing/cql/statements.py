"""What a text says, once it is read: terms and statements, without any knowledge of tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = [
    "AlterKeyspace",
    "AlterTable",
    "AlterType",
    "Assignment",
    "Batch",
    "Bind",
    "Braces",
    "Brackets",
    "Call",
    "Change",
    "Condition",
    "Constant",
    "CreateIndex",
    "CreateKeyspace",
    "CreateTable",
    "CreateType",
    "Definition",
    "Delete",
    "Drop",
    "Insert",
    "Name",
    "Parentheses",
    "Relation",
    "Select",
    "Selector",
    "Statement",
    "Target",
    "Term",
    "Truncate",
    "TypeName",
    "Update",
    "Use",
]


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal, with what it looks like; the type of its column decides what it is."""

    kind: Literal["integer", "number", "string", "boolean", "null", "blob", "uuid", "duration"]
    value: Any


@dataclass(frozen=True, slots=True)
class Bind:
    """A marker: ``?`` or ``:name``; `place` counts from 0."""

    place: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Brackets:
    """``[a, b]``."""

    items: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Braces:
    """``{a, b}`` or ``{a: b}`` or ``{name: b}``; an item without a colon has None behind it, a name is a string."""

    items: tuple[tuple[Term | str, Term | None], ...]


@dataclass(frozen=True, slots=True)
class Parentheses:
    """``(a, b)``."""

    items: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """``function(a, b)``."""

    function: str
    arguments: tuple[Term, ...]


Term: TypeAlias = "Constant | Bind | Brackets | Braces | Parentheses | Call"


@dataclass(frozen=True, slots=True)
class Name:
    """A table's or another thing's name; `keyspace` is None where the text leaves it to the session."""

    name: str
    keyspace: str | None = None


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type as it is written; user's types are not looked up yet."""

    name: Name
    arguments: tuple[TypeName, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """One condition behind WHERE; `columns` are several for tuples and tokens, `element` is the key of ``m[key]``."""

    columns: tuple[str, ...]
    operator: str
    term: Term
    token: bool = False
    element: Term | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition behind IF."""

    column: str
    operator: str
    term: Term
    element: Term | None = None


@dataclass(frozen=True, slots=True)
class Selector:
    """One thing to select: a column where `function` is empty, else a function of columns."""

    columns: tuple[str, ...]
    function: str = ""
    alias: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """``SELECT``; no `selectors` stands for ``*``."""

    table: Name
    selectors: tuple[Selector, ...] = ()
    distinct: bool = False
    where: tuple[Relation, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()
    limit: Term | None = None
    partition_limit: Term | None = None
    filtering: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """``INSERT``."""

    table: Name
    values: Mapping[str, Term]
    if_not_exists: bool = False
    ttl: Term | None = None
    timestamp: Term | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One assignment of an UPDATE: set, add behind ("+"), add before ("before"), take away ("-"), or set `element`."""

    column: str
    kind: Literal["=", "+", "-", "before"]
    term: Term
    element: Term | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """``UPDATE``."""

    table: Name
    assignments: tuple[Assignment, ...]
    where: tuple[Relation, ...]
    conditions: tuple[Condition, ...] = ()
    if_exists: bool = False
    ttl: Term | None = None
    timestamp: Term | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a DELETE takes away: a column, or one element of it."""

    column: str
    element: Term | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """``DELETE``; no `targets` is the row."""

    table: Name
    targets: tuple[Target, ...] = ()
    where: tuple[Relation, ...]
    conditions: tuple[Condition, ...] = ()
    if_exists: bool = False
    timestamp: Term | None = None


Change: TypeAlias = Insert | Update | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """``BEGIN BATCH``; `kind` is LOGGED, UNLOGGED or COUNTER."""

    kind: str
    changes: tuple[Change, ...]
    timestamp: Term | None = None


@dataclass(frozen=True, slots=True)
class Truncate:
    """``TRUNCATE``."""

    table: Name


@dataclass(frozen=True, slots=True)
class Use:
    """``USE``."""

    keyspace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKeyspace:
    """``CREATE KEYSPACE``."""

    name: str
    options: Mapping[str, Any]
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterKeyspace:
    """``ALTER KEYSPACE``."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTable:
    """``CREATE TABLE``; `clustering_order` has True for DESC."""

    table: Name
    columns: Mapping[str, TypeName]
    static: frozenset[str]
    partition_key: tuple[str, ...]
    clustering: tuple[str, ...]
    clustering_order: Mapping[str, bool] = field(default_factory=dict[str, bool])
    options: Mapping[str, Any] = field(default_factory=dict[str, "Any"])
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterTable:
    """``ALTER TABLE`` that adds or drops columns, or sets options."""

    table: Name
    add: Mapping[str, TypeName] = field(default_factory=dict[str, TypeName])
    static: frozenset[str] = frozenset()
    drop: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, "Any"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateType:
    """``CREATE TYPE``."""

    type: Name
    fields: Mapping[str, TypeName]
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterType:
    """``ALTER TYPE``: ADD or RENAME."""

    type: Name
    add: Mapping[str, TypeName] = field(default_factory=dict[str, TypeName])
    rename: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIndex:
    """``CREATE INDEX``; `function` is what stands around the column: values, keys, entries, full."""

    index: str | None
    table: Name
    column: str
    function: str = ""
    using: str | None = None
    if_not_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """``DROP`` of a keyspace, table, type or index."""

    what: Literal["KEYSPACE", "TABLE", "TYPE", "INDEX"]
    target: Name
    if_exists: bool = False


Definition: TypeAlias = (
    CreateKeyspace | AlterKeyspace | CreateTable | AlterTable | CreateType | AlterType | CreateIndex | Drop
)
Statement: TypeAlias = Select | Insert | Update | Delete | Batch | Truncate | Use | Definition
