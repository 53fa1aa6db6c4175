"""What every cluster has, and the clusters of Cassandra and SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from undaunted.config.addresses import Nodes, UrlText, address, parse_url
from undaunted.config.secrets import Secret
from undaunted.config.sections import (
    READS,
    READS_DOC,
    BreakerSettings,
    BudgetSettings,
    HedgeSettings,
    RetrySettings,
)
from undaunted.config.shapes import Choice, FilePath, SecretText, Switch, Text
from undaunted.config.structure import Key, Table, setting
from undaunted.core.policy import Policy, Reads

__all__ = [
    "CassandraSettings",
    "ClusterSettings",
    "ConsistencySettings",
    "CredentialSettings",
    "SQLAlchemySettings",
    "TlsSettings",
    "Verify",
    "nodes_of_url",
]

Verify = Literal["full", "ca", "none"]
_VERIFY: Choice[Verify] = Choice(get_args(Verify))


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSettings:
    """Who the application is to the database."""

    username: str | None = setting(Text(), "Name of the user.", default=None, also=("user",))
    password: Secret | None = setting(SecretText(), "Password of the user.", default=None)

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.password is not None and self.username is None:
            yield ("username",), "is missing, although there is a password; give it."


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Encryption of the connections; the table's presence switches it on."""

    enabled: bool = setting(Switch(), "Whether connections are encrypted.", default=True)
    ca: str | None = setting(
        FilePath(),
        "Certificates that sign the nodes'.",
        default=None,
        effective="the system's",
        also=("cafile", "ca_file"),
    )
    certificate: str | None = setting(
        FilePath(), "The client's own certificate and key, in one PEM file.", default=None, also=("cert", "certfile")
    )
    key_password: Secret | None = setting(SecretText(), "Password of that key.", default=None)
    verify: Verify = setting(
        _VERIFY,
        'What is checked: "full"; "ca" (the certificate, not the host name); "none".',
        default="full",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """What every cluster has.

    Attributes:
        name: The cluster's name, the key of its table.
    """

    name: str = ""
    backend: str = setting(
        Text(),
        'What keeps it: "mongodb", "cassandra" or "sqlalchemy".',
        default="",
        required=True,
        also=("engine", "type"),
    )
    profile: str | None = setting(Text(), "Profile beneath the cluster's own settings.", default=None, effective="none")
    default: bool = setting(Switch(), "Whether models that name no cluster live here; one for each ORM.", default=False)
    required: bool = setting(
        Switch(), "Whether the application counts as not ready while this cluster is down.", default=True
    )
    reads: Reads | None = setting(READS, READS_DOC, default=None, effective="primary", also=("read_preference",))
    retry: RetrySettings = setting(
        Table(RetrySettings), "How often and how long a call is tried.", default=RetrySettings()
    )
    budget: BudgetSettings = setting(Table(BudgetSettings), "What retries cost.", default=BudgetSettings())
    breaker: BreakerSettings = setting(Table(BreakerSettings), "When a node is left alone.", default=BreakerSettings())
    hedge: HedgeSettings = setting(Table(HedgeSettings), "A second read for a slow one.", default=HedgeSettings())

    default_port: ClassVar[int] = 0

    def completed(self) -> ClusterSettings:
        """The same with what follows from its settings filled in, such as the nodes that its URL names."""
        return self

    def over(self, base: Policy) -> Policy:
        """Lay what this cluster says of its calls over `base`."""
        policy = self.retry.over(base)
        return policy if self.reads is None else replace(policy, reads=self.reads)


Consistency = Literal["ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "LOCAL_ONE"]
SerialConsistency = Literal["SERIAL", "LOCAL_SERIAL"]
_CONSISTENCY: Choice[Consistency] = Choice(get_args(Consistency))
_SERIAL: Choice[SerialConsistency] = Choice(get_args(SerialConsistency))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsistencySettings:
    """How many replicas must answer."""

    read: Consistency = setting(_CONSISTENCY, "For reads.", default="LOCAL_QUORUM")
    write: Consistency = setting(_CONSISTENCY, "For writes.", default="LOCAL_QUORUM")
    serial: SerialConsistency = setting(_SERIAL, "For conditional writes.", default="LOCAL_SERIAL")


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLAlchemySettings(ClusterSettings):
    """A PostgreSQL primary and its standbys, used through SQLAlchemy."""

    default_port: ClassVar[int] = 5432

    url: Secret | None = setting(
        UrlText("postgresql"),
        "Driver, user and database as a URL of SQLAlchemy; its host may be left out when nodes are given.",
        default=None,
        required=True,
        also=("uri", "dsn"),
    )
    nodes: tuple[str, ...] = setting(
        Nodes(5432),
        "Addresses of the primary and all standbys.",
        default=(),
        effective="that of the url",
        also=("hosts",),
    )

    def completed(self) -> SQLAlchemySettings:
        """The same with the node that the URL names, where `nodes` is left out."""
        return self if self.nodes or self.url is None else replace(self, nodes=tuple(self._url_nodes()))

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.url is None:
            return
        try:
            named = self._url_nodes()
        except ValueError as error:
            yield ("url",), f"{error}."
            return
        if not named and not self.nodes:
            yield ("nodes",), "names no node, and neither does the url; list the primary and its standbys."
        yield from disagreement(self.nodes, [] if set(named) <= set(self.nodes) else named)

    def _url_nodes(self) -> list[str]:
        return nodes_of_url(self.url, self.default_port)


def nodes_of_url(url: Secret | None, default_port: int) -> list[str]:
    """The nodes that a URL names; none for one that names a DNS record, or no host.

    Raises:
        ValueError: One of them is no address; the message does not show it, as it could be a misplaced password.
    """
    if url is None:
        return []
    parts = parse_url(url.reveal())
    if parts.scheme.endswith("+srv") or parts.hosts == ("",):
        return []
    nodes: list[str] = []
    for number, host in enumerate(parts.hosts, 1):
        try:
            node = address(host, default_port)
        except ValueError:
            raise ValueError(
                f'names as host number {number} what is not an address; write "host:{default_port}", and before an @ the user'
            ) from None
        if node in nodes:
            raise ValueError(f"names the node {node} twice; list each node once")
        nodes.append(node)
    return nodes


def disagreement(nodes: tuple[str, ...], of_url: list[str]) -> Iterator[tuple[Key, str]]:
    """Yield a mistake when nodes and URL are both given and name different nodes."""
    if nodes and of_url and set(nodes) != set(of_url):
        yield (
            ("nodes",),
            f"names {', '.join(nodes)}, but the url names {', '.join(of_url)}; make them agree, or leave one out.",
        )
