"""Connections to single nodes, as an operator opens them: direct, with short timeouts, and to be closed."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

from pymongo import MongoClient
from pymongo.errors import (
    AutoReconnect,
    InvalidURI,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.uri_parser import parse_uri

from undaunted.errors import ConfigurationError, Problem, UndauntedError
from undaunted.mongodb.connection import credentials_of, tls_of
from undaunted.mongodb.provision.steps import address_of

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from undaunted.config import MongoDBSettings

__all__ = ["DENIED", "Access", "ProvisionError", "denial", "refused_command", "silence"]

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = MongoClient[Document]

REACH_TIMEOUT_S = 3.0
"""How long a node is tried before it is out of reach."""
COMMAND_TIMEOUT_S = 40.0
"""How long one command may take; `replSetReconfig` and `replSetStepDown` are told to end sooner."""
DENIED = frozenset({13, 18})
"""Unauthorized, AuthenticationFailed."""

_OURS = {
    "authentication_source": "authSource",
    "authentication_mechanism": "authMechanism",
}
"""MongoEngine's names for what pymongo calls otherwise."""
_LOGIN = ("username", "password", "auth")


class ProvisionError(UndauntedError):
    """A step could not be taken. What came before it stays; run `undaunted provision` again to see what is left."""


class Access:
    """Opens connections to the nodes of one cluster, with its credentials and encryption.

    Args:
        settings: The cluster's settings.

    Raises:
        ConfigurationError: pymongo refuses the settings, or a DNS record cannot be looked up.
    """

    def __init__(self, settings: MongoDBSettings) -> None:
        self._path = f"clusters.{settings.name}"
        self.seeds: tuple[str, ...] = ()
        self.replica_set: str | None = None
        given: Document = {}
        if settings.url is not None:
            given = self._of_url(settings.url.reveal())
        for name, value in settings.options.items():
            if name.lower().startswith(("auth", "tls", "ssl")):
                given[name] = value.reveal() if hasattr(value, "reveal") else value
        for name, value in (credentials_of(settings) | tls_of(settings)).items():
            given[_OURS.get(name, name)] = value
        self._login = {name: value for name, value in given.items() if name.lower().startswith(_LOGIN)}
        self._plain = {name: value for name, value in given.items() if name not in self._login}
        self.user: str | None = given.get("username")
        self.has_login = bool(self.user) or any(name.lower() == "authmechanism" for name in given)
        self._clients: dict[tuple[str, bool], Client] = {}
        self._stack = ExitStack()

    def _of_url(self, url: str) -> Document:
        try:
            parsed = parse_uri(url)
        except (InvalidURI, DriverConfigurationError, ValueError, OSError) as error:
            # Its text may quote a part of the URL, which may be a password.
            what = f"pymongo cannot use this URL, its DNS record or a file that it names ({type(error).__name__})"
            message = f"{what}; correct it."
            raise ConfigurationError(problems=[Problem(f"{self._path}.url", message)]) from None
        options: Document = dict(parsed["options"])
        self.seeds = tuple(address_of(f"{host}:{port}") for host, port in parsed["nodelist"])
        self.replica_set = options.get("replicaset") or options.get("replicaSet")
        found = {name: value for name, value in options.items() if name.lower().startswith(("auth", "tls", "ssl"))}
        if parsed["username"]:
            found |= {"username": parsed["username"], "password": parsed["password"]}
            if parsed["database"] and not any(name.lower() == "authsource" for name in found):
                found["authSource"] = parsed["database"]
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, address: str, *, login: bool) -> Client:
        """A client of one node; kept until the end.

        Args:
            address: The node.
            login: Whether to log in as the user of the settings, where they name one.

        Raises:
            ConfigurationError: pymongo refuses the settings, such as a certificate that is not there.
        """
        key = (address, login and self.has_login)
        if key not in self._clients:
            options: Document = {
                "directConnection": True,
                "appname": "undaunted provision",
                "serverSelectionTimeoutMS": round(REACH_TIMEOUT_S * 1000),
                "connectTimeoutMS": round(REACH_TIMEOUT_S * 1000),
                "socketTimeoutMS": round(COMMAND_TIMEOUT_S * 1000),
                **self._plain,
                **(self._login if key[1] else {}),
            }
            try:
                made: Client = MongoClient(address, **options)
            except (PyMongoError, TypeError, ValueError, OSError) as error:
                message = f"pymongo refuses these settings: {error}"
                raise ConfigurationError(problems=[Problem(self._path, message)]) from error
            self._clients[key] = self._stack.enter_context(made)
        return self._clients[key]

    def run(self, address: str, command: Document, *, login: bool = True) -> Document:
        """Run one command of ``admin`` on one node.

        Raises:
            PyMongoError: As pymongo has it.
        """
        return dict(self.client(address, login=login).admin.command(command))

    def hello(self, address: str) -> Document:
        """What a node says to anybody, without a login.

        Raises:
            PyMongoError: As pymongo has it.
        """
        return self.run(address, {"hello": 1}, login=False)


def silence(error: PyMongoError) -> str:
    """Why a node is out of reach, as the end of a sentence that begins with its address."""
    text = str(error)
    causes = [cause for cause in _causes(error) if isinstance(cause, OSError)]
    if any(isinstance(cause, socket.gaierror) for cause in causes) or "Name or service not known" in text:
        return "has a name that cannot be looked up here"
    if any(cause.errno == errno.ECONNREFUSED for cause in causes) or "Connection refused" in text:
        return "refuses connections, so nothing listens there"
    if "SSL" in text or "TLS" in text or "certificate" in text:
        return "cannot be spoken to with these tls settings"
    if isinstance(error, (ServerSelectionTimeoutError, NetworkTimeout)):
        return f"gives no answer within {REACH_TIMEOUT_S:g} s"
    if isinstance(error, AutoReconnect):
        return "closes the connection"
    return f"cannot be asked ({type(error).__name__})"


def denial(error: OperationFailure, user: str | None) -> str:
    """Why a node tells nothing to our user, as the end of a sentence that begins with its address."""
    if error.code == 18:
        return f"refuses the login of {user!r}; correct the credentials of the cluster."
    if user is None:
        return "demands a login; give the cluster credentials of a user with the role clusterAdmin."
    return f"does not let {user!r} look or change (Unauthorized); give that user the role clusterAdmin."


def refused_command(address: str, error: OperationFailure, user: str | None = None) -> ProvisionError:
    """The error for a command that a node refused, in the node's own words."""
    if error.code in DENIED:
        return ProvisionError(f"{address} {denial(error, user)}")
    details = error.details or {}
    said = str(details.get("errmsg", "")).strip().rstrip(".")[:300] or type(error).__name__
    return ProvisionError(f"{address} refuses ({details.get('codeName') or error.code}): {said}.")


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
