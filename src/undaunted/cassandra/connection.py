"""From settings to a connection that cqlengine knows by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cassandra.cluster import UserTypeDoesNotExist
from cassandra.cqlengine import connection as registered

from undaunted.cassandra import seams
from undaunted.cassandra.driver import check_datacenters, cluster_of, explain, said_by
from undaunted.cassandra.errors import error_classes
from undaunted.cassandra.faults import classify
from undaunted.cassandra.health import Health, name_of
from undaunted.cassandra.hedge import Hedger
from undaunted.cassandra.link import Link
from undaunted.cassandra.session import Session
from undaunted.cassandra.settle import settle
from undaunted.core.budget import Budget
from undaunted.core.outage import Outage
from undaunted.engine.guard import Guard
from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.backend import ClusterContext
    from undaunted.config.cassandra import CassandraSettings

__all__ = ["CassandraHandle", "Connection", "register"]


class _ClusterView:
    """The driver's ``Cluster``, for whoever asks cqlengine for it, before and after there is one."""

    def __init__(self, link: Link, close: Any) -> None:
        self._link, self._close = link, close

    @property
    def protocol_version(self) -> int:
        """What the nodes and the driver have agreed on."""
        return self._link.protocol_version

    def shutdown(self) -> None:
        """Close it; what cqlengine calls when the connection is unregistered."""
        self._close()

    def register_user_type(self, keyspace: str, user_type: str, klass: type) -> None:
        """Register a type with the cluster once there is one; before, cqlengine keeps it by itself."""
        cluster = self._link.cluster
        if cluster is not None:
            cluster.register_user_type(keyspace, user_type, klass)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._link.awaited().cluster, name)


class Connection(registered.Connection):  # type: ignore[misc]  # cqlengine is untyped
    """What cqlengine finds under a cluster's name. It connects by itself, in the background, and heals by itself.

    Attributes:
        session: Executes the statements.
        cluster: The driver's cluster; waits for it where something of it is needed.
        keyspace: Keyspace of the models that name none.
    """

    keyspace: str | None = None

    def __init__(self, name: str, session: Session, cluster: _ClusterView) -> None:
        super().__init__(name, session.hosts)
        self.session = session
        self.cluster = cluster

    def setup(self) -> None:
        """Begin to connect; waits for nothing."""
        self.session.link.begin()

    def handle_lazy_connect(self) -> None:
        """Begin to connect where nobody has; cqlengine calls it for each statement."""
        if self.session.link.session is None:
            self.session.link.begin()


class CassandraHandle:
    """One cluster, registered with cqlengine under its name, and as the default where the settings say so."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._settings = settings = cast("CassandraSettings", context.cluster)
        self._guard = guard = Guard(
            cluster=context.name,
            backend="cassandra",
            policy=context.settings.policy_for(settings),
            budget=Budget(context.settings.budget_for(settings)),
            outage=Outage(),
            classify=classify,
            errors=error_classes(),
            publish=context.publish,
            settle=settle,
        )
        guard.diagnose = self._diagnose
        self._health = Health(guard, failback_s=settings.failback_after)
        self._link = Link(
            guard,
            self._health,
            make=lambda: cluster_of(settings, self._health),
            explain=lambda error, cluster: explain(context.name, settings, error, cluster),
            connected=self._connected,
        )
        guard.renew = self._link.after_fork_in_child
        hedging = context.settings.hedge_for(settings)
        hedger = Hedger(hedging) if hedging.enabled else None
        self._session = Session(
            guard,
            self._link,
            self._health,
            timeout_s=settings.timeout,
            hosts=list(settings.nodes),
            hedger=hedger,
            has_models=bool(context.settings.models),
        )
        self.connection = Connection(context.name, self._session, _ClusterView(self._link, self._link.close))
        self.connection.keyspace = settings.keyspace

    @property
    def guard(self) -> Guard:
        """What the cluster's calls are guarded with."""
        return self._guard

    @property
    def keyspace(self) -> str | None:
        """The keyspace of models that name none."""
        return self._settings.keyspace

    @property
    def settings(self) -> CassandraSettings:
        """Its settings."""
        return self._settings

    def _connected(self, session: Any) -> None:
        """Check where the nodes stand, and tell the driver of the user types that models have registered."""
        check_datacenters(self._settings, session.cluster)
        encoder = session.encoder
        encoder.mapping[tuple] = encoder.cql_encode_tuple
        for keyspace, types in list(registered.udt_by_keyspace.items()):
            for name, klass in list(types.items()):
                where = keyspace or self.keyspace
                if where is None:
                    continue
                try:
                    session.cluster.register_user_type(where, name, klass)
                except UserTypeDoesNotExist:
                    continue  # `sync_type` will make it, and register it then

    def _diagnose(self) -> str | None:
        if self._link.session is not None:
            return self._health.diagnose()
        error = self._link.last_error
        if error is None:
            return None
        return (
            f"clusters.{self._context.name}.nodes: no contact point answers as Cassandra does ({said_by(error)}). "
            "Start a node there, or correct host and port."
        )

    def begin(self) -> None:
        """Begin to connect, where nobody has in this process; waits for nothing."""
        self._link.begin()

    def status(self) -> Mapping[str, Any]:
        """The nodes as the driver knows them; nothing is asked and nothing is opened."""
        nodes = [
            {
                "address": name_of(host),
                "role": "replica" if self._health.is_well(host) else "unknown",
                "datacenter": host.datacenter,
                "latency_ms": self._health.latency_ms(host),
                "error": "OperationTimedOut" if host in self._health.sick else _lost(host),
            }
            for host in sorted(self._health.hosts(), key=name_of)
        ]
        known = {node["address"] for node in nodes}
        unseen = [
            {
                "address": address,
                "role": "unknown",
                "datacenter": None,
                "latency_ms": None,
                "error": self._link.error_of(address),
            }
            for address in self._settings.nodes
            if address not in known
        ]
        policy = self._link.policy
        home = policy.home if policy is not None else self._settings.local_datacenter
        return {
            "nodes": [*nodes, *unseen],
            "begun": self._link.is_begun,
            "datacenter": home,
            "keyspace": self.keyspace,
        }

    def register(self) -> None:
        """Have cqlengine know it.

        Raises:
            ConfigurationError: The application has registered a connection of that name itself.
        """
        name = self._context.name
        if seams.registered(name) is not None:
            message = (
                f"cqlengine has a connection named {name!r} already. Remove that register_connection() or setup() "
                "call, or give the cluster another name."
            )
            raise ConfigurationError(problems=[Problem(f"clusters.{name}", message)])
        seams.put(name, self.connection)
        if self._settings.default:
            registered.set_default_connection(name)
            seams.set_default_keyspace(self.keyspace)

    def close(self) -> None:
        """Close the session and forget the connection. May be called twice."""
        self._link.close()
        seams.forget(self._context.name, self.connection)
        if self._settings.default and seams.default_keyspace() == self.keyspace:
            seams.set_default_keyspace(None)


def register(context: ClusterContext) -> CassandraHandle:
    """Register a cluster with cqlengine; connects to nothing.

    Raises:
        ConfigurationError: The driver cannot be used; or the application has registered the name itself.
    """
    seams.check_driver()
    handle = CassandraHandle(context)
    handle.register()
    return handle


def _lost(host: Any) -> str | None:
    """What stands in the way of a node that the driver cannot connect to; None where it knows of nothing."""
    return "NoConnection" if host.is_up is False else None
