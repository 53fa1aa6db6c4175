"""The entry point of this backend: what the registry opens clusters with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.mongodb import connection

if TYPE_CHECKING:
    from undaunted.backend import ClusterContext, Handle

__all__ = ["MongoDBBackend"]


class MongoDBBackend:
    """MongoDB replica sets, used through MongoEngine."""

    def open(self, context: ClusterContext) -> Handle:
        """Register the cluster with MongoEngine under its name; connects to nothing yet.

        Raises:
            ConfigurationError: pymongo is too old, or refuses the settings.
        """
        return connection.register(context)
