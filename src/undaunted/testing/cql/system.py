"""The tables about the cluster itself: who is a member, as each node sees it, and what the schema is."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.schema import Column, Keyspace, Table
from undaunted.testing.cql.types import CqlType, scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from undaunted.testing.cql.member import Member
    from undaunted.testing.cql.schema import Kind, Schema

    Produce = Callable[[], Iterable[Mapping[str, Any]]]

__all__ = ["about_members", "about_schema"]

_LOCAL_REPLICATION = {"class": "org.apache.cassandra.locator.LocalStrategy"}
_TEXTS = CqlType("set", (scalar("text"),))
_TEXT_MAP = CqlType("map", (scalar("text"), scalar("text")))
_FROZEN_MAP = _TEXT_MAP.freeze()
_TYPES: dict[str, CqlType] = {
    "texts": _TEXTS,
    "text_map": _TEXT_MAP,
    "frozen_map": _FROZEN_MAP,
    "text_list": CqlType("list", (scalar("text"),), frozen=True),
    "blobs": CqlType("map", (scalar("text"), scalar("blob")), frozen=True),
    "truncations": CqlType("map", (scalar("uuid"), scalar("blob"))),
}


def _table(keyspace: str, name: str, key: str, others: str, produce: Produce) -> Table:
    """A computed table, whose columns are given as ``"name type name type"``."""
    columns: dict[str, Column] = {}
    words = key.split()
    for position, (column, kind) in enumerate(zip(words[::2], words[1::2], strict=True)):
        place: Kind = "partition_key" if position == 0 else "clustering"
        columns[column] = Column(name=column, type=_kind(kind), kind=place, position=max(0, position - 1))
    words = others.split()
    for column, kind in zip(words[::2], words[1::2], strict=True):
        columns[column] = Column(name=column, type=_kind(kind))
    return Table(keyspace=keyspace, name=name, columns=columns, rows_of=produce)


def _kind(name: str) -> CqlType:
    return _TYPES.get(name) or scalar(name)


def _keyspace(name: str, tables: Sequence[Table]) -> Keyspace:
    return Keyspace(name=name, replication=_LOCAL_REPLICATION, tables={table.name: table for table in tables})


def _packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def about_members(member: Member, members: Sequence[Member]) -> Keyspace:
    """The keyspace ``system`` of one node: itself, and its peers."""
    local = _table(
        "system",
        "local",
        "key text",
        "bootstrapped text broadcast_address inet broadcast_port int cluster_name text cql_version text "
        "data_center text gossip_generation int host_id uuid listen_address inet listen_port int "
        "native_protocol_version text partitioner text rack text release_version text rpc_address inet rpc_port int "
        "schema_version uuid tokens texts truncated_at truncations",
        lambda: [_local(member)],
    )
    others = [each for each in members if each is not member]
    peers = _table(
        "system",
        "peers",
        "peer inet",
        "data_center text host_id uuid preferred_ip inet rack text release_version text rpc_address inet "
        "schema_version uuid tokens texts",
        lambda: [_peer(each) for each in others],
    )
    peers_v2 = _table(
        "system",
        "peers_v2",
        "peer inet peer_port int",
        "data_center text host_id uuid native_address inet native_port int preferred_ip inet preferred_port int "
        "rack text release_version text schema_version uuid tokens texts",
        lambda: [_peer(each) for each in others],
    )
    return _keyspace("system", [local, peers, peers_v2])


def _common(member: Member) -> dict[str, Any]:
    return {
        "data_center": member.datacenter,
        "host_id": member.host_id,
        "rack": "rack1",
        "release_version": member.release_version,
        "rpc_address": _packed(member.address),
        "schema_version": member.schema_version,
        "tokens": (str(member.token),),
    }


def _local(member: Member) -> dict[str, Any]:
    return {
        **_common(member),
        "key": "local",
        "bootstrapped": "COMPLETED",
        "broadcast_address": _packed(member.address),
        "broadcast_port": 7000,
        "cluster_name": member.cluster_name,
        "cql_version": "3.4.7",
        "gossip_generation": 1,
        "listen_address": _packed(member.address),
        "listen_port": 7000,
        "native_protocol_version": str(member.protocol),
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "rpc_port": member.port,
    }


def _peer(member: Member) -> dict[str, Any]:
    return {
        **_common(member),
        "peer": _packed(member.address),
        "peer_port": 7000,
        "native_address": _packed(member.address),
        "native_port": member.port,
    }


def about_schema(schema: Schema) -> list[Keyspace]:
    """The keyspaces that say what the schema is."""
    by_table = "keyspace_name text table_name text"
    tables = [
        _table(
            "system_schema",
            "keyspaces",
            "keyspace_name text",
            "durable_writes boolean replication frozen_map",
            lambda: map(_keyspace_row, (*_own_keyspaces(), *schema.keyspaces.values())),
        ),
        _table("system_schema", "tables", by_table, _TABLE_COLUMNS, lambda: map(_table_row, _tables(schema))),
        _table(
            "system_schema",
            "columns",
            by_table + " column_name text",
            "clustering_order text column_name_bytes blob kind text position int type text",
            lambda: (_column_row(table, column) for table in _tables(schema) for column in table.columns.values()),
        ),
        _table(
            "system_schema",
            "indexes",
            by_table + " index_name text",
            "kind text options frozen_map",
            lambda: (row for table in _tables(schema) for row in _index_rows(table)),
        ),
        _table(
            "system_schema",
            "types",
            "keyspace_name text type_name text",
            "field_names text_list field_types text_list",
            lambda: (_type_row(kind) for each in schema.keyspaces.values() for kind in each.types.values()),
        ),
        *(_table("system_schema", name, key, others, tuple) for name, key, others in _EMPTY),
    ]
    virtual = [_table("system_virtual_schema", name, key, others, tuple) for name, key, others in _EMPTY_VIRTUAL]
    return [_keyspace("system_schema", tables), _keyspace("system_virtual_schema", virtual)]


_TABLE_COLUMNS = (
    "additional_write_policy text bloom_filter_fp_chance double caching frozen_map cdc boolean comment text "
    "compaction frozen_map compression frozen_map crc_check_chance double dclocal_read_repair_chance double "
    "default_time_to_live int extensions blobs flags texts gc_grace_seconds int id uuid max_index_interval int "
    "memtable text memtable_flush_period_in_ms int min_index_interval int read_repair text read_repair_chance double "
    "speculative_retry text"
)
_VIEW_COLUMNS = (
    f"{_TABLE_COLUMNS} base_table_id uuid base_table_name text include_all_columns boolean where_clause text"
)
_EMPTY = (
    ("views", "keyspace_name text view_name text", _VIEW_COLUMNS),
    ("triggers", "keyspace_name text table_name text trigger_name text", "options frozen_map"),
    (
        "functions",
        "keyspace_name text function_name text argument_types text_list",
        "argument_names text_list body text called_on_null_input boolean language text return_type text",
    ),
    (
        "aggregates",
        "keyspace_name text aggregate_name text argument_types text_list",
        "final_func text initcond text return_type text state_func text state_type text",
    ),
)
_EMPTY_VIRTUAL = (
    ("keyspaces", "keyspace_name text", ""),
    ("tables", "keyspace_name text table_name text", "comment text"),
    (
        "columns",
        "keyspace_name text table_name text column_name text",
        "clustering_order text column_name_bytes blob kind text position int type text",
    ),
)
_DEFAULTS: dict[str, Any] = {
    "additional_write_policy": "99p",
    "bloom_filter_fp_chance": 0.01,
    "caching": {"keys": "ALL", "rows_per_partition": "NONE"},
    "comment": "",
    "compaction": {
        "class": "org.apache.cassandra.db.compaction.SizeTieredCompactionStrategy",
        "max_threshold": "32",
        "min_threshold": "4",
    },
    "compression": {"chunk_length_in_kb": "16", "class": "org.apache.cassandra.io.compress.LZ4Compressor"},
    "crc_check_chance": 1.0,
    "dclocal_read_repair_chance": 0.0,
    "default_time_to_live": 0,
    "gc_grace_seconds": 864000,
    "max_index_interval": 2048,
    "memtable_flush_period_in_ms": 0,
    "min_index_interval": 128,
    "read_repair": "BLOCKING",
    "read_repair_chance": 0.0,
    "speculative_retry": "99p",
}


def _own_keyspaces() -> list[Keyspace]:
    return [Keyspace(name=name, replication=_LOCAL_REPLICATION) for name in ("system", "system_schema")]


def _tables(schema: Schema) -> list[Table]:
    return [table for keyspace in schema.keyspaces.values() for table in keyspace.tables.values()]


def _pairs(mapping: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, str(item)) for key, item in mapping.items()))


def _keyspace_row(keyspace: Keyspace) -> dict[str, Any]:
    return {
        "keyspace_name": keyspace.name,
        "durable_writes": keyspace.durable_writes,
        "replication": _pairs(keyspace.replication),
    }


def _table_row(table: Table) -> dict[str, Any]:
    options: dict[str, Any] = {**_DEFAULTS, **{name: item for name, item in table.options.items() if name in _DEFAULTS}}
    for name, item in options.items():
        if isinstance(_DEFAULTS[name], dict):
            options[name] = _pairs(_with_package(name, item))
        elif isinstance(_DEFAULTS[name], float):
            options[name] = float(item)
    return {
        **options,
        "keyspace_name": table.keyspace,
        "table_name": table.name,
        "extensions": (),
        "flags": ("compound", "counter") if table.is_counter else ("compound",),
        "id": table.id,
    }


def _with_package(option: str, given: Mapping[str, str]) -> dict[str, str]:
    """The class of a compaction or compression with its package, as a server shows it."""
    package = {"compaction": "org.apache.cassandra.db.compaction", "compression": "org.apache.cassandra.io.compress"}
    short = given.get("class", "")
    return {**given, "class": f"{package[option]}.{short}"} if short and "." not in short else dict(given)


def _column_row(table: Table, column: Column) -> dict[str, Any]:
    order = "none" if column.kind != "clustering" else "desc" if column.descending else "asc"
    return {
        "keyspace_name": table.keyspace,
        "table_name": table.name,
        "column_name": column.name,
        "clustering_order": order,
        "column_name_bytes": column.name.encode(),
        "kind": column.kind,
        "position": column.position,
        "type": str(column.type),
    }


def _index_rows(table: Table) -> list[dict[str, Any]]:
    return [
        {
            "keyspace_name": table.keyspace,
            "table_name": table.name,
            "index_name": name,
            "kind": "COMPOSITES",
            "options": (("target", target),),
        }
        for name, (_, target) in table.indexes.items()
    ]


def _type_row(kind: CqlType) -> dict[str, Any]:
    return {
        "keyspace_name": kind.keyspace,
        "type_name": kind.name,
        "field_names": kind.fields,
        "field_types": tuple(map(str, kind.arguments)),
    }
