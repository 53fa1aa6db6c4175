"""The settings of a Cassandra cluster."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from undaunted.config.addresses import Nodes
from undaunted.config.clusters import ClusterSettings, CredentialSettings, TlsSettings
from undaunted.config.shapes import Choice, Text
from undaunted.config.structure import Section, Table, setting

__all__ = ["CassandraSettings", "ConsistencySettings"]

Consistency = Literal["ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "LOCAL_ONE"]
SerialConsistency = Literal["SERIAL", "LOCAL_SERIAL"]
_CONSISTENCY: Choice[Consistency] = Choice(get_args(Consistency))
_SERIAL: Choice[SerialConsistency] = Choice(get_args(SerialConsistency))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ConsistencySettings(Section):
    """How many replicas must answer."""

    read: Consistency = setting(_CONSISTENCY, "For reads.", default="LOCAL_QUORUM")
    write: Consistency = setting(_CONSISTENCY, "For writes.", default="LOCAL_QUORUM")
    serial: SerialConsistency = setting(_SERIAL, "For conditional writes.", default="LOCAL_SERIAL")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class CassandraSettings(ClusterSettings):
    """A cluster of Cassandra, used through cqlengine."""

    default_port: ClassVar[int] = 9042

    nodes: tuple[str, ...] = setting(
        Nodes(9042),
        "Addresses of some or all nodes, with or without port; the driver finds the others.",
        default=(),
        required=True,
        also=("hosts", "contact_points"),
    )
    keyspace: str | None = setting(Text(), "Keyspace of models that name none.", default=None, effective="none")
    local_datacenter: str | None = setting(
        Text(),
        "Datacenter whose nodes are asked.",
        default=None,
        effective="that of the first node",
        also=("local_dc",),
    )
    consistency: ConsistencySettings = setting(
        Table(ConsistencySettings), "How many replicas must answer.", default=ConsistencySettings()
    )
    credentials: CredentialSettings = setting(
        Table(CredentialSettings), "Who the application is.", default=CredentialSettings(), also=("auth",)
    )
    tls: TlsSettings | None = setting(Table(TlsSettings), "Encryption.", default=None, effective="off", also=("ssl",))
