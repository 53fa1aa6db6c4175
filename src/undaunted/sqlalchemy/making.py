"""Making the engines of a cluster: SQLAlchemy's own, with our way of connecting, and with our listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from undaunted.errors import ConfigurationError, Problem
from undaunted.sqlalchemy.pools import AsyncPool, Pool, patient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.config import SQLAlchemySettings
    from undaunted.sqlalchemy.connecting import Connector
    from undaunted.sqlalchemy.listeners import Listeners

__all__ = ["Maker"]


class Maker:
    """One per cluster; see `undaunted.sqlalchemy.cluster.Cluster` for its arguments."""

    def __init__(
        self,
        name: str,
        settings: SQLAlchemySettings,
        *,
        url: sa.URL,
        options: Mapping[str, Any],
        connector: Connector,
        listeners: Listeners,
    ) -> None:
        self._name, self._settings, self._url, self._options = name, settings, url, options
        self._connector, self._listeners = connector, listeners

    def engine(self, place: str | None) -> sa.Engine:
        """The engine of a node, or of whichever takes writes.

        Raises:
            ConfigurationError: SQLAlchemy refuses an option, or the driver is one for asyncio only.
        """
        if not self._settings.is_postgresql:
            if self._url.get_dialect().is_async:
                raise ConfigurationError(
                    problems=[
                        Problem(
                            f"clusters.{self._name}.url",
                            f"names the driver {self._url.get_driver_name()!r}, which is for asyncio only; use "
                            "async_engine, or name another driver.",
                        )
                    ]
                )
            only: sa.Engine = self._made(sa.create_engine, self._url, self._pool(Pool))
            return only
        connector = self._connector

        def creator(connection_record: Any) -> Any:
            return connector.connect(made.dialect, connection_record, place)

        kind = patient(Pool, lambda: connector.is_busy(place))
        made: sa.Engine = self._made(sa.create_engine, self._url, {**self._pool(kind), "creator": creator})
        self._listeners.attach(made)
        return made

    def async_engine(self, place: str | None) -> AsyncEngine:
        """The same for asyncio."""
        if not self._settings.is_postgresql:
            only: AsyncEngine = self._made(create_async_engine, self._url, self._pool(AsyncPool))
            return only
        connector = self._connector

        def creator(connection_record: Any) -> Any:
            dialect = made.sync_engine.dialect

            async def connect() -> Any:
                return await connector.connect_async(dialect, connection_record, place)

            return dialect.loaded_dbapi.connect(async_creator_fn=connect)

        kind = patient(AsyncPool, lambda: connector.is_busy(place))
        made: AsyncEngine = self._made(create_async_engine, self._url, {**self._pool(kind), "creator": creator})
        self._listeners.attach(made.sync_engine)
        return made

    def _pool(self, kind: type[QueuePool]) -> dict[str, Any]:
        """What the pool is made with; nothing for a database whose own kind of pool is another, such as SQLite's."""
        dialect: Any = self._url.get_dialect()  # SQLAlchemy declares less of it than it has
        usual: type = dialect.get_pool_class(self._url)
        if not issubclass(usual, QueuePool):
            return {}
        pool = self._settings.pool
        return {
            "poolclass": kind,
            "pool_size": pool.size,
            "max_overflow": pool.max_overflow,
            "pool_timeout": pool.timeout,
            "pool_recycle": -1 if pool.recycle is None else pool.recycle,
            "pool_use_lifo": True,
        }

    def _made(self, make: Any, url: sa.URL, given: dict[str, Any]) -> Any:
        options = {
            name: value for name, value in self._options.items() if "creator" not in given or name != "connect_args"
        }
        try:
            return make(url, **{**given, **options})
        except (TypeError, exc.ArgumentError, exc.InvalidRequestError) as error:
            problem = Problem(f"clusters.{self._name}.options", f"SQLAlchemy refuses them: {error}")
            raise ConfigurationError(problems=[problem]) from error
