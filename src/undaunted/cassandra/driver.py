"""The driver's ``Cluster`` as the settings want it, and what its refusal to connect means."""

from __future__ import annotations

import logging
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any

import cassandra
from cassandra import ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException, ConnectionShutdown, ProtocolError
from cassandra.policies import ConstantReconnectionPolicy
from cassandra.protocol import ProtocolException
from cassandra.query import dict_factory

from undaunted.cassandra.errors import CredentialsRefused, UnusableCluster
from undaunted.cassandra.policies import NodeOrder, NoRetry
from undaunted.cassandra.scope import Timestamps
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from undaunted.cassandra.health import Health
    from undaunted.config.cassandra import CassandraSettings, ConsistencySettings

__all__ = ["Profiles", "check_datacenters", "cluster_of", "explain", "login_of", "revealed", "said_by", "tls_of"]

_LOG = logging.getLogger("undaunted.cassandra")

Profiles = dict[tuple[bool, str | None], Any]
"""What the driver is told of consistency, by ``(is a read, datacenter)``; None stands for home."""

_RECONNECT_S = 1.0
"""A node that has come back is asked within this time, for ever: the driver's own waits grow to 10 minutes and end."""
_WORDS: tuple[tuple[Any, str], ...] = (
    (ConnectionRefusedError, "refuses connections"),
    (ssl.SSLCertVerificationError, "has a certificate that is not trusted"),
    (ssl.SSLError, "does not agree on TLS"),
    ((cassandra.OperationTimedOut, TimeoutError), "does not answer in time"),
    ((ProtocolError, UnicodeDecodeError), "speaks another protocol"),
    (cassandra.UnresolvableContactPoints, "no name has an address"),
    (ConnectionException, "closes the connection"),
    (OSError, "cannot be reached"),
)
"""What became of an attempt to connect, in words."""
_FOR_EVER: Any = None
_LEAST_VERSION = 3
_THREADS = 8
"""Pools are made here; a node that hangs while it is connected to must not keep the others waiting."""


def _profiles(settings: CassandraSettings, order: NodeOrder) -> Profiles:
    found: Profiles = {}
    levels: list[tuple[str | None, ConsistencySettings]] = [(None, settings.consistency)]
    levels += [(name, remote.consistency) for name, remote in settings.remote_datacenters.items()]
    for name, level in levels:
        for is_read in (True, False):
            found[is_read, name] = ExecutionProfile(
                load_balancing_policy=order,
                retry_policy=NoRetry(),
                consistency_level=ConsistencyLevel.name_to_value[level.read if is_read else level.write],
                serial_consistency_level=ConsistencyLevel.name_to_value[level.serial],
                request_timeout=settings.timeout,
                row_factory=dict_factory,
            )
    return found


def cluster_of(settings: CassandraSettings, health: Health) -> tuple[Any, NodeOrder, Profiles]:
    """An unconnected cluster, the policy that orders its nodes, and what the driver is told of consistency.

    Raises:
        UnusableCluster: An option cannot be what it is.
    """
    version = settings.options.get("protocol_version", _LEAST_VERSION)
    if not isinstance(version, int) or version < _LEAST_VERSION:
        raise UnusableCluster(
            f"clusters.{settings.name}.options.protocol_version: found {version!r}, and write timestamps need a number "
            f"from {_LEAST_VERSION} up. Leave it out, and the newest that both sides know is agreed on."
        )
    order = NodeOrder(health, settings.local_datacenter, tuple(settings.remote_datacenters))
    profiles = _profiles(settings, order)
    addresses = [_split(address) for address in settings.nodes]
    arguments: dict[str, Any] = {
        "contact_points": addresses,
        "port": addresses[0][1],
        "execution_profiles": {EXEC_PROFILE_DEFAULT: profiles[True, None]},
        "reconnection_policy": ConstantReconnectionPolicy(_RECONNECT_S, max_attempts=_FOR_EVER),
        "connect_timeout": settings.heartbeat.timeout,
        "control_connection_timeout": settings.heartbeat.timeout,
        "idle_heartbeat_interval": settings.heartbeat.interval,
        "idle_heartbeat_timeout": settings.heartbeat.timeout,
        "timestamp_generator": Timestamps(),
        "connection_class": _connection_class(Cluster.connection_class),
        "executor_threads": _THREADS,
    }
    if hasattr(Cluster, "application_name"):  # scylla-driver has it not
        arguments["application_name"] = "undaunted"
    if settings.credentials.username is not None:
        arguments["auth_provider"] = login_of(settings)
    context = tls_of(settings)
    if context is not None:
        arguments["ssl_context"] = context
    arguments.update({name: revealed(value) for name, value in settings.options.items()})
    return Cluster(**arguments), order, profiles


@cache
def _connection_class(base: Any) -> Any:
    """The driver's connection, which tells at once that it was closed while it was being made.

    The driver's own waits for its whole time to connect, at each contact point whose port is open and whose node is not
    there: behind a proxy, or while it starts.
    """

    class Connection(base):  # type: ignore[misc]  # the driver chooses its base at import
        last_error: Any

        def close(self) -> None:
            if not self.connected_event.is_set() and self.last_error is None:
                self.last_error = ConnectionShutdown(f"{self.endpoint} has closed the connection", self.endpoint)
            super().close()
            self.connected_event.set()

    return Connection


def explain(name: str, settings: CassandraSettings, error: Exception, cluster: Any) -> Exception | None:
    """What a failure to connect means, where no further try can mend it; else None."""
    if isinstance(error, ConfigurationError):
        return error
    where = f"clusters.{name}"
    inner = list(error.errors.values()) if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) else []
    if any(_is_refused(one) for one in [error, *inner]):
        user = settings.credentials.username
        what = f"the login of user {user!r}" if user else "a connection without a login"
        made = CredentialsRefused(f"{where}.credentials: the nodes refuse {what}. Correct username and password.")
        made.__cause__ = error
        return made
    told = _about_datacenter(where, settings, cluster) or _about_protocol(where, settings, [error, *inner])
    if told is None and isinstance(error, (TypeError, ValueError)):
        told = f"{where}.options: cassandra-driver refuses these settings: {error}"
    if told is None:
        return None
    unusable = UnusableCluster(told)
    unusable.__cause__ = error
    return unusable


def _is_refused(error: Exception) -> bool:
    """Whether a login is wrong; not where a node could not look it up, since its replicas are away themselves."""
    return isinstance(error, cassandra.AuthenticationFailed) and "Unable to perform authentication" not in str(error)


def said_by(error: Exception) -> str:
    """What the contact points have said, in words: of each its address and what it did."""
    said = error.errors if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) else {}
    if not said:
        return _in_words(error)
    return ", ".join(f"{node} {_in_words(one)}" for node, one in said.items())


def _in_words(error: BaseException) -> str:
    for kinds, words in _WORDS:
        if isinstance(error, kinds):
            return words
    return f"fails with {type(error).__name__}"


def check_datacenters(settings: CassandraSettings, cluster: Any) -> None:
    """Make sure that the nodes stand where the settings say.

    Raises:
        UnusableCluster: There is no such datacenter as the local one.
    """
    where = f"clusters.{settings.name}"
    told = _about_datacenter(where, settings, cluster)
    if told is not None:
        raise UnusableCluster(told)
    known = _datacenters(cluster)
    for name in settings.remote_datacenters:
        if name not in known:  # it may be added later on, so this is no error
            _LOG.warning(
                "%s.remote_datacenters: there is no datacenter %r; the nodes stand in %s. Correct the name.",
                where,
                name,
                ", ".join(known),
            )


def _datacenters(cluster: Any) -> list[str]:
    return sorted({host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter})


def _about_datacenter(where: str, settings: CassandraSettings, cluster: Any) -> str | None:
    """The driver asks no node of another datacenter, and so silently has none when the name is wrong."""
    wanted = settings.local_datacenter
    if wanted is None or cluster is None:
        return None
    known = _datacenters(cluster)
    if not known or wanted in known:
        return None
    return (
        f"{where}.local_datacenter: there is no datacenter {wanted!r}; the nodes stand in {', '.join(known)}. "
        "Give one of these."
    )


def _about_protocol(where: str, settings: CassandraSettings, errors: list[Exception]) -> str | None:
    version = settings.options.get("protocol_version")
    refused = any(isinstance(one, ProtocolException) or type(one) is cassandra.DriverException for one in errors)
    if version is None or not refused:
        return None
    return (
        f"{where}.options.protocol_version: the nodes do not speak version {version}. Leave it out, and the newest "
        "that both sides know is agreed on."
    )


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def login_of(settings: CassandraSettings) -> PlainTextAuthProvider | None:
    """Who the application is to the nodes; None where it is nobody."""
    user, password = settings.credentials.username, settings.credentials.password
    return None if user is None else PlainTextAuthProvider(user, password.reveal() if password is not None else "")


def tls_of(settings: CassandraSettings) -> ssl.SSLContext | None:
    """How connections are encrypted; None where they are not."""
    tls = settings.tls
    if tls is None or not tls.enabled:
        return None
    context = ssl.create_default_context(cafile=tls.ca)
    if tls.verify != "full":
        context.check_hostname = False
    if tls.verify == "none":
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, password=tls.key_password.reveal() if tls.key_password else None)
    return context


def revealed(value: object) -> object:
    """An option's value, be it a secret."""
    return value.reveal() if hasattr(value, "reveal") else value
