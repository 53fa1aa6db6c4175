"""The settings of a MongoDB cluster."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from undaunted.config.addresses import Nodes, address
from undaunted.config.clusters import ClusterSettings, CredentialSettings, HeartbeatSettings, TlsSettings
from undaunted.config.options import MONGODB_OURS, Options
from undaunted.config.sections import MANY_WRITES, MANY_WRITES_DOC, ManyWrites
from undaunted.config.shapes import Choice, Number, Switch, Text, Whole
from undaunted.config.structure import Key, Reader, Section, Shape, Table, Tables, setting
from undaunted.config.urls import UrlText, disagreement, nodes_of_url, parse_url

if TYPE_CHECKING:
    from undaunted.config.secrets import Secret
    from undaunted.config.urls import Url
    from undaunted.core.policy import Policy

__all__ = [
    "HeartbeatSettings",
    "MemberSettings",
    "MongoDBCredentialSettings",
    "MongoDBSettings",
    "PoolSettings",
    "ProvisionSettings",
]

Mechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509", "MONGODB-AWS", "MONGODB-OIDC", "GSSAPI", "PLAIN"]
_MECHANISM: Choice[Mechanism] = Choice(get_args(Mechanism))

_WITH_PASSWORD = (None, "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")
_MAY_BE_IN_URL = frozenset(
    {"replicaset", "authsource", "authmechanism"} | {n for n in MONGODB_OURS if n[:3] in ("tls", "ssl")}
)
"""Options that a setting decides too, but which a connection string that comes from elsewhere usually has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MongoDBCredentialSettings(CredentialSettings):
    """Who the application is to MongoDB."""

    source: str | None = setting(
        Text(),
        "Database that knows the user.",
        default=None,
        effective="admin",
        also=("auth_source", "authentication_source"),
    )
    mechanism: Mechanism | None = setting(
        _MECHANISM,
        "How the user is authenticated.",
        default=None,
        effective="negotiated",
        also=("auth_mechanism", "authentication_mechanism"),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PoolSettings(Section):
    """Connections to each node."""

    max: int = setting(Whole(1), "Connections at most.", default=100, also=("max_size", "size"))
    min: int = setting(Whole(0), "Connections kept open.", default=0, also=("min_size",))

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.min > self.max:
            yield ("min",), f"{self.min} is more than max, {self.max}; lower it, or raise max."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MemberSettings(Section):
    """What makes one member of a replica set unlike the others."""

    priority: float | None = setting(
        Number(0, 1000),
        "How much it is preferred as primary; 0 never.",
        default=None,
        effective="1; 0 for an arbiter, a hidden or a voteless member",
    )
    votes: int = setting(Whole(0, 1), "Its votes in an election.", default=1)
    arbiter: bool = setting(Switch(), "Whether it votes and holds no data.", default=False)
    hidden: bool = setting(Switch(), "Whether applications do not see it.", default=False)

    @property
    def effective_priority(self) -> float:
        """The priority with which it stands in the replica set's configuration."""
        if self.priority is not None:
            return self.priority
        return 0.0 if self.arbiter or self.hidden or not self.votes else 1.0

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what MongoDB would refuse."""
        if self.effective_priority > 0:
            for what, holds in (
                ("an arbiter", self.arbiter),
                ("a hidden member", self.hidden),
                ("a member without votes", not self.votes),
            ):
                if holds:
                    yield ("priority",), f"{what} cannot become primary; set it to 0, or leave it out."
        if self.arbiter and self.hidden:
            yield ("hidden",), "an arbiter is never seen by applications; leave it out."
        if self.arbiter and not self.votes:
            yield ("votes",), "an arbiter is there to vote; leave it out."


class Members(Shape[Mapping[str, MemberSettings]]):
    """Members of a replica set, by address."""

    kind = "table by address"

    def _read(self, value: object, at: Key, reader: Reader) -> Mapping[str, MemberSettings] | None:
        tables = Tables(Table(MemberSettings)).read(value, at, reader)
        members: dict[str, MemberSettings] = {}
        for name, member in (tables or {}).items():
            try:
                node = address(name, 27017)
            except ValueError as error:
                reader.problem((*at, name), f"{error}.")
                continue
            if node in members:
                reader.problem((*at, name), f"is given twice, since the default port is part of it ({node}).")
            members[node] = member
        return members


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ProvisionSettings(Section):
    """What `undaunted provision` makes of the cluster."""

    members: Mapping[str, MemberSettings] = setting(
        Members(),
        "Members that differ from the others, or stand in `provision` only: arbiters, hidden ones.",
        default={},
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class MongoDBSettings(ClusterSettings):
    """A replica set of MongoDB, used through MongoEngine."""

    default_port: ClassVar[int] = 27017
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("nodes", "url"),)

    nodes: tuple[str, ...] = setting(
        Nodes(27017),
        "Addresses of some or all nodes, with or without port; the driver finds the others.",
        default=(),
        effective="those of the url",
        also=("host", "hosts", "servers", "seeds", "node"),
    )
    url: Secret | None = setting(
        UrlText("mongodb", instead=", or leave the password to credentials.password"),
        "A connection string, in place of nodes; given as a secret when a password stands in it.",
        default=None,
        also=("uri", "dsn", "connection_string"),
    )
    replica_set: str | None = setting(
        Text(),
        "Name of the replica set; a node of another set is not used.",
        default=None,
        effective="found by asking",
        also=("rs", "replset", "set_name"),
    )
    database: str | None = setting(
        Text(), "Database of models that name none.", default=None, effective="test", also=("db", "dbname", "db_name")
    )
    credentials: MongoDBCredentialSettings = setting(
        Table(MongoDBCredentialSettings), "Who the application is.", default=MongoDBCredentialSettings(), also=("auth",)
    )
    tls: TlsSettings | None = setting(Table(TlsSettings), "Encryption.", default=None, effective="off", also=("ssl",))
    many_writes: ManyWrites | None = setting(MANY_WRITES, MANY_WRITES_DOC, default=None, effective="transaction")
    heartbeat: HeartbeatSettings = setting(
        Table(HeartbeatSettings), "How quickly a lost node is noticed.", default=HeartbeatSettings()
    )
    pool: PoolSettings = setting(Table(PoolSettings), "Connections to each node.", default=PoolSettings())
    options: Mapping[str, object] = setting(
        Options(MONGODB_OURS), "Any other option of pymongo's MongoClient, by its own name.", default={}
    )
    provision: ProvisionSettings = setting(
        Table(ProvisionSettings), "What `undaunted provision` makes.", default=ProvisionSettings()
    )

    def over(self, base: Policy) -> Policy:
        """Lay what this cluster says of its calls over `base`."""
        policy = ClusterSettings.over(self, base)
        return policy if self.many_writes is None else replace(policy, many_writes=self.many_writes)

    def completed(self) -> MongoDBSettings:
        """The same with nodes, replica set and database from the URL, where they are not given beside it."""
        if self.url is None:
            return self
        url = parse_url(self.url.reveal())
        return replace(
            self,
            nodes=self.nodes or tuple(nodes_of_url(self.url, self.default_port)),
            replica_set=self.replica_set or url.options.get("replicaset"),
            database=self.database or url.database or None,
        )

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        credentials = self.credentials
        if credentials.username and not credentials.password and credentials.mechanism in _WITH_PASSWORD:
            yield ("credentials", "password"), 'is missing; give it as { env = "VARIABLE" } or { file = "PATH" }.'
        nodes: list[str] = list(self.nodes)
        direct: dict[str, Key] = {
            str(value).lower(): ("options", name)
            for name, value in self.options.items()
            if name.lower() == "directconnection"
        }
        if self.url is not None:
            url = parse_url(self.url.reveal())
            direct.setdefault(url.options.get("directconnection", ""), ("url",))
            try:
                of_url = nodes_of_url(self.url, self.default_port)
                yield from disagreement(self.nodes, of_url)
                nodes = nodes or of_url
            except ValueError as error:
                yield ("url",), f"{error}."
            yield from self._against_url(url)
        if len(nodes) > 1 and "true" in direct:
            yield (
                direct["true"],
                f"directConnection means one node, and {len(nodes)} are named; leave it out to use the replica set.",
            )

    def _against_url(self, url: Url) -> Iterator[tuple[Key, str]]:
        if url.scheme == "mongodb+srv" and self.nodes:
            yield ("nodes",), "the url (mongodb+srv) looks the nodes up in DNS; leave nodes or url out."
        if url.has_user and self.credentials.username:
            yield ("credentials", "username"), "the url has a user too; leave the user out of one of them."
        if self.tls is not None and any(name[:3] in ("tls", "ssl") for name in url.options):
            yield ("tls",), "the url has tls options too; leave them out of one of them."
        of_url = url.options.get("replicaset")
        if self.replica_set and of_url and self.replica_set != of_url:
            yield ("replica_set",), f"is {self.replica_set!r}, but the url says {of_url!r}; make them agree."
        for name in url.options:
            if name in MONGODB_OURS and name not in _MAY_BE_IN_URL:
                yield ("url",), f"its option {name} is set by undaunted itself; set {MONGODB_OURS[name]} instead."
