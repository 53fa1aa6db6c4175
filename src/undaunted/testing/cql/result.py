"""What a statement answers, before it is put on the wire; and how it is put there.

Source: section 4.2.5 of the native protocol specifications, versions 4 and 5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from undaunted.testing.cql import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.testing.cql.schema import Column

__all__ = ["Prepared", "Result", "Rows", "SchemaChange", "SetKeyspace", "Void", "encode", "metadata_id", "prepared"]

_MORE_PAGES, _NO_METADATA, _CHANGED = 0x0002, 0x0004, 0x0008


@dataclass(frozen=True, slots=True)
class Void:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows, with what they are made of.

    Attributes:
        columns: In their order.
        rows: Values in the order of the columns.
        keyspace: Whose.
        table: Whose.
        paging_state: Where the next page begins; None for the last page.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    keyspace: str = ""
    table: str = ""
    paging_state: bytes | None = None

    def native(self) -> list[dict[str, Any]]:
        """The rows as Python programs would like them."""
        return [
            {column.name: column.type.native(value) for column, value in zip(self.columns, row, strict=True)}
            for row in self.rows
        ]


@dataclass(frozen=True, slots=True)
class SetKeyspace:
    """The connection uses another keyspace now."""

    keyspace: str


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """The schema has changed: ``("CREATED", "TABLE", "shop", "orders")``."""

    change: str
    target: str
    keyspace: str
    name: str = ""

    def encode(self) -> bytes:
        """As results and events say it."""
        tail = () if self.target == "KEYSPACE" else (wire.text(self.name),)
        return b"".join((wire.text(self.change), wire.text(self.target), wire.text(self.keyspace), *tail))


Result: TypeAlias = "Void | Rows | SetKeyspace | SchemaChange"


def encode(result: Result, *, skip_metadata: bool = False, known_id: bytes | None = None) -> bytes:
    """The body of a RESULT.

    Args:
        result: What to say.
        skip_metadata: The client knows the columns.
        known_id: Under which id it knows them (version 5); it is told where they have changed.
    """
    if isinstance(result, Rows):
        return _encode_rows(result, skip_metadata=skip_metadata, known_id=known_id)
    if isinstance(result, SetKeyspace):
        return wire.integer(3) + wire.text(result.keyspace)
    if isinstance(result, SchemaChange):
        return wire.integer(5) + result.encode()
    return wire.integer(1)


def _encode_rows(result: Rows, *, skip_metadata: bool, known_id: bytes | None) -> bytes:
    flags = 0
    parts: list[bytes] = []
    if result.paging_state is not None:
        flags |= _MORE_PAGES
        parts.append(wire.value(result.paging_state))
    current = metadata_id(result.columns) if known_id is not None else None
    if current is not None and current != known_id:
        flags |= _CHANGED
        parts.append(wire.short_blob(current))
    elif skip_metadata:
        flags |= _NO_METADATA
    if not flags & _NO_METADATA:
        parts.append(_columns(result.columns, result.keyspace, result.table))
    body = [wire.integer(2), wire.integer(flags), wire.integer(len(result.columns)), *parts]
    body.append(wire.integer(len(result.rows)))
    packs = [column.type.pack for column in result.columns]
    for row in result.rows:
        body.extend(wire.value(None if value is None else pack(value)) for pack, value in zip(packs, row, strict=True))
    return b"".join(body)


def _columns(columns: Sequence[Column], keyspace: str, table: str) -> bytes:
    owner = wire.text(keyspace) + wire.text(table)
    return b"".join(owner + wire.text(column.name) + column.type.option for column in columns)


def metadata_id(columns: Sequence[Column]) -> bytes:
    """What version 5 knows the columns of a result by."""
    return hashlib.md5(_columns(columns, "", ""), usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What PREPARE found out."""

    markers: Sequence[Column]
    key_markers: Sequence[int]
    columns: Sequence[Column] = field(default_factory=tuple)
    keyspace: str = ""
    table: str = ""


def prepared(statement_id: bytes, found: Prepared, version: int) -> bytes:
    """The body of a RESULT of the kind Prepared."""
    parts = [wire.integer(4), wire.short_blob(statement_id)]
    if version >= 5:
        parts.append(wire.short_blob(metadata_id(found.columns)))
    parts += [wire.integer(0), wire.integer(len(found.markers))]
    if version >= 4:
        parts.append(wire.integer(len(found.key_markers)))
        parts += [wire.short(place) for place in found.key_markers]
    parts.append(_columns(found.markers, found.keyspace, found.table))
    flags = 0 if found.columns else _NO_METADATA
    parts += [wire.integer(flags), wire.integer(len(found.columns))]
    if found.columns:
        parts.append(_columns(found.columns, found.keyspace, found.table))
    return b"".join(parts)
