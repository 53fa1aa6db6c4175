"""The driver's own options, passed through: all but those which a setting of ours decides."""

from __future__ import annotations

from collections.abc import Mapping

from undaunted.config.raw import as_table, found, is_reference
from undaunted.config.secrets import is_secret_name
from undaunted.config.shapes import SecretText
from undaunted.config.structure import EnvironmentText, Key, Reader, Shape
from undaunted.config.toml import literal

__all__ = ["CASSANDRA_OURS", "MONGODB_OURS", "SQLALCHEMY_OURS", "Options"]

MONGODB_OURS: Mapping[str, str] = {
    "host": "nodes",
    "port": "nodes",
    "replicaset": "replica_set",
    "username": "credentials.username",
    "password": "credentials.password",
    "authsource": "credentials.source",
    "authmechanism": "credentials.mechanism",
    "readpreference": "reads",
    "tls": "tls.enabled",
    "ssl": "tls.enabled",
    "tlscafile": "tls.ca",
    "tlscertificatekeyfile": "tls.certificate",
    "tlscertificatekeyfilepassword": "tls.key_password",
    "tlsallowinvalidcertificates": "tls.verify",
    "tlsallowinvalidhostnames": "tls.verify",
    "tlsinsecure": "tls.verify",
    "maxpoolsize": "pool.max",
    "minpoolsize": "pool.min",
    "serverselectiontimeoutms": "retry.deadline",
    "timeoutms": "retry.deadline",
    "heartbeatfrequencyms": "heartbeat.interval",
    "connecttimeoutms": "heartbeat.timeout",
}
"""Options of pymongo, in lower case, and the setting that decides each."""


CASSANDRA_OURS: Mapping[str, str] = {
    "contact_points": "nodes",
    "port": "nodes",
    "auth_provider": "credentials",
    "ssl_options": "tls",
    "ssl_context": "tls",
    "load_balancing_policy": "local_datacenter",
    "default_retry_policy": "retry",
    "execution_profiles": "consistency",
    "reconnection_policy": "heartbeat.interval",
    "conviction_policy_factory": "heartbeat",
    "connect_timeout": "heartbeat.timeout",
    "control_connection_timeout": "heartbeat.timeout",
    "idle_heartbeat_interval": "heartbeat.interval",
    "idle_heartbeat_timeout": "heartbeat.timeout",
    "timestamp_generator": "retry",
}
"""Options of cassandra-driver's Cluster, in lower case, and the setting that decides each."""


SQLALCHEMY_OURS: Mapping[str, str] = {
    "url": "url",
    "creator": "nodes",
    "async_creator": "nodes",
    "pool": "pool",
    "poolclass": "pool",
    "pool_size": "pool.size",
    "max_overflow": "pool.max_overflow",
    "pool_timeout": "pool.timeout",
    "pool_recycle": "pool.recycle",
    "pool_pre_ping": "heartbeat.interval",
    "module": "url",
}
"""Options of SQLAlchemy's create_engine, and the setting that decides each."""


class Options(Shape[Mapping[str, object]]):
    """Options of a driver by the driver's own names; a value that is a secret is given as one."""

    kind = "table of the driver's options"

    def __init__(self, ours: Mapping[str, str]) -> None:
        self.ours = ours

    def _read(self, value: object, at: Key, reader: Reader) -> Mapping[str, object] | None:
        table = as_table(value)
        if table is None:
            reader.problem(at, f"expected a table of the driver's options, found {found(value)}.")
            return None
        options: dict[str, object] = {}
        for name, given in table.items():
            here = (*at, name)
            if name.lower() in self.ours:
                setting = ".".join((*at[:-1], self.ours[name.lower()]))
                reader.problem(here, f"this option is set by undaunted itself; set {setting} instead.")
            elif is_reference(given) or (is_secret_name(name) and isinstance(given, str)):
                secret = SecretText().read(given, here, reader)
                if secret is not None:
                    options[name] = secret
            elif given is not None:
                options[name] = literal(given) if isinstance(given, EnvironmentText) else given
        return options
