"""The entry point of this backend: what the registry opens clusters with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.cassandra import seams

if TYPE_CHECKING:
    from undaunted.backend import ClusterContext, Handle

__all__ = ["CassandraBackend"]


class CassandraBackend:
    """Cassandra clusters, used through cqlengine."""

    def open(self, context: ClusterContext) -> Handle:
        """Register the cluster with cqlengine under its name; connects to nothing yet.

        Raises:
            ConfigurationError: The driver cannot be used here, or refuses the settings.
        """
        seams.check_driver()
        from undaunted.cassandra import connection  # noqa: PLC0415  # it imports what has just been checked

        return connection.register(context)
