"""The settings of a Cassandra cluster."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

from collections.abc import Iterator, Mapping  # noqa: TC003  # the reference is made from the annotations
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from undaunted.config.addresses import Nodes
from undaunted.config.clusters import ClusterSettings, CredentialSettings, HeartbeatSettings, TlsSettings
from undaunted.config.keyspaces import CassandraProvisionSettings
from undaunted.config.options import CASSANDRA_OURS, Options
from undaunted.config.shapes import Choice, Duration, Text
from undaunted.config.structure import Key, Section, Table, Tables, setting

__all__ = ["CassandraSettings", "ConsistencySettings", "RemoteDatacenterSettings"]

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
class RemoteDatacenterSettings(Section):
    """A datacenter to go on in when the local one cannot serve."""

    consistency: ConsistencySettings = setting(
        Table(ConsistencySettings), "How many replicas must answer there.", default=ConsistencySettings()
    )


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
    timeout: float = setting(
        Duration(at_least_s=0.01),
        "Time for one attempt, after which the node is left alone and the next is asked.",
        default=2.0,
        also=("request_timeout", "attempt_timeout"),
    )
    heartbeat: HeartbeatSettings = setting(
        Table(HeartbeatSettings), "How quickly a lost node is noticed.", default=HeartbeatSettings()
    )
    remote_datacenters: Mapping[str, RemoteDatacenterSettings] = setting(
        Tables(Table(RemoteDatacenterSettings)),
        "Datacenters to go on in, in this order, when the local one cannot serve; by name.",
        default={},
    )
    failback_after: float = setting(
        Duration(), "Time for which the local datacenter must be well before it is asked again.", default=30.0
    )
    options: Mapping[str, object] = setting(
        Options(CASSANDRA_OURS), "Any other option of the driver's Cluster, by its own name.", default={}
    )
    provision: CassandraProvisionSettings = setting(
        Table(CassandraProvisionSettings), "What `undaunted provision` makes.", default=CassandraProvisionSettings()
    )

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.consistency.read in ("ANY", "EACH_QUORUM"):
            what = "is for writes only" if self.consistency.read == "ANY" else "is refused for reads by Cassandra"
            yield ("consistency", "read"), f"{self.consistency.read} {what}; give LOCAL_QUORUM, or another."
        if self.remote_datacenters and self.local_datacenter is None:
            yield ("local_datacenter",), "is missing, although remote_datacenters are declared; say which one is home."
        if self.local_datacenter is not None and self.local_datacenter in self.remote_datacenters:
            yield ("remote_datacenters", self.local_datacenter), "is the local datacenter itself; leave it out."
