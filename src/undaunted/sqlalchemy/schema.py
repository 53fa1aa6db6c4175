"""Makes the tables of mapped classes, and the tables of keys, all in one call: `sync`. Changes are Alembic's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.schema import CreateSchema

from undaunted.backend import directory
from undaunted.engine.context import options
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy.cluster import Cluster
from undaunted.sqlalchemy.keys import key_table
from undaunted.sqlalchemy.models import SessionMixin
from undaunted.sqlalchemy.targets import cluster_name, cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Synced", "sync"]

_STEP_S = 60.0
"""How long one cluster may take; an earlier deadline of the caller holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """One table that is there now.

    Attributes:
        cluster: Name of the cluster.
        kind: What it is.
        name: Its name, with its schema where it has one.
        outcome: What had to be done.
    """

    cluster: str
    kind: Literal["table"] = "table"
    name: str
    outcome: Literal["made", "unchanged"]


def sync(*, clusters: Iterable[str], progress: Callable[[Synced], object] | None = None) -> tuple[Synced, ...]:
    """Make the tables that are missing, of every class whose base is of `undaunted.sqlalchemy`, and the tables of keys.

    A table that is there is left as it is, whatever its class says now: that is for Alembic. A cluster without any such
    class gets its table of keys. May be called again, and finds nothing to do.

    Args:
        clusters: The clusters whose tables are meant.
        progress: Called with each table when it is done.

    Returns:
        Each table with what was done to it.

    Raises:
        ConfigurationError: There is no such cluster, or it is not of SQLAlchemy.
        OperationalError: There is no primary; undaunted's, and SQLAlchemy's.
    """
    done: list[Synced] = []
    for name in clusters:
        if not isinstance(directory().handle(name), Cluster):
            raise ConfigurationError(f"cluster {name!r} is not of SQLAlchemy; there are no mapped classes in it.")
        with options(deadline=_STEP_S):
            for one in _take(name):
                done.append(one)
                if progress is not None:
                    progress(one)
    return tuple(done)


def _take(name: str) -> Iterator[Synced]:
    tables = _tables(name)
    with cluster_of(name).writer.begin() as connection:
        there = sa.inspect(connection)
        before = {table for table in tables if there.has_table(table.name, table.schema)}
        _make_schemas(connection, tables)
        for metadata in dict.fromkeys(table.metadata for table in tables):
            metadata.create_all(connection, tables=[table for table in tables if table.metadata is metadata])
    for table in tables:
        yield Synced(cluster=name, name=table.fullname, outcome="unchanged" if table in before else "made")


def _make_schemas(connection: sa.Connection, tables: Iterable[sa.Table]) -> None:
    if connection.dialect.name != "postgresql":
        return  # elsewhere a schema is another database
    for schema in sorted({table.schema for table in tables if table.schema}):
        connection.execute(CreateSchema(schema, if_not_exists=True))


def _tables(name: str) -> list[sa.Table]:
    """The tables of one cluster: of each class that lives there, those without a class of their base, and of keys."""
    found: dict[str, sa.Table] = {}
    for kind in _classes():
        metadata: Any = getattr(kind, "metadata", None)
        if not isinstance(metadata, sa.MetaData) or _cluster_of(kind) != name:
            continue
        keys = key_table(metadata)
        found.setdefault(keys.fullname, keys)
        own: sa.Table | None = vars(kind).get("__table__")
        if own is not None:
            found.setdefault(own.fullname, own)
        elif "registry" in vars(kind):  # a base, to which tables belong that no class is mapped to
            classes = {id(mapper.local_table) for mapper in vars(kind)["registry"].mappers}
            found.update({t.fullname: t for t in metadata.tables.values() if id(t) not in classes} | found)
    if not found:
        keys = key_table(sa.MetaData())
        found[keys.fullname] = keys
    return list(found.values())


def _cluster_of(kind: type) -> str | None:
    try:
        return cluster_name(kind)
    except ConfigurationError:
        return None  # a mixin or base of others, which names none itself


def _classes() -> Iterator[type]:
    seen: dict[type, None] = {}
    waiting: list[type] = SessionMixin.__subclasses__()
    while waiting:
        kind = waiting.pop(0)
        if kind not in seen:
            seen[kind] = None
            waiting += kind.__subclasses__()
    return iter(seen)
