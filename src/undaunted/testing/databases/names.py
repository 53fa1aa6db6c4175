"""What the databases of a test run are called, and the settings with which they are used; asks no server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from undaunted.config import Secret
from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.config import (
        CassandraSettings,
        ClusterSettings,
        Loaded,
        MongoDBSettings,
        Settings,
        SQLAlchemySettings,
    )

__all__ = ["PREFIX", "NoTestDatabase", "Renamed", "name_for_tests", "renamed"]

PREFIX = "test_"
LONGEST = {"cassandra": 48, "mongodb": 63, "sqlalchemy": 63}
"""Characters that each allows: a keyspace, a database of MongoDB, and a name in PostgreSQL."""
_OF_SQLITE = ("", ":memory:")


class NoTestDatabase(ConfigurationError):
    """A cluster has no database of the run's own, so nothing of it is used. Name one for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """One cluster, as it is and as the tests use it.

    Attributes:
        name: The cluster's name.
        real: Its settings.
        trial: The same with a database of the run's own.
        real_database: The keyspace or database of the real settings; None where they name none.
        trial_database: That of the run.
    """

    name: str
    real: ClusterSettings
    trial: ClusterSettings
    real_database: str | None
    trial_database: str | None

    @property
    def is_apart(self) -> bool:
        """Whether the tests use another database; one in memory is the process's own in any case."""
        return self.real_database is None or self.is_memory or self.trial_database != self.real_database

    @property
    def is_memory(self) -> bool:
        """Whether it is a database of SQLite in memory."""
        return self.real.backend == "sqlalchemy" and self.trial_database in _OF_SQLITE


def name_for_tests(real: str, *, suffix: str = "", longest: int = 63) -> str:
    """The name of a run's database: ``test_`` before the real one's, `suffix` behind it.

    Args:
        real: The real name.
        suffix: What tells runs apart that go on at the same time, such as ``"_gw0"``.
        longest: Characters that the database allows.
    """
    made = f"{PREFIX}{real}{suffix}"
    if len(made) <= longest:
        return made
    mark = hashlib.sha256(real.encode()).hexdigest()[:8]
    return f"{PREFIX}{real[: longest - len(PREFIX) - len(suffix) - 9]}_{mark}{suffix}"


def renamed(
    loaded: Loaded, *, suffix: str = "", names: Mapping[str, str] | None = None
) -> tuple[Loaded, tuple[Renamed, ...]]:
    """The settings with every cluster turned to a database of the run's own.

    Args:
        loaded: The real settings, from whatever source.
        suffix: What tells runs apart that go on at the same time.
        names: Names of the application's own choice, by cluster; `suffix` is put behind them too.

    Returns:
        The settings of the run, and what was changed.

    Raises:
        NoTestDatabase: A cluster cannot have one, or its chosen name is the real one's; lists every such cluster.
    """
    problems = [
        Problem(
            f"clusters.{name}",
            "is not declared, and yet its tests are given a database; correct the name: there are "
            f"{', '.join(loaded.settings.clusters) or 'none'}.",
        )
        for name in names or {}
        if name not in loaded.settings.clusters
    ]
    changed: list[Renamed] = []
    for name, cluster in loaded.settings.clusters.items():
        chosen = (names or {}).get(name)
        try:
            changed.append(_renamed(name, cluster, chosen=f"{chosen}{suffix}" if chosen else None, suffix=suffix))
        except ValueError as error:
            problems.append(Problem(f"clusters.{name}", str(error)))
    real = {(one.real.backend, one.real_database) for one in changed}
    problems += [
        Problem(
            f"clusters.{one.name}",
            f"its tests would use {one.trial_database!r}, which is a real one's name; name another.",
        )
        for one in changed
        if one.trial_database and (one.real.backend, one.trial_database) in real and not one.is_memory
    ]
    if problems:
        raise NoTestDatabase(problems=problems)
    clusters = {one.name: one.trial for one in changed}
    settings: Settings = replace(loaded.settings, clusters=clusters)
    return replace(loaded, settings=settings), tuple(changed)


def _renamed(name: str, cluster: ClusterSettings, *, chosen: str | None, suffix: str) -> Renamed:
    if cluster.backend == "cassandra":
        keyspace = cast("CassandraSettings", cluster).keyspace
        made = chosen or (name_for_tests(keyspace, suffix=suffix, longest=LONGEST["cassandra"]) if keyspace else None)
        trial: ClusterSettings = replace(cast("Any", cluster), keyspace=made)
        return Renamed(name=name, real=cluster, trial=trial, real_database=keyspace, trial_database=made)
    if cluster.backend == "mongodb":
        return _of_mongodb(name, cast("MongoDBSettings", cluster), chosen=chosen, suffix=suffix)
    return _of_sqlalchemy(name, cast("SQLAlchemySettings", cluster), chosen=chosen, suffix=suffix)


def _of_mongodb(name: str, cluster: MongoDBSettings, *, chosen: str | None, suffix: str) -> Renamed:
    real = cluster.database or "test"  # which is what MongoEngine takes where none is named
    made = chosen or name_for_tests(real, suffix=suffix, longest=LONGEST["mongodb"])
    url = cluster.url
    if url is not None:  # a database that it names goes before that of the settings
        url = Secret(_with_database(url.reveal(), made), origin=url.origin, shown=str(url))
    return Renamed(
        name=name,
        real=cluster,
        trial=replace(cluster, database=made, url=url),
        real_database=real,
        trial_database=made,
    )


def _with_database(url: str, database: str) -> str:
    """A connection string with another database, and the same one still asked who the user is."""
    scheme, _, rest = url.partition("://")
    location, _, query = rest.partition("?")
    authority, _, before = location.partition("/")
    options = [query] if query else []
    if "@" in authority and before and "authsource=" not in query.lower():
        options.append(f"authSource={before}")
    return f"{scheme}://{authority}/{database}" + (f"?{'&'.join(options)}" if options else "")


def _of_sqlalchemy(name: str, cluster: SQLAlchemySettings, *, chosen: str | None, suffix: str) -> Renamed:
    import sqlalchemy as sa  # noqa: PLC0415  # only where such a cluster is configured

    assert cluster.url is not None  # noqa: S101  # the settings require it
    url = sa.make_url(cluster.url.reveal())
    real = url.database
    if url.get_backend_name() == "sqlite":
        made = _of_file(real or "", chosen=chosen, suffix=suffix)
    elif not cluster.is_postgresql:
        raise ValueError(
            f"tests get a database of their own on PostgreSQL and SQLite only, not on {url.get_backend_name()}; give "
            "the settings of the tests a URL of one of these."
        )
    elif not real:
        raise ValueError("its URL names no database, so there is none to call the tests' own after; name it.")
    else:
        made = chosen or name_for_tests(real, suffix=suffix, longest=LONGEST["sqlalchemy"])
    text = url.set(database=made).render_as_string(hide_password=False)
    trial = replace(cluster, url=Secret(text, origin=cluster.url.origin, shown=str(cluster.url)))
    return Renamed(name=name, real=cluster, trial=trial, real_database=real or "", trial_database=made)


def _of_file(real: str, *, chosen: str | None, suffix: str) -> str:
    """A file beside the real one; what is only in memory is nobody's but the process's own."""
    if real in _OF_SQLITE:
        return real
    if real.startswith("file:"):
        raise ValueError("its URL names a file by a URI, which cannot be renamed safely; give it as a path.")
    folder, slash, file = real.rpartition("/")
    stem, dot, ending = file.rpartition(".")
    return f"{folder}{slash}{chosen or PREFIX + (stem or ending) + suffix}" + (
        f"{dot}{ending}" if stem and not chosen else ""
    )
