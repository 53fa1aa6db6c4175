"""The settings of what `undaunted provision` makes of a Cassandra cluster."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from undaunted.config.raw import as_table, found
from undaunted.config.shapes import Choice, Switch, Whole
from undaunted.config.structure import EnvironmentText, Key, Reader, Section, Shape, Table, Tables, setting
from undaunted.config.toml import literal

__all__ = ["CassandraProvisionSettings", "KeyspaceSettings"]

Strategy = Literal["NetworkTopologyStrategy", "SimpleStrategy"]
_STRATEGY: Choice[Strategy] = Choice(get_args(Strategy))

FactorSetting: TypeAlias = "int | Mapping[str, int]"

_NAME = re.compile(r"[A-Za-z0-9_]{1,48}")
_UNREPLICATED = frozenset({"system", "system_schema", "system_views", "system_virtual_schema", "system_metadata"})
"""Keyspaces that each node has for itself; ``system_auth`` and its like are replicated, and may be provisioned."""


class Factor(Shape[FactorSetting]):
    """How many replicas: one number, or a number by datacenter."""

    kind = "integer from 1, or a table of such by datacenter"

    def _read(self, value: object, at: Key, reader: Reader) -> FactorSetting | None:
        table = as_table(value)
        if table is None:
            whole = literal(value) if isinstance(value, EnvironmentText) else value
            if isinstance(whole, str) or not isinstance(whole, int):
                reader.problem(at, f"expected a number of replicas, or {{ dc1 = 3, dc2 = 3 }}; found {found(whole)}.")
                return None
            return Whole(1).read(whole, at, reader)
        if not table:
            reader.problem(at, "names no datacenter; give { dc1 = 3 }, or one number for each of them.")
            return None
        factors = {name: Whole(1).read(one, (*at, name), reader) for name, one in table.items()}
        return {name: factor for name, factor in factors.items() if factor is not None} or None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KeyspaceSettings(Section):
    """One keyspace. What is not given is left as it is; of a new one, the defaults hold."""

    strategy: Strategy | None = setting(
        _STRATEGY,
        "How replicas are placed.",
        default=None,
        effective="NetworkTopologyStrategy",
        also=("class", "replication_class"),
    )
    factor: FactorSetting | None = setting(
        Factor(),
        "How many nodes hold each row: by datacenter, or one number for each datacenter there is.",
        default=None,
        effective=3,
        also=("replication_factor", "replicas", "rf"),
    )
    durable_writes: bool | None = setting(
        Switch(),
        "Whether writes go through the commit log, and so outlive a crash of their nodes.",
        default=None,
        effective=True,
    )

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.strategy == "SimpleStrategy" and isinstance(self.factor, Mapping):
            yield (
                ("factor",),
                'SimpleStrategy knows no datacenters; give one number, or strategy = "NetworkTopologyStrategy".',
            )


class Keyspaces(Tables[KeyspaceSettings]):
    """Keyspaces by name."""

    def _read(self, value: object, at: Key, reader: Reader) -> Mapping[str, KeyspaceSettings] | None:
        for name in as_table(value) or ():
            if not _NAME.fullmatch(name):
                reader.problem((*at, name), "is no name of a keyspace: up to 48 letters, digits and _.")
            elif name in _UNREPLICATED:
                reader.problem((*at, name), "is a keyspace that each node has for itself; leave it out.")
        return super()._read(value, at, reader)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CassandraProvisionSettings(Section):
    """What `undaunted provision` makes of the cluster."""

    keyspaces: Mapping[str, KeyspaceSettings] = setting(
        Keyspaces(Table(KeyspaceSettings)),
        "Keyspaces that `undaunted provision` makes, by name: `strategy`, `factor` and `durable_writes` of each; "
        "without any, the cluster's `keyspace` with three replicas in each datacenter.",
        default={},
    )
