"""Settings: their schema, where they come from, and what is wrong with them.

May import `undaunted.core` and `undaunted.errors` only; asks no server and no name server.
"""

from typing import TYPE_CHECKING, Any

from undaunted.config.clusters import ClusterSettings
from undaunted.config.joining import joined
from undaunted.config.loading import Loaded, load, model_settings
from undaunted.config.schema import BACKENDS, Settings, cluster_class
from undaunted.config.secrets import Secret
from undaunted.config.sections import ModelSettings
from undaunted.config.sources import Origin

if TYPE_CHECKING:
    from undaunted.config.cassandra import CassandraSettings
    from undaunted.config.mongodb import MongoDBSettings
    from undaunted.config.sqlalchemy import SQLAlchemySettings

__all__ = [
    "CassandraSettings",
    "ClusterSettings",
    "Loaded",
    "ModelSettings",
    "MongoDBSettings",
    "Origin",
    "SQLAlchemySettings",
    "Secret",
    "Settings",
    "joined",
    "load",
    "model_settings",
]


def __getattr__(name: str) -> Any:
    """Import a backend's settings when they are first named; each costs some milliseconds."""
    for backend, (_, class_name) in BACKENDS.items():
        if class_name == name:
            return cluster_class(backend)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
