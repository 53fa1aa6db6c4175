"""The engines of a cluster by its name, for an application that only swaps its ``create_engine``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["async_engine", "engine"]


def engine(target: Any) -> sa.Engine:
    """The engine of a cluster: each connection that it gives goes to the node that takes writes at that moment.

    Nothing is run again behind its user's back, and its errors are SQLAlchemy's own. For units of work that outlive a
    failover, see `undaunted.sqlalchemy.unit_of_work`.

    Args:
        target: The cluster's name, or a model base or mapped class that names it.

    Returns:
        The same engine each time; closed by `undaunted.close`.

    Raises:
        ConfigurationError: There is no such cluster, or the settings are wrong.
    """
    return cluster_of(target).writer


def async_engine(target: Any) -> AsyncEngine:
    """The same for asyncio; see `engine`."""
    return cluster_of(target).async_writer
