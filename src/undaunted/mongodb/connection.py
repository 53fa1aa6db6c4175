"""From settings to a client that MongoEngine knows by its alias, and from an alias or a document back to the client."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import mongoengine
from mongoengine import connection as registered
from mongoengine.base.common import _get_documents_by_db
from mongoengine.connection import DEFAULT_CONNECTION_NAME
from pymongo.errors import PyMongoError

from undaunted.backend import directory
from undaunted.config import model_settings
from undaunted.engine.forks import in_forked_child
from undaunted.errors import ConfigurationError, Problem
from undaunted.mongodb import seams
from undaunted.mongodb.client import MongoClient
from undaunted.mongodb.topology import make_guard, nodes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from undaunted.backend import ClusterContext
    from undaunted.config import MongoDBSettings
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard
    from undaunted.mongodb.database import Collection, Database

__all__ = [
    "MongoDBHandle",
    "alias_of",
    "client_of",
    "credentials_of",
    "database",
    "is_current",
    "model_policy",
    "place_of",
    "register",
    "tls_of",
]


_BEGINS_S = 5.0
"""How long closing waits for a client that is being made just then; its name servers may be slow."""


class _FirstUse:
    """A lock around the first use of an alias, since in MongoEngine alone two threads would make two clients."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        in_forked_child(self._renew)  # another thread of the parent may have held it

    def _renew(self) -> None:
        self.lock = threading.RLock()


_FIRST_USE = _FirstUse()


class MongoDBHandle:
    """One cluster, registered with MongoEngine under its name, and as the default where the settings say so."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        settings = cast("MongoDBSettings", context.cluster)
        self._aliases = [context.name]
        if settings.default and context.name != DEFAULT_CONNECTION_NAME:
            self._aliases.append(DEFAULT_CONNECTION_NAME)
        self._guard = make_guard(
            context.name,
            policy=context.settings.policy_for(settings),
            budget=context.settings.budget_for(settings),
            publish=context.publish,
        )
        self._guard.diagnose = self._diagnose
        self._guard.renew = self._renew
        self._inherited: list[Any] = []
        self._beginning: threading.Thread | None = None
        self._refusal: str | None = None
        self._is_closed = False

    def _diagnose(self) -> str | None:
        client = registered._connections.get(self._aliases[0])  # noqa: SLF001
        if client is None:
            return None
        from undaunted.mongodb.check import diagnose  # noqa: PLC0415  # only for an error

        settings = cast("MongoDBSettings", self._context.cluster)
        return diagnose(self._context.name, settings.replica_set, client.topology_description)

    def _renew(self) -> None:
        """In a forked child: begin with a client of its own, which shares no connection and no session with the parent.

        The driver's own renewal is not told of uWSGI's forks, and sees only as it is used that its threads are gone.
        """
        seams.renew_ids()
        self._beginning = None
        for alias in self._aliases:
            inherited = registered._connections.pop(alias, None)  # noqa: SLF001
            if registered._dbs.pop(alias, None) is not None:  # noqa: SLF001
                forget_collections(alias)
            if inherited is not None:
                self._inherited.append(inherited)  # to free it would speak on the parent's connections

    @property
    def guard(self) -> Guard:
        """What the cluster's calls are guarded with."""
        return self._guard

    @property
    def aliases(self) -> list[str]:
        """The names under which MongoEngine knows it."""
        return list(self._aliases)

    def begin(self) -> None:
        """Have the driver's monitors begin, in this process; a client is made in a thread, since that may ask DNS."""
        client = registered._connections.get(self._aliases[0])  # noqa: SLF001
        if client is not None:
            client.begin()
        elif self._beginning is None or not self._beginning.is_alive():
            self._beginning = threading.Thread(target=self._begin, name="undaunted-beginner", daemon=True)
            self._beginning.start()

    def _begin(self) -> None:
        if self._is_closed:
            return
        try:
            client_of(self._aliases[0]).begin()
            self._refusal = None
        except Exception as error:  # noqa: BLE001  # whoever uses the cluster gets it; here it is told by its name
            self._refusal = type(error).__name__

    def status(self) -> Mapping[str, Any]:
        """The nodes as the driver's monitors last saw them; nothing is asked and nothing is opened."""
        client = registered._connections.get(self._aliases[0])  # noqa: SLF001
        nodes = nodes_of(client.topology_description) if client is not None else []
        settings = cast("MongoDBSettings", self._context.cluster)
        known = {node["address"] for node in nodes}
        unseen = [
            {"address": a, "role": "unknown", "latency_ms": None, "error": self._refusal}
            for a in settings.nodes
            if a not in known
        ]
        primary = next((node["address"] for node in nodes if node["role"] in {"primary", "standalone"}), None)
        return {
            "nodes": [*nodes, *unseen],
            "begun": client is not None or self._refusal is not None,
            "primary": primary,
            "replica_set": settings.replica_set,
        }

    def close(self) -> None:
        """Close the client and forget the aliases."""
        beginning = self._beginning
        self._is_closed = True
        if beginning is not None and beginning is not threading.current_thread():
            beginning.join(_BEGINS_S)  # else it might leave a client behind, which the next cluster of this name finds
        for alias in self._aliases:
            mongoengine.disconnect(alias)


def register(context: ClusterContext) -> MongoDBHandle:
    """Register a cluster with MongoEngine; connects to nothing.

    Raises:
        ConfigurationError: pymongo is too old; or the application has registered the alias itself; or the driver
            refuses an option, or the URL, of which it looks up the record where it is ``mongodb+srv://``.
    """
    seams.check_driver()
    handle = MongoDBHandle(context)
    path = f"clusters.{context.name}"
    settings = cast("MongoDBSettings", context.cluster)
    for alias in handle.aliases:
        if alias in registered._connection_settings:  # noqa: SLF001
            message = (
                f"MongoEngine has a connection with the alias {alias!r} already. Remove that connect() call, or give "
                "the cluster another name."
            )
            raise ConfigurationError(problems=[Problem(path, message)])
    arguments = _arguments(settings)
    make = _maker(handle.guard, path)
    name = settings.database or "test"
    try:
        for alias in handle.aliases:
            mongoengine.register_connection(alias, name=name, mongo_client_class=make, **arguments)
    except (PyMongoError, ValueError, OSError) as error:  # MongoEngine has the URL read, with its record in DNS
        # Its text may quote a part of the URL, which may be a password; so may those that led to it.
        what = "this URL, its DNS record or a file that it names" if settings.url is not None else "these settings"
        message = f"pymongo cannot use {what} ({type(error).__name__}); correct it."
        raise ConfigurationError(
            problems=[Problem(f"{path}.url" if settings.url is not None else path, message)]
        ) from None
    return handle


def _maker(guard: Guard, path: str) -> Callable[..., MongoClient]:
    """What MongoEngine calls as the client's class; one object a cluster, so that its aliases share one client."""

    def make(**arguments: Any) -> MongoClient:
        try:
            return MongoClient(guard=guard, **arguments)
        except ConfigurationError:
            raise
        except Exception as error:
            message = f"pymongo refuses these settings: {error}"
            raise ConfigurationError(problems=[Problem(path, message)]) from error

    return make


def _arguments(settings: MongoDBSettings) -> dict[str, Any]:
    """The arguments of MongoEngine's `register_connection` for a cluster."""
    host: Any = settings.url.reveal() if settings.url is not None else list(settings.nodes)
    arguments: dict[str, Any] = {
        "host": host,
        "heartbeatFrequencyMS": round(settings.heartbeat.interval * 1000),
        "connectTimeoutMS": round(settings.heartbeat.timeout * 1000),
        "maxPoolSize": settings.pool.max,
        "minPoolSize": settings.pool.min,
        "connect": False,
        "appname": "undaunted",
        **{name: _revealed(value) for name, value in settings.options.items()},
    }
    given = {name.lower() for name in arguments}
    if "uuidrepresentation" not in given and "uuidrepresentation" not in str(host).lower():
        arguments["uuidRepresentation"] = "standard"
    if settings.replica_set:
        arguments["replicaSet"] = settings.replica_set
    arguments.update(credentials_of(settings))
    arguments.update(tls_of(settings))
    return arguments


def _revealed(value: object) -> object:
    return value.reveal() if hasattr(value, "reveal") else value


def credentials_of(settings: MongoDBSettings) -> dict[str, Any]:
    """Who the application is, by MongoEngine's names."""
    given = settings.credentials
    found = {
        "username": given.username,
        "password": given.password.reveal() if given.password else None,
        "authentication_source": given.source or ("admin" if given.username else None),
        "authentication_mechanism": given.mechanism,
    }
    return {name: value for name, value in found.items() if value is not None}


def tls_of(settings: MongoDBSettings) -> dict[str, Any]:
    """How connections are encrypted, by pymongo's names; empty when they are not."""
    tls = settings.tls
    if tls is None:
        return {}
    found: dict[str, Any] = {"tls": tls.enabled, "tlsCAFile": tls.ca, "tlsCertificateKeyFile": tls.certificate}
    if tls.key_password is not None:
        found["tlsCertificateKeyFilePassword"] = tls.key_password.reveal()
    if tls.verify == "none":
        found["tlsAllowInvalidCertificates"] = True
    elif tls.verify == "ca":
        found["tlsAllowInvalidHostnames"] = True
    return {name: value for name, value in found.items() if value is not None}


# -- from an alias or a document to its client ------------------------------------------------------


def alias_of(declared: Any, *, where: str) -> str | None:
    """The alias that a class's ``__undaunted__`` names, after checking the whole declaration.

    Raises:
        ConfigurationError: A key is unknown or a value wrong; lists every mistake.
    """
    return model_settings(declared, model=where).cluster


def database(alias: str) -> Database:
    """The database of an alias, registered from the settings first where they name a cluster of that name.

    Raises:
        ConfigurationError: Neither the settings nor the application have declared it; names what the settings have.
    """
    found = registered._dbs.get(alias)  # noqa: SLF001
    if found is not None:
        return cast("Database", found)
    with _FIRST_USE.lock:
        is_declared = alias in registered._connection_settings  # noqa: SLF001
        if not is_declared and (alias != DEFAULT_CONNECTION_NAME or directory().knows(alias)):
            directory().handle(alias)
        return cast("Database", registered.get_db(alias))


def forget_collections(alias: str) -> None:
    """Have MongoEngine look up the collections of an alias anew; each document class keeps the one that it has used."""
    for kind in _get_documents_by_db(alias, DEFAULT_CONNECTION_NAME):
        if issubclass(kind, mongoengine.Document):  # others have none
            kind._disconnect()  # noqa: SLF001


def is_current(alias: str, collection: Collection) -> bool:
    """Whether `collection` belongs to the client that is registered now (`disconnect` may have closed its own)."""
    db = registered._dbs.get(alias)  # noqa: SLF001
    return db is not None and db.client is collection.database.client


def model_policy(alias: str, document_class: type) -> Policy | None:
    """The policy of a class that has one of its own, by declaration or by ``[models]``; else None."""
    model = _path_of(document_class)
    declared = getattr(document_class, "__undaunted__", None)
    settings = model_settings(declared, model=model) if declared is not None else None
    found = directory()
    if not found.knows(alias):
        return None
    own = found.policy(alias, model=model, declared=settings)
    return own if own != found.handle(alias).guard.policy else None


def place_of(document_class: type, alias: str) -> str:
    """The alias where ``[models]`` puts a class that declares `alias`; the same where it says nothing."""
    configured = directory().models(alias).get(_path_of(document_class))
    return configured.cluster if configured is not None and configured.cluster else alias


def _path_of(document_class: type) -> str:
    return f"{document_class.__module__}.{document_class.__qualname__}"


def client_of(target: Any) -> MongoClient:
    """The client of a document class, of a cluster by name, or of MongoEngine's default connection.

    Raises:
        TypeError: It is a client that undaunted does not keep, so it has no transactions that run again.
    """
    if target is None or isinstance(target, str):
        client = database(target or DEFAULT_CONNECTION_NAME).client
    else:
        client = target._get_db().client  # noqa: SLF001  # MongoEngine has no public name for it
    if not isinstance(client, MongoClient):
        raise TypeError(
            f"The connection of {target!r} is a {type(client).__name__}. Declare its cluster in the settings, or "
            "connect with mongo_client_class=undaunted.mongodb.MongoClient."
        )
    return client
