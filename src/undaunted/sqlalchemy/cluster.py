"""One cluster: its engines, what is known of its nodes, and the guard of its calls."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from undaunted.core.budget import Budget
from undaunted.core.outage import Outage
from undaunted.engine.guard import Guard
from undaunted.sqlalchemy.errors import error_classes
from undaunted.sqlalchemy.faults import classify
from undaunted.sqlalchemy.settle import settle
from undaunted.sqlalchemy.targets import DEFAULTS, cluster_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from undaunted.backend import ClusterContext
    from undaunted.config import SQLAlchemySettings
    from undaunted.sqlalchemy.sights import Sight
    from undaunted.sqlalchemy.tokens import Token

__all__ = ["Cluster", "cluster_of"]


class Cluster:
    """One opened cluster."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self.name = context.name
        self.settings = settings = cast("SQLAlchemySettings", context.cluster)
        self._guard = Guard(
            cluster=context.name,
            backend="sqlalchemy",
            policy=context.settings.policy_for(settings),
            budget=Budget(context.settings.budget_for(settings)),
            outage=Outage(),
            classify=classify,
            errors=error_classes(),
            publish=context.publish,
            settle=settle,
        )
        if settings.default:
            DEFAULTS.append(self.name)
        self._writer: sa.Engine | None = None
        self._async_writer: AsyncEngine | None = None

    @property
    def guard(self) -> Guard:
        """What its calls are guarded with."""
        return self._guard

    @property
    def is_postgresql(self) -> bool:
        """Whether its nodes and their roles are known; else it is one database with one engine."""
        return self.settings.is_postgresql

    @property
    def writer(self) -> sa.Engine:
        """The engine whose connections go to the node that takes writes now."""
        if self._writer is None:
            self._writer = sa.create_engine(self._url(self.settings.nodes[0] if self.settings.nodes else None))
        return self._writer

    @property
    def async_writer(self) -> AsyncEngine:
        """The same for asyncio."""
        if self._async_writer is None:
            url = self._url(self.settings.nodes[0] if self.settings.nodes else None)
            self._async_writer = create_async_engine(url)
        return self._async_writer

    def engine_of(self, address: str) -> sa.Engine:  # noqa: ARG002
        """The engine of one node."""
        return self.writer

    def async_engine_of(self, address: str) -> AsyncEngine:  # noqa: ARG002
        """The engine of one node, for asyncio."""
        return self.async_writer

    @property
    def primary(self) -> str | None:
        """The node that takes writes, as far as is known; None while there is none."""
        return self.settings.nodes[0] if self.is_postgresql else None

    def sights(self) -> tuple[Sight, ...]:
        """Every node as it was last seen."""
        return ()

    def suspect(self, address: str) -> None:
        """Have a node looked at now, since a call has failed there."""

    def readers(self, *, after: Token | None, avoid: Collection[str] = ()) -> list[str]:  # noqa: ARG002
        """The replicas that have replayed `after` and may serve a reader, the best first; may be empty."""
        return []

    def token_since(self, committed_s: float) -> Token | None:  # noqa: ARG002
        """A position behind every commit that had returned by `committed_s` (monotonic); None while none is known."""
        return None

    def acknowledged(self, token: Token) -> None:
        """Note a position that is certainly within what has been committed."""

    def status(self) -> Mapping[str, Any]:
        """Nodes, roles and state as plain data; asks no node and waits for none."""
        return {"nodes": [], "primary": self.primary}

    def close(self) -> None:
        """Close every connection and forget the cluster. May be called twice."""
        with contextlib.suppress(ValueError):
            DEFAULTS.remove(self.name)
        if self._writer is not None:
            self._writer.dispose()
        if self._async_writer is not None:
            self._async_writer.sync_engine.dispose(close=False)

    def _url(self, node: str | None) -> sa.URL:
        assert self.settings.url is not None  # noqa: S101  # the settings require it
        url = sa.make_url(self.settings.url.reveal())
        if node is None:
            return url
        host, _, port = node.rpartition(":")
        return url.set(drivername="postgresql+psycopg", host=host.strip("[]"), port=int(port))
