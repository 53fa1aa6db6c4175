"""Changes the schema: CREATE, ALTER, DROP and TRUNCATE."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.errors import AlreadyExists, ConfigError, Invalid
from undaunted.testing.cql.result import SchemaChange, Void
from undaunted.testing.cql.schema import Column, Keyspace, Schema, Table
from undaunted.testing.cql.statements import (
    AlterKeyspace,
    AlterTable,
    AlterType,
    CreateIndex,
    CreateKeyspace,
    CreateTable,
    CreateType,
    Drop,
)
from undaunted.testing.cql.types import CqlType

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.testing.cql.result import Result
    from undaunted.testing.cql.schema import Kind
    from undaunted.testing.cql.statements import Statement

__all__ = ["define"]


def define(schema: Schema, statement: Statement, used: str | None) -> Result | None:
    """Run a statement that changes the schema; None where it is none.

    Args:
        schema: What to change.
        statement: The statement.
        used: The keyspace of the session.

    Raises:
        AlreadyExists: It is there, and IF NOT EXISTS is not.
        Invalid: It cannot be done.
    """
    run = _RUN.get(type(statement))
    return None if run is None else run(schema, statement, used)


def _keyspace(schema: Schema, name: str | None) -> Keyspace:
    found = schema.keyspace(name)
    if found.is_system:
        raise Invalid(f"{found.name} keyspace is not user-modifiable.")
    return found


def _create_keyspace(schema: Schema, statement: CreateKeyspace, _used: str | None) -> Result:
    if statement.name in schema.keyspaces:
        if statement.if_not_exists:
            return Void()
        raise AlreadyExists(f"Cannot add existing keyspace '{statement.name}'", keyspace=statement.name)
    replication, durable = _replication(schema, statement.options, {})
    schema.keyspaces[statement.name] = Keyspace(name=statement.name, replication=replication, durable_writes=durable)
    return SchemaChange("CREATED", "KEYSPACE", statement.name)


def _alter_keyspace(schema: Schema, statement: AlterKeyspace, _used: str | None) -> Result:
    keyspace = _keyspace(schema, statement.name)
    keyspace.replication, keyspace.durable_writes = _replication(schema, statement.options, keyspace.replication)
    return SchemaChange("UPDATED", "KEYSPACE", keyspace.name)


def _replication(schema: Schema, options: Any, old: dict[str, str]) -> tuple[dict[str, str], bool]:
    unknown = set(options) - {"replication", "durable_writes"}
    if unknown:
        raise ConfigError(f"Unknown property '{min(unknown)}'")
    replication = dict(options.get("replication", old))
    if "class" not in replication:
        raise ConfigError("Missing replication strategy class")
    short = replication["class"].rpartition(".")[2]
    if short not in {"SimpleStrategy", "NetworkTopologyStrategy", "LocalStrategy"}:
        raise ConfigError(f"Unable to find replication strategy class 'org.apache.cassandra.locator.{short}'")
    if short == "SimpleStrategy" and "replication_factor" not in replication:
        raise ConfigError("SimpleStrategy requires a replication_factor strategy option.")
    if short == "NetworkTopologyStrategy":
        replication = _by_datacenter(schema, replication)
    replication["class"] = f"org.apache.cassandra.locator.{short}"
    return replication, bool(options.get("durable_writes", True))


def _by_datacenter(schema: Schema, replication: dict[str, str]) -> dict[str, str]:
    """A factor for each datacenter; ``replication_factor`` stands for all that are not named."""
    named = {home: factor for home, factor in replication.items() if home not in {"class", "replication_factor"}}
    if not schema.datacenters:
        return replication
    for home in named:
        if home not in schema.datacenters:
            raise ConfigError(f"Unrecognized strategy option {{{home}}} passed to NetworkTopologyStrategy")
    if "replication_factor" in replication:
        named = {home: named.get(home, replication["replication_factor"]) for home in schema.datacenters}
    return named


def _create_table(schema: Schema, statement: CreateTable, used: str | None) -> Result:
    keyspace = _keyspace(schema, statement.table.keyspace or used)
    name = statement.table.name
    if name in keyspace.tables:
        if statement.if_not_exists:
            return Void()
        raise AlreadyExists(
            f"Cannot add already existing table '{name}' to keyspace '{keyspace.name}'",
            keyspace=keyspace.name,
            table=name,
        )
    if not statement.partition_key:
        raise Invalid(f"No PRIMARY KEY specified for table '{keyspace.name}.{name}' (exactly one required)")
    columns = {column: _column(schema, keyspace, statement, column) for column in statement.columns}
    for part in (*statement.partition_key, *statement.clustering):
        if part not in columns:
            raise Invalid(f"Unknown column '{part}' referenced in PRIMARY KEY for table '{keyspace.name}.{name}'")
    _check_counters(list(columns.values()))
    table = Table(keyspace=keyspace.name, name=name, columns=columns, options=dict(statement.options))
    keyspace.tables[name] = table
    return SchemaChange("CREATED", "TABLE", keyspace.name, name)


def _column(schema: Schema, keyspace: Keyspace, statement: CreateTable, name: str) -> Column:
    kind = schema.type(statement.columns[name], keyspace)
    if name in statement.partition_key:
        _check_key(name, kind)
        return Column(name=name, type=kind, kind="partition_key", position=statement.partition_key.index(name))
    if name in statement.clustering:
        _check_key(name, kind)
        descending = statement.clustering_order.get(name, False)
        position = statement.clustering.index(name)
        return Column(name=name, type=kind, kind="clustering", position=position, descending=descending)
    if name in statement.static and not statement.clustering:
        raise Invalid(
            "Static columns are only useful (and thus allowed) if the table has at least one clustering column"
        )
    return Column(name=name, type=kind, kind="static" if name in statement.static else "regular")


def _check_key(name: str, kind: CqlType) -> None:
    if kind.is_multicell:
        raise Invalid(f"Invalid non-frozen collection type {kind} for PRIMARY KEY column '{name}'")
    if kind.name == "counter":
        raise Invalid(f"counter type is not supported for PRIMARY KEY column '{name}'")


def _check_counters(columns: list[Column]) -> None:
    regular = [
        column.type.name == "counter" for column in columns if column.kind not in {"partition_key", "clustering"}
    ]
    if any(regular) and not all(regular):
        raise Invalid("Cannot mix counter and non counter columns in the same table")


def _alter_table(schema: Schema, statement: AlterTable, used: str | None) -> Result:
    keyspace = _keyspace(schema, statement.table.keyspace or used)
    table = schema.table(statement.table, used)
    for name, written in statement.add.items():
        if name in table.columns:
            raise Invalid(f"Column with name '{name}' already exists")
        kind: Kind = "static" if name in statement.static else "regular"
        table.columns[name] = Column(name=name, type=schema.type(written, keyspace), kind=kind)
    for name in statement.drop:
        if table.column(name).kind in {"partition_key", "clustering"}:
            raise Invalid(f"Cannot drop PRIMARY KEY column {name}")
        del table.columns[name]
        for partition in table.partitions.values():
            for row in (partition.static, *partition.rows.values()):
                row.cells.pop(name, None)
    table.options.update(statement.options)
    table.arrange()
    return SchemaChange("UPDATED", "TABLE", table.keyspace, table.name)


def _create_type(schema: Schema, statement: CreateType, used: str | None) -> Result:
    keyspace = _keyspace(schema, statement.type.keyspace or used)
    name = statement.type.name
    if name in keyspace.types:
        if statement.if_not_exists:
            return Void()
        raise Invalid(f"A user type with name '{name}' already exists")
    arguments = tuple(schema.type(written, keyspace) for written in statement.fields.values())
    keyspace.types[name] = CqlType(name, arguments, keyspace=keyspace.name, fields=tuple(statement.fields))
    return SchemaChange("CREATED", "TYPE", keyspace.name, name)


def _alter_type(schema: Schema, statement: AlterType, used: str | None) -> Result:
    keyspace = _keyspace(schema, statement.type.keyspace or used)
    old = keyspace.types.get(statement.type.name)
    if old is None:
        raise Invalid(f"Type {keyspace.name}.{statement.type.name} doesn't exist")
    for name in (*statement.add, *statement.rename.values()):
        if name in old.fields:
            raise Invalid(
                f"Cannot add field {name} to type {keyspace.name}.{old.name}: a field with name {name} already exists"
            )
    fields = tuple(statement.rename.get(name, name) for name in old.fields) + tuple(statement.add)
    arguments = old.arguments + tuple(schema.type(written, keyspace) for written in statement.add.values())
    new = replace(old, fields=fields, arguments=arguments)
    keyspace.types = {name: _exchanged(kind, old, new) for name, kind in keyspace.types.items()}
    for table in keyspace.tables.values():
        table.columns = {
            name: replace(column, type=_exchanged(column.type, old, new)) for name, column in table.columns.items()
        }
        table.arrange()
    return SchemaChange("UPDATED", "TYPE", keyspace.name, old.name)


def _exchanged(kind: CqlType, old: CqlType, new: CqlType) -> CqlType:
    if kind.fields and (kind.keyspace, kind.name) == (old.keyspace, old.name):
        return replace(new, frozen=kind.frozen)
    if not kind.arguments:
        return kind
    return replace(kind, arguments=tuple(_exchanged(inner, old, new) for inner in kind.arguments))


def _create_index(schema: Schema, statement: CreateIndex, used: str | None) -> Result:
    keyspace = _keyspace(schema, statement.table.keyspace or used)
    table = schema.table(statement.table, used)
    column = table.column(statement.column)
    name = statement.index or f"{table.name}_{column.name}_idx"
    if any(name in each.indexes for each in keyspace.tables.values()):
        if statement.if_not_exists:
            return Void()
        raise Invalid(f"Index '{name}' already exists")
    function = statement.function or ("values" if column.type.is_multicell else "")
    table.indexes[name] = (column.name, f"{function}({column.name})" if function else column.name)
    return SchemaChange("UPDATED", "TABLE", table.keyspace, table.name)


def _drop(schema: Schema, statement: Drop, used: str | None) -> Result:
    name = statement.target.name
    if statement.what == "KEYSPACE":
        if name not in schema.keyspaces:
            return _missing(statement, f"Keyspace '{name}' doesn't exist")
        del schema.keyspaces[_keyspace(schema, name).name]
        return SchemaChange("DROPPED", "KEYSPACE", name)
    keyspace = _keyspace(schema, statement.target.keyspace or used)
    if statement.what in {"TABLE", "TYPE"}:
        things = keyspace.tables if statement.what == "TABLE" else keyspace.types
        if things.pop(name, None) is None:
            return _missing(statement, f"{statement.what.title()} '{keyspace.name}.{name}' doesn't exist")
        return SchemaChange("DROPPED", statement.what, keyspace.name, name)
    for table in keyspace.tables.values():
        if table.indexes.pop(name, None) is not None:
            return SchemaChange("UPDATED", "TABLE", keyspace.name, table.name)
    return _missing(statement, f"Index '{keyspace.name}.{name}' doesn't exist")


def _missing(statement: Drop, said: str) -> Result:
    if statement.if_exists:
        return Void()
    raise Invalid(said)


_RUN: dict[type, Callable[[Schema, Any, str | None], Result]] = {
    CreateKeyspace: _create_keyspace,
    AlterKeyspace: _alter_keyspace,
    CreateTable: _create_table,
    AlterTable: _alter_table,
    CreateType: _create_type,
    AlterType: _alter_type,
    CreateIndex: _create_index,
    Drop: _drop,
}
