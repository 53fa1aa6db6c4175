"""The settings of a database used through SQLAlchemy: a PostgreSQL primary and its standbys, or any other one."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

from collections.abc import Iterator, Mapping  # noqa: TC003  # the reference is made from the annotations
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import parse_qsl

from undaunted.config.addresses import Nodes, address
from undaunted.config.clusters import ClusterSettings
from undaunted.config.options import SQLALCHEMY_OURS, Options
from undaunted.config.sections import READS
from undaunted.config.shapes import Duration, Whole
from undaunted.config.structure import Key, Section, Table, setting
from undaunted.config.urls import UrlText, disagreement, nodes_of_url, parse_url
from undaunted.core.policy import Policy, Reads

if TYPE_CHECKING:
    from undaunted.config.secrets import Secret

__all__ = [
    "EnginePoolSettings",
    "KeySettings",
    "PostgreSQLHeartbeatSettings",
    "SQLAlchemySettings",
]

_DRIVERS = ("psycopg", "psycopg_async", "")
"""What may stand after ``postgresql+``; without a driver, psycopg is meant."""

_OURS_IN_URL: Mapping[str, str] = {
    "target_session_attrs": "nodes",
    "load_balance_hosts": "reads",
    "connect_timeout": "connect_timeout",
    "hostaddr": "nodes",
}
"""Options of libpq that a setting decides, in a URL."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class EnginePoolSettings(Section):
    """Connections to each node."""

    size: int = setting(Whole(1), "Connections kept open.", default=5, also=("pool_size", "min", "min_size"))
    max_overflow: int = setting(Whole(0), "Connections beyond those, at busy times.", default=10, also=("overflow",))
    timeout: float = setting(
        Duration(),
        "Time to wait for a connection, and for a primary, outside of a call with a deadline.",
        default=30.0,
        also=("pool_timeout",),
    )
    recycle: float | None = setting(
        Duration(),
        "Age at which a connection is replaced.",
        default=None,
        effective="never",
        also=("pool_recycle", "max_lifetime"),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PostgreSQLHeartbeatSettings(Section):
    """How quickly a lost node is noticed."""

    interval: float = setting(
        Duration(at_least_s=0.02),
        "Time between two checks of a node; four times as often while there is no primary.",
        default=0.2,
    )
    timeout: float = setting(
        Duration(at_least_s=0.1),
        "Time without an answer after which a node is lost, and whoever waits for it is set free.",
        default=1.0,
    )

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.timeout < 2 * self.interval:
            least = f"{2 * self.interval:g} s"
            yield (
                ("timeout",),
                f"{self.timeout:g} s leaves no room for one late answer; give twice the interval, {least}.",
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class KeySettings(Section):
    """The table of keys that tells whether a unit of work has been applied."""

    keep: float = setting(
        Duration(at_least_s=60.0),
        "Age at which a key is swept away; longer than any deadline.",
        default=86400.0,
        also=("keep_for", "older_than"),
    )
    sweep: float = setting(Duration(at_least_s=1.0), "Time between two sweeps.", default=600.0, also=("every",))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class SQLAlchemySettings(ClusterSettings):
    """A PostgreSQL primary and its standbys, or another database, used through SQLAlchemy."""

    default_port: ClassVar[int] = 5432
    base: ClassVar[Policy] = Policy(reads="replica")
    """Only readonly sessions ask where reads go, and whoever has declared one means the replicas."""

    reads: Reads | None = setting(
        READS,
        'Where readonly sessions read: "primary"; "fallback" (the primary, and a replica while there is none); '
        '"replica" (the primary while none has caught up); "any" (whichever is nearest). Others use the primary.',
        default=None,
        effective="replica",
        also=("read_preference",),
    )
    url: Secret | None = setting(
        UrlText(),
        "Driver, user and database as a URL of SQLAlchemy; its host may be left out when nodes are given. "
        "Several nodes need postgresql+psycopg; any other database is used as the one node that it is.",
        default=None,
        required=True,
        also=("uri", "dsn"),
    )
    nodes: tuple[str, ...] = setting(
        Nodes(5432),
        "Addresses of the primary and all standbys.",
        default=(),
        effective="those of the url",
        also=("hosts",),
    )
    heartbeat: PostgreSQLHeartbeatSettings = setting(
        Table(PostgreSQLHeartbeatSettings),
        "How quickly a lost node is noticed.",
        default=PostgreSQLHeartbeatSettings(),
    )
    connect_timeout: float = setting(
        Duration(at_least_s=0.1), "Time for one attempt to connect to a node.", default=2.0
    )
    pool: EnginePoolSettings = setting(
        Table(EnginePoolSettings), "Connections to each node.", default=EnginePoolSettings()
    )
    keys: KeySettings = setting(Table(KeySettings), "How long keys of units of work are kept.", default=KeySettings())
    options: Mapping[str, object] = setting(
        Options(SQLALCHEMY_OURS), "Any other option of SQLAlchemy's create_engine, by its own name.", default={}
    )

    @property
    def is_postgresql(self) -> bool:
        """Whether it is PostgreSQL, whose nodes and roles are known."""
        return self.url is not None and parse_url(self.url.reveal()).scheme.partition("+")[0] == "postgresql"

    def completed(self) -> SQLAlchemySettings:
        """The same with the nodes that the URL names, where `nodes` is left out."""
        if self.nodes or self.url is None or not self.is_postgresql:
            return self
        return replace(self, nodes=tuple(self._url_nodes()))

    def mistakes(self) -> Iterator[tuple[Key, str]]:
        """Yield what is wrong between the fields."""
        if self.url is None:
            return
        scheme = parse_url(self.url.reveal()).scheme
        if scheme == "postgres":
            yield ("url",), "starts with 'postgres', which SQLAlchemy does not know; write postgresql+psycopg."
        elif not self.is_postgresql:
            if self.nodes:
                yield (
                    ("nodes",),
                    f"are known of PostgreSQL only, and the url starts with {scheme!r}; leave them out.",
                )
        else:
            yield from self._mistakes_of_postgresql(scheme)

    def _mistakes_of_postgresql(self, scheme: str) -> Iterator[tuple[Key, str]]:
        driver = scheme.partition("+")[2]
        if driver not in _DRIVERS:
            remedy = "PostgreSQL is kept through psycopg, sync and async alike: write postgresql+psycopg"
            yield ("url",), f"names the driver {driver!r}; {remedy}."
        try:
            named = self._url_nodes()
        except ValueError as error:
            yield ("url",), f"{error}."
            return
        if not named and not self.nodes:
            yield ("nodes",), "names no node, and neither does the url; list the primary and its standbys."
        yield from disagreement(self.nodes, [] if set(named) <= set(self.nodes) else named)
        for name in dict(self._url_options()):
            if name in _OURS_IN_URL:
                remedy = f"leave it out, and set {_OURS_IN_URL[name]} where you want it otherwise"
                yield ("url",), f"its option {name} is set by undaunted itself; {remedy}."

    def _url_options(self) -> list[tuple[str, str]]:
        return [] if self.url is None else parse_qsl(self.url.reveal().partition("?")[2])

    def _url_nodes(self) -> list[str]:
        """The nodes of the URL, those in SQLAlchemy's form for several (``?host=a:5432&host=b:5432``) too."""
        nodes = nodes_of_url(self.url, self.default_port)
        options = self._url_options()
        hosts = [host for name, value in options if name == "host" for host in value.split(",") if host]
        ports = [port for name, value in options if name == "port" for port in value.split(",") if port]
        for number, host in enumerate(hosts):
            port = ports[min(number, len(ports) - 1)] if ports else ""
            try:
                node = address(f"{host}:{port}" if port and ":" not in host else host, self.default_port)
            except ValueError:
                raise ValueError(
                    f'has as host={number + 1} what is not an address; write "?host=a:{self.default_port}&host=b"'
                ) from None
            if node not in nodes:
                nodes.append(node)
        return nodes
