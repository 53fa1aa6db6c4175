"""A run's databases of PostgreSQL, and its files of SQLite."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psycopg
import sqlalchemy as sa
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from undaunted.config import Secret
from undaunted.errors import UndauntedError
from undaunted.sqlalchemy import schema
from undaunted.sqlalchemy.urls import libpq_parameters, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from undaunted.config import SQLAlchemySettings
    from undaunted.testing.databases.names import Renamed

__all__ = ["create", "drop", "existing", "fill", "turn"]

_MAINTENANCE = ("postgres", "template1")
"""Databases that a server has from the beginning, from which others are made and dropped."""
_REPLAY_S = 10.0
"""How long the standbys may take until they have the new database; one that cannot be reached is not waited for."""
_POLL_S = 0.05


def turn(_: Renamed, *, suffix: str) -> None:
    """Nothing: a class names its cluster, and the cluster its database."""
    del suffix


def existing(one: Renamed) -> Iterable[str]:
    """The database or file, if it is there."""
    if one.is_memory:
        return []
    if not _settings(one).is_postgresql:
        return [name for name in [one.trial_database or ""] if Path(name).exists()]
    with _maintenance(one) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [one.trial_database]).fetchone()
    return [one.trial_database or ""] if found else []


def drop(one: Renamed) -> None:
    """Drop the database; it may be gone. Whoever is still connected to it is sent away."""
    if one.is_memory:
        return
    if not _settings(one).is_postgresql:
        for ending in ("", "-journal", "-wal", "-shm"):
            Path(f"{one.trial_database}{ending}").unlink(missing_ok=True)
        return
    with _maintenance(one) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(_name(one)))


def create(one: Renamed) -> None:
    """Create the database, where it is missing, and wait until the standbys have it, too."""
    if not _settings(one).is_postgresql:
        return  # the first connection makes the file
    with _maintenance(one) as connection, contextlib.suppress(errors.DuplicateDatabase):
        connection.execute(sql.SQL("CREATE DATABASE {}").format(_name(one)))
    ends_s = time.monotonic() + _REPLAY_S
    for node in _settings(one).nodes:
        while _is_missing(one, node):
            if time.monotonic() > ends_s:
                raise UndauntedError(
                    f"{node} has no database {one.trial_database!r} {_REPLAY_S:g} s after it was made on the primary; "
                    "see whether it still follows the primary."
                )
            time.sleep(_POLL_S)


def fill(one: Renamed) -> None:
    """Make schemas, tables, and the table of keys."""
    schema.sync(clusters=[one.name])


def _settings(one: Renamed) -> SQLAlchemySettings:
    return cast("SQLAlchemySettings", one.trial)


def _name(one: Renamed) -> sql.Identifier:
    return sql.Identifier(one.trial_database or "")


def _maintenance(one: Renamed) -> psycopg.Connection[Any]:
    """A connection to the primary, to a database that is there in any case.

    Raises:
        UndauntedError: There is no primary, or it refuses the login.
    """
    last: Exception | None = None
    for database in _MAINTENANCE:
        try:
            return psycopg.connect(_conninfo(one, _settings(one).nodes, database), autocommit=True)
        except psycopg.OperationalError as error:
            last = error
    raise UndauntedError(
        f"clusters.{one.name}: no primary is there to make the database {one.trial_database!r} on, or it refuses the "
        f"login ({type(last).__name__}). `undaunted check {one.name}` tells more."
    ) from last


def _is_missing(one: Renamed, node: str) -> bool:
    try:
        psycopg.connect(_conninfo(one, [node], one.trial_database or "", target_session_attrs="any")).close()
    except psycopg.OperationalError as error:
        return "does not exist" in str(error)  # of a refused connection libpq keeps no code
    return False


def _conninfo(one: Renamed, nodes: Iterable[str], database: str, *, target_session_attrs: str = "read-write") -> str:
    settings = _settings(one)
    assert settings.url is not None  # noqa: S101  # the settings require it
    given: Any = settings.options.get("connect_args") or {}
    revealed = {n: v.reveal() if isinstance(v, Secret) else v for n, v in given.items()}
    url = sa.make_url(settings.url.reveal()).set(drivername="postgresql+psycopg")
    places = [place_of(node) for node in nodes]
    ours: dict[str, Any] = {
        "host": ",".join(host for host, _ in places),
        "port": ",".join(str(port) for _, port in places),
        "dbname": database,
        "connect_timeout": max(2, round(settings.connect_timeout)),
        "target_session_attrs": target_session_attrs,
    }
    return make_conninfo(**{**libpq_parameters(url, revealed), **ours})
