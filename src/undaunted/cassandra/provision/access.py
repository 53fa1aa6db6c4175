"""Connections to single nodes, as an operator opens them: with short timeouts, no retries, and to be closed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import cassandra
from cassandra import ConsistencyLevel, protocol
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import WhiteListRoundRobinPolicy
from cassandra.query import dict_factory

from undaunted.cassandra.driver import explain, login_of, revealed, tls_of
from undaunted.cassandra.errors import CredentialsRefused
from undaunted.cassandra.policies import NoRetry
from undaunted.cassandra.provision.greet import REACH_TIMEOUT_S, greet, host_and_port
from undaunted.cassandra.words import server_words
from undaunted.errors import ConfigurationError, Problem, UndauntedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from undaunted.cassandra.provision.greet import Silence
    from undaunted.config import CassandraSettings

__all__ = ["Access", "Denied", "ProvisionError", "Unanswered", "refused"]

REQUEST_TIMEOUT_S = 20.0
"""How long one statement may take; a change of the schema is quick, and the agreement on it is waited for apart."""
_AT_ONCE = 16

_DENIED = (cassandra.AuthenticationFailed, cassandra.Unauthorized)
_UNANSWERED = (NoHostAvailable, cassandra.OperationTimedOut, ConnectionException, OSError)
_UNABLE = (cassandra.RequestExecutionException, protocol.RequestExecutionException, protocol.ServerError)
"""The node cannot do it now: overloaded, on its way in or out, or its replicas are silent. Another one may."""


class ProvisionError(UndauntedError):
    """A step could not be taken. What came before it stays; run `undaunted provision` again to see what is left."""


class Unanswered(UndauntedError):
    """A node gives no answer, though it was there a moment ago."""


class Denied(UndauntedError):
    """The nodes refuse the login, or the user may not do what was asked."""


class Access:
    """Opens connections to the nodes of one cluster, with its credentials and encryption.

    Args:
        settings: The cluster's settings.

    Raises:
        ConfigurationError: The settings of encryption cannot be used.
    """

    def __init__(self, settings: CassandraSettings) -> None:
        self.name = settings.name
        self._settings = settings
        self.user = settings.credentials.username
        try:
            self._tls = tls_of(settings)
        except (OSError, ValueError) as error:
            message = f"Python cannot use these certificates ({type(error).__name__}); correct the files."
            raise ConfigurationError(problems=[Problem(f"clusters.{self.name}.tls", message)]) from error
        self._sessions: dict[str, Any] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def greet(self, addresses: Iterable[str]) -> dict[str, Silence | None]:
        """Ask all of these nodes at once whether they are there; None for those that answer."""
        chosen = list(addresses)
        if not chosen:
            return {}
        with ThreadPoolExecutor(min(_AT_ONCE, len(chosen)), thread_name_prefix="undaunted-provision") as pool:
            return dict(zip(chosen, pool.map(lambda address: greet(address, tls=self._tls), chosen), strict=True))

    def run(self, address: str, statement: str) -> list[dict[str, Any]]:
        """Run one statement on one node; its rows.

        Raises:
            Unanswered: The node gave no answer, or cannot do it; the statement may have been executed.
            Denied: The login was refused, or the user may not.
            ConfigurationError: The driver refuses the settings.
            DriverException: The node refuses the statement, as the driver has it.
        """
        session = self._session(address)
        try:
            return list(session.execute(statement))
        except cassandra.Unauthorized as error:
            raise Denied(self._denial(error)) from error
        except _UNANSWERED as error:
            raise Unanswered(f"{address} gives no answer ({type(error).__name__})") from error
        except _UNABLE as error:
            raise Unanswered(f"{address} cannot do it now ({server_words(error)})") from error

    def _session(self, address: str) -> Any:
        """The driver's session with one node; kept until the end."""
        if address not in self._sessions:
            cluster = self._cluster(address)
            self._stack.callback(cluster.shutdown)
            try:
                self._sessions[address] = cluster.connect()
            except Exception as error:
                told = explain(self.name, self._settings, error, None)
                if isinstance(told, CredentialsRefused):
                    raise Denied(str(told)) from error
                if told is not None:
                    raise told from error
                if isinstance(error, (*_UNANSWERED, cassandra.DriverException, protocol.ErrorMessage)):
                    raise Unanswered(f"{address} does not let the driver in ({_reason(error)})") from error
                raise
        return self._sessions[address]

    def _cluster(self, address: str) -> Any:
        host, port = host_and_port(address)
        profile = ExecutionProfile(
            load_balancing_policy=WhiteListRoundRobinPolicy([host]),
            retry_policy=NoRetry(),
            consistency_level=ConsistencyLevel.ONE,
            request_timeout=REQUEST_TIMEOUT_S,
            row_factory=dict_factory,
        )
        arguments: dict[str, Any] = {name: revealed(value) for name, value in self._settings.options.items()}
        arguments |= {
            "contact_points": [host],
            "port": port,
            "execution_profiles": {EXEC_PROFILE_DEFAULT: profile},
            "connect_timeout": REACH_TIMEOUT_S,
            "control_connection_timeout": REACH_TIMEOUT_S,
            "schema_metadata_enabled": False,
            "token_metadata_enabled": False,
            "max_schema_agreement_wait": 0,
            "auth_provider": login_of(self._settings),
            "ssl_context": self._tls,
        }
        if hasattr(Cluster, "application_name"):  # scylla-driver has it not
            arguments["application_name"] = "undaunted provision"
        try:
            return Cluster(**arguments)
        except (TypeError, ValueError) as error:
            message = f"cassandra-driver refuses these settings: {error}"
            raise ConfigurationError(problems=[Problem(f"clusters.{self.name}.options", message)]) from error

    def _denial(self, error: cassandra.Unauthorized) -> str:
        who = f"user {self.user!r}" if self.user else "a user without a login"
        said = server_words(error)
        return (
            f"clusters.{self.name}.credentials: {who} may not do this ({said}). Grant it CREATE and "
            "ALTER on ALL KEYSPACES."
        )


def refused(step: object, error: Exception) -> ProvisionError:
    """The error for a step that a node refused, in the node's own words."""
    return ProvisionError(f"The nodes refuse to {step}. They say: {server_words(error)}.")


def _reason(error: Exception) -> str:
    inner = getattr(error, "errors", None)
    first = next(iter(inner.values()), error) if isinstance(inner, dict) else error
    return type(first).__name__
