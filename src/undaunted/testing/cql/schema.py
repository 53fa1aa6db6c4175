"""Keyspaces, tables and types, as they are now."""

from __future__ import annotations

import bisect
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from undaunted.testing.cql import murmur, wire
from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.rows import Partition, Reversed
from undaunted.testing.cql.scalars import SCALARS
from undaunted.testing.cql.types import CqlType, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from undaunted.testing.cql.statements import Name, TypeName

__all__ = ["Column", "Keyspace", "Kind", "Schema", "Table"]

_SIMPLE = "org.apache.cassandra.locator.SimpleStrategy"
_OF_THE_SERVER = {
    "system_auth": {"class": _SIMPLE, "replication_factor": "1"},
    "system_distributed": {"class": _SIMPLE, "replication_factor": "3"},
    "system_traces": {"class": _SIMPLE, "replication_factor": "2"},
}
"""Keyspaces that a server has from the first, and whose replication is the operator's to alter."""

Kind = Literal["partition_key", "clustering", "static", "regular"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: Its name.
        type: Its type.
        kind: What it is in its table.
        position: Within the partition key or the clustering columns; -1 for all others.
        descending: Whether rows are sorted against its order.
    """

    name: str
    type: CqlType
    kind: Kind = "regular"
    position: int = -1
    descending: bool = False


@dataclass(slots=True, kw_only=True)
class Table:
    """One table, with its rows.

    Attributes:
        rows_of: For a table that is computed: its rows as mappings; None for one that is stored.
    """

    keyspace: str
    name: str
    columns: dict[str, Column]
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    indexes: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    rows_of: Callable[[], Iterable[Mapping[str, Any]]] | None = None
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    partitions: dict[tuple[Any, ...], Partition] = field(default_factory=dict[tuple[Any, ...], Partition])
    order: list[tuple[int, bytes, tuple[Any, ...]]] = field(default_factory=list[Any])
    partition_key: list[Column] = field(default_factory=list[Column])
    clustering: list[Column] = field(default_factory=list[Column])

    def __post_init__(self) -> None:
        self.arrange()

    def arrange(self) -> None:
        """Find the key again, after the columns have changed."""
        by_position = sorted(self.columns.values(), key=lambda column: column.position)
        self.partition_key = [column for column in by_position if column.kind == "partition_key"]
        self.clustering = [column for column in by_position if column.kind == "clustering"]

    @property
    def title(self) -> str:
        """``keyspace.table``."""
        return f"{self.keyspace}.{self.name}"

    @property
    def is_counter(self) -> bool:
        """Whether its regular columns are counters."""
        return any(column.type.name == "counter" for column in self.columns.values())

    def listed(self) -> list[Column]:
        """The columns as ``SELECT *`` gives them: the key first, then by name."""
        rest = [column for column in self.columns.values() if column.kind in {"static", "regular"}]
        return [*self.partition_key, *self.clustering, *sorted(rest, key=lambda c: (c.kind != "static", c.name))]

    def column(self, name: str) -> Column:
        """A column by its name.

        Raises:
            Invalid: There is none.
        """
        found = self.columns.get(name)
        if found is None:
            raise Invalid(f"Undefined column name {name} in table {self.title}")
        return found

    def packed_key(self, key: tuple[Any, ...]) -> bytes:
        """The partition key as tokens are made of it."""
        packed = [column.type.pack(part) for column, part in zip(self.partition_key, key, strict=True)]
        if len(packed) == 1:
            return packed[0]
        return b"".join(wire.short(len(part)) + part + b"\0" for part in packed)

    def token(self, key: tuple[Any, ...]) -> int:
        """Where a partition stands on the ring."""
        return murmur.token(self.packed_key(key))

    def clustering_order(self, key: tuple[Any, ...]) -> Any:
        """What rows of a partition are sorted by."""
        orders = [column.type.order(part) for column, part in zip(self.clustering, key, strict=True)]
        return tuple(Reversed(o) if c.descending else o for c, o in zip(self.clustering, orders, strict=True))

    def partition(self, key: tuple[Any, ...]) -> Partition:
        """The partition, made where there is none."""
        found = self.partitions.get(key)
        if found is None:
            found = self.partitions[key] = Partition(key)
            packed = self.packed_key(key)
            bisect.insort(self.order, (murmur.token(packed), packed, key), key=lambda place: place[:2])
        return found

    def clear(self) -> None:
        """Every row is gone."""
        self.partitions.clear()
        self.order.clear()


@dataclass(slots=True, kw_only=True)
class Keyspace:
    """One keyspace."""

    name: str
    replication: dict[str, str]
    durable_writes: bool = True
    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    types: dict[str, CqlType] = field(default_factory=dict[str, CqlType])

    @property
    def is_system(self) -> bool:
        """Whether it is of the server itself."""
        return self.name in {"system", "system_schema", "system_virtual_schema"}


class Schema:
    """All keyspaces by name.

    Args:
        datacenters: That a replication may name; empty lets it name any.
    """

    def __init__(self, datacenters: Sequence[str] = ()) -> None:
        self.datacenters = datacenters
        self.keyspaces: dict[str, Keyspace] = {
            name: Keyspace(name=name, replication=dict(replication)) for name, replication in _OF_THE_SERVER.items()
        }

    def keyspace(self, name: str | None) -> Keyspace:
        """A keyspace.

        Raises:
            Invalid: There is none, or none was named.
        """
        if not name:
            raise Invalid("No keyspace has been specified. USE a keyspace, or explicitly specify keyspace.tablename")
        found = self.keyspaces.get(name)
        if found is None:
            raise Invalid(f"Keyspace '{name}' does not exist")
        return found

    def table(self, name: Name, used: str | None) -> Table:
        """A table, where `used` is the keyspace of the session.

        Raises:
            Invalid: There is none.
        """
        keyspace = self.keyspace(name.keyspace or used)
        found = keyspace.tables.get(name.name)
        if found is None:
            raise Invalid(f"table {name.name} does not exist")
        return found

    def type(self, written: TypeName, keyspace: Keyspace) -> CqlType:
        """The type that a text names.

        Raises:
            Invalid: There is none, or it has the wrong number of arguments.
        """
        name = written.name.name
        arguments = tuple(self.type(argument, keyspace) for argument in written.arguments)
        if name == "frozen" and len(arguments) == 1:
            return arguments[0].freeze()
        wanted = {"list": 1, "set": 1, "map": 2}.get(name)
        if wanted is not None and len(arguments) == wanted:
            return CqlType(name, arguments)
        if name == "tuple" and arguments:
            return CqlType(name, tuple(argument.freeze() for argument in arguments), frozen=True)
        if name in SCALARS and not arguments:
            return scalar(name)
        owner = self.keyspace(written.name.keyspace) if written.name.keyspace else keyspace
        found = owner.types.get(name)
        if found is None or arguments:
            raise Invalid(f"Unknown type {owner.name}.{name}")
        return found
