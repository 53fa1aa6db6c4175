"""Paging states: opaque to clients, and valid on every node, also where rows came or went meanwhile."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql import wire
from undaunted.testing.cql.errors import Invalid, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.testing.cql.schema import Column, Table

__all__ = ["Place", "page_number"]

_HEAD = struct.Struct(">4sIqQ")
_MAGIC = b"fake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The last row of a page.

    Attributes:
        page: The number of that page, from 1.
        left: Rows that the limit of the statement still allows; None without a limit.
        taken: Rows of this partition so far, for a limit by partition.
        key: The key of the partition.
        clustering: Of the row; None for a row of static columns.
    """

    page: int
    left: int | None
    taken: int
    key: tuple[Any, ...]
    clustering: tuple[Any, ...] | None

    def write(self, table: Table) -> bytes:
        """As bytes."""
        head = _HEAD.pack(_MAGIC, self.page, -1 if self.left is None else self.left, self.taken)
        clustering = b"" if self.clustering is None else _pack(table.clustering, self.clustering)
        return (
            head
            + wire.value(_pack(table.partition_key, self.key))
            + wire.byte(self.clustering is not None)
            + clustering
        )

    @classmethod
    def read(cls, state: bytes, table: Table) -> Place:
        """From bytes.

        Raises:
            ProtocolError: They are none of ours, or of another table.
        """
        try:
            magic, page, left, taken = _HEAD.unpack_from(state)
            body = wire.Body(state[_HEAD.size :])
            key = _unpack(table.partition_key, wire.Body(body.blob() or b""))
            clustering = _unpack(table.clustering, body) if body.byte() else None
        except (ValueError, struct.error, Invalid) as error:
            raise ProtocolError(f"Invalid value for the paging state: {error}") from error
        if magic != _MAGIC:
            raise ProtocolError("Invalid value for the paging state: it is none of this cluster")
        return cls(
            page=page,
            left=None if left < 0 else left,
            taken=taken,
            key=key,
            clustering=clustering,
        )


def page_number(state: bytes | None) -> int:
    """Which page a request with this state asks for, from 1."""
    if not state or len(state) < _HEAD.size or not state.startswith(_MAGIC):
        return 1
    return int(_HEAD.unpack_from(state)[1]) + 1


def _pack(columns: Sequence[Column], key: Sequence[Any]) -> bytes:
    return b"".join(wire.value(column.type.pack(part)) for column, part in zip(columns, key, strict=True))


def _unpack(columns: Sequence[Column], body: wire.Body) -> tuple[Any, ...]:
    return tuple(column.type.unpack(body.blob() or b"") for column in columns)
