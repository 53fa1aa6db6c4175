"""A run's keyspaces: that of the cluster, and one for each that a model names itself, each replicated like the real."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from cassandra.cqlengine import connection as registered
from cassandra.cqlengine.models import Model

from undaunted.cassandra import schema
from undaunted.cassandra.places import place_of
from undaunted.testing.databases.names import LONGEST, name_for_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from undaunted.testing.databases.names import Renamed

__all__ = ["create", "drop", "existing", "fill", "turn"]

_CQL: Any = registered  # cqlengine is untyped
_REPLICAS = 3
_REAL = "_undaunted_real_keyspace"


def turn(one: Renamed, *, suffix: str) -> Callable[[], None] | None:
    """Have every model that names its keyspace itself name that of the run, until the function returned is called."""
    before: list[tuple[Any, str | None, str]] = []
    for model in _models_of(one):
        real: str | None = model.__keyspace__
        if not real:
            continue
        before.append((model, model.__dict__.get("__keyspace__"), real))
        setattr(model, _REAL, real)
        model.__keyspace__ = _trial_of(one, real, suffix)

    def back() -> None:
        for model, own, _ in reversed(before):
            if own is None:
                del model.__keyspace__
            else:
                model.__keyspace__ = own
            delattr(model, _REAL)

    return back if before else None


def existing(one: Renamed) -> Iterable[str]:
    """The keyspaces that are there."""
    there = _cluster(one).metadata.keyspaces
    return [name for name in _keyspaces(one) if name in there]


def drop(one: Renamed) -> None:
    """Drop the keyspaces; they may be gone."""
    for name in _keyspaces(one):
        _CQL.execute(f'DROP KEYSPACE IF EXISTS "{name}"', connection=one.name)


def create(one: Renamed) -> None:
    """Create the keyspaces, where they are missing."""
    for name, real in _keyspaces(one).items():
        replication = _replication(one, real)
        _CQL.execute(f'CREATE KEYSPACE IF NOT EXISTS "{name}" WITH replication = {replication}', connection=one.name)


def fill(one: Renamed) -> None:
    """Make types and tables."""
    schema.sync(clusters=[one.name], progress=False)


def _keyspaces(one: Renamed) -> dict[str, str | None]:
    """Each keyspace of the run, with the real one that it stands for."""
    found: dict[str, str | None] = {one.trial_database: one.real_database} if one.trial_database else {}
    for model in _models_of(one):
        if model.__keyspace__ and hasattr(model, _REAL):
            found.setdefault(model.__keyspace__, getattr(model, _REAL))
    return found


def _models_of(one: Renamed) -> list[Any]:
    models: list[Any] = list(schema.defined(Model))
    return [model for model in models if getattr(place_of(model).connection, "name", None) == one.name]


def _trial_of(one: Renamed, real: str, suffix: str) -> str:
    if real == one.real_database and one.trial_database:
        return one.trial_database
    return name_for_tests(real, suffix=suffix, longest=LONGEST["cassandra"])


def _cluster(one: Renamed) -> Any:
    cluster: Any = _CQL.get_cluster(one.name)
    cluster.refresh_schema_metadata()
    return cluster


def _replication(one: Renamed, real: str | None) -> str:
    """As the real keyspace has it; where there is none, three replicas in each datacenter, or as many as have nodes."""
    cluster = _cluster(one)
    found = cluster.metadata.keyspaces.get(real) if real else None
    if found is not None and found.replication_strategy is not None:
        return cast("str", found.replication_strategy.export_for_schema())
    nodes = Counter(host.datacenter for host in cluster.metadata.all_hosts())
    factors = "".join(f", '{name}': {min(count, _REPLICAS)}" for name, count in sorted(nodes.items()))
    return f"{{'class': 'NetworkTopologyStrategy'{factors}}}"
