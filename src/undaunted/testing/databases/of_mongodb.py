"""A run's databases of MongoDB: one a cluster, made by its first write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undaunted.mongodb import schema
from undaunted.mongodb.connection import database

if TYPE_CHECKING:
    from collections.abc import Iterable

    from undaunted.testing.databases.names import Renamed

__all__ = ["create", "drop", "existing", "fill", "turn"]


def turn(_: Renamed, *, suffix: str) -> None:
    """Nothing: a document names its cluster, and the cluster its database."""
    del suffix


def existing(one: Renamed) -> Iterable[str]:
    """The database, if it is there."""
    names: Any = database(one.name).client.list_database_names()
    return [one.trial_database] if one.trial_database and one.trial_database in names else []


def drop(one: Renamed) -> None:
    """Drop the database; it may be gone."""
    if one.trial_database:
        database(one.name).client.drop_database(one.trial_database)


def create(_: Renamed) -> None:
    """Nothing: it is there from the first write on."""


def fill(one: Renamed) -> None:
    """Make the indexes."""
    schema.sync(clusters=[one.name])
