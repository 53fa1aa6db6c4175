"""The entry point of this backend: what the registry opens clusters with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.sqlalchemy import cluster, versions

if TYPE_CHECKING:
    from undaunted.backend import ClusterContext, Handle

__all__ = ["SQLAlchemyBackend"]


class SQLAlchemyBackend:
    """A PostgreSQL primary with its standbys, or another database, used through SQLAlchemy."""

    def open(self, context: ClusterContext) -> Handle:
        """Make the cluster known under its name; connects to nothing yet.

        Raises:
            ConfigurationError: A package is missing or too old, or SQLAlchemy refuses the settings.
        """
        versions.check_packages()
        return cluster.Cluster(context)
