"""Settings: their schema, where they come from, and what is wrong with them.

May import `undaunted.core` and `undaunted.errors` only; asks no server and no name server.
"""

from undaunted.config.loading import Loaded, load, model_settings
from undaunted.config.schema import (
    CassandraSettings,
    ClusterSettings,
    ModelSettings,
    MongoDBSettings,
    Settings,
    SQLAlchemySettings,
)
from undaunted.config.secrets import Secret
from undaunted.config.sources import Origin

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
    "load",
    "model_settings",
]
