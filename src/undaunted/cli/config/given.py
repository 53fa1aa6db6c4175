"""What `undaunted config init` is told of a cluster: ``NAME=URL``, taken apart into settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from undaunted.config.addresses import address
from undaunted.config.urls import Url, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BACKENDS", "Given", "given", "password_variable"]

BACKENDS = {
    "mongodb": ("mongodb", "orders", 27017),
    "mongodb+srv": ("mongodb", "orders", 27017),
    "cassandra": ("cassandra", "catalog", 9042),
    "postgresql": ("sqlalchemy", "ledger", 5432),
    "postgres": ("sqlalchemy", "ledger", 5432),
    "postgresql+psycopg": ("sqlalchemy", "ledger", 5432),
}
"""By scheme of the URL: the backend, what a cluster of it is called by default, the usual port."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_KNOWN = {"replicaset": "replicaSet", "authsource": "authSource", "tls": "tls", "ssl": "ssl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A cluster as its user has named it.

    Attributes:
        name: The cluster's name.
        backend: Its backend.
        settings: What the URL says, as settings.
        password: The environment variable that holds the password of its user; None without a user, and where the
            driver has its own ways to find one.
    """

    name: str
    backend: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    password: str | None = None


def given(text: str) -> Given:
    """Take apart what was given for one cluster: ``orders=mongodb://shop@db1:27017,db2:27017/shop``.

    Raises:
        ValueError: It cannot be taken apart, or has a password in it; the message shows nothing that may be one.
    """
    name, equals, rest = text.partition("=")
    if not equals or "://" in name:
        name, rest = "", text
    try:
        url = parse_url(rest)
    except ValueError as error:
        raise ValueError(f"{name or 'this'} {error}; write orders=mongodb://HOST:27017") from None
    if url.scheme not in BACKENDS:
        raise ValueError(f"the scheme {url.scheme!r} is not known; there are {', '.join(BACKENDS)}")
    backend, usual, port = BACKENDS[url.scheme]
    name = name or usual
    if not _NAME.fullmatch(name):
        raise ValueError("a cluster's name has letters, digits, - and _, and begins with a letter")
    variable = password_variable(name)
    if url.has_secret:
        remedy = "PGPASSWORD or ~/.pgpass" if backend == "sqlalchemy" else variable
        raise ValueError(f"the URL has a password in it, which others can see; leave it out, and give it as {remedy}")
    user = rest.partition("://")[2].partition("?")[0].partition("/")[0].rpartition("@")[0]
    settings = {"mongodb": _mongodb, "cassandra": _cassandra, "sqlalchemy": _sqlalchemy}[backend](url, user, port)
    credentials = settings.get("credentials")
    if credentials is None:
        return Given(name=name, backend=backend, settings=settings)
    credentials["password"] = {"env": variable}
    return Given(name=name, backend=backend, settings=settings, password=variable)


def password_variable(name: str) -> str:
    """The environment variable from which the password of a cluster's user is taken."""
    return re.sub(r"\W", "_", name).upper() + "_PASSWORD"


def _mongodb(url: Url, user: str, port: int) -> dict[str, Any]:
    unknown = [name for name in url.options if name not in _KNOWN]
    if unknown:
        known = ", ".join(_KNOWN.values())
        raise ValueError(f"the URL may have the options {known}; write {unknown[0]} into the file afterwards")
    is_record = url.scheme.endswith("+srv")
    settings: dict[str, Any] = {"url": f"mongodb+srv://{url.hosts[0]}"} if is_record else {"nodes": _nodes(url, port)}
    if "replicaset" in url.options:
        settings["replica_set"] = url.options["replicaset"]
    if url.database:
        settings["database"] = url.database
    if user:
        settings["credentials"] = {"username": _plain(user)}
        if "authsource" in url.options:
            settings["credentials"]["source"] = url.options["authsource"]
    if "true" in {url.options.get("tls"), url.options.get("ssl")}:
        settings["tls"] = {"enabled": True}
    return settings


def _cassandra(url: Url, user: str, port: int) -> dict[str, Any]:
    if url.options:
        raise ValueError("the URL of Cassandra has no options; write them into the file afterwards")
    settings: dict[str, Any] = {"nodes": _nodes(url, port)}
    if url.database:
        settings["keyspace"] = url.database
    if user:
        settings["credentials"] = {"username": _plain(user)}
    return settings


def _sqlalchemy(url: Url, user: str, port: int) -> dict[str, Any]:
    if not url.database:
        raise ValueError("the URL names no database; write ledger=postgresql://USER@HOST:5432/DATABASE")
    at = f"{user}@" if user else ""
    query = "&".join(f"{name}={quote(value, safe='/:,')}" for name, value in url.options.items())
    return {
        "url": f"postgresql+psycopg://{at}/{quote(url.database, safe='')}{f'?{query}' if query else ''}",
        "nodes": _nodes(url, port),
    }


def _nodes(url: Url, port: int) -> list[str]:
    return [address(host, port) for host in url.hosts]


def _plain(user: str) -> str:
    return unquote(user)
