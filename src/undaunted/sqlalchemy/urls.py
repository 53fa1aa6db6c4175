"""From the URL of a cluster to those of its nodes, and to what libpq is given for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg.pq import Conninfo
from sqlalchemy import exc

from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.config import SQLAlchemySettings

__all__ = ["libpq_parameters", "node_url", "place_of", "url_of"]


def url_of(name: str, settings: SQLAlchemySettings) -> sa.URL:
    """The URL of a cluster, with the driver that PostgreSQL is kept through.

    Raises:
        ConfigurationError: It is none, or nobody here knows its database.
    """
    assert settings.url is not None  # noqa: S101  # the settings require it
    try:
        url = sa.make_url(settings.url.reveal())
        if settings.is_postgresql:
            url = url.set(drivername="postgresql+psycopg")
        url.get_dialect()
    except (exc.ArgumentError, ValueError) as error:
        # SQLAlchemy's own words repeat the URL.
        problem = Problem(f"clusters.{name}.url", "is no URL that SQLAlchemy understands; correct it.")
        raise ConfigurationError(problems=[problem]) from (error if isinstance(error, exc.NoSuchModuleError) else None)
    return url


def place_of(address: str) -> tuple[str, int]:
    """Host and port of a node's address."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def node_url(url: sa.URL, address: str) -> sa.URL:
    """The same URL with this node as its only host."""
    host, port = place_of(address)
    return url.set(host=host, port=port).difference_update_query(["host", "port"])


def libpq_parameters(url: sa.URL, connect_args: Mapping[str, Any]) -> dict[str, str]:
    """What libpq is given for this URL besides host and port."""
    known = {each.keyword.decode() for each in Conninfo.get_defaults()} - {"host", "port", "hostaddr"}
    bare = url.set(host=None, port=None).difference_update_query(["host", "port"])
    _, parameters = url.get_dialect()().create_connect_args(bare)
    given = {**parameters, **connect_args}
    return {name: str(value) for name, value in given.items() if name in known and value is not None}
