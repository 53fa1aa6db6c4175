"""One cluster: its engines, what is known of its nodes, and the guard of its calls."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Any, cast

from undaunted.config.secrets import Secret
from undaunted.core.budget import Budget
from undaunted.core.outage import Outage
from undaunted.engine.guard import Guard
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy import diagnosis
from undaunted.sqlalchemy.connecting import Connector
from undaunted.sqlalchemy.deadlines import Deadlines
from undaunted.sqlalchemy.errors import error_classes
from undaunted.sqlalchemy.faults import classify
from undaunted.sqlalchemy.links import Links
from undaunted.sqlalchemy.listeners import Listeners
from undaunted.sqlalchemy.making import Maker
from undaunted.sqlalchemy.monitor import Monitor
from undaunted.sqlalchemy.settle import settle
from undaunted.sqlalchemy.targets import DEFAULTS, cluster_of
from undaunted.sqlalchemy.urls import libpq_parameters, url_of
from undaunted.sqlalchemy.waiting import pause
from undaunted.sqlalchemy.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import sqlalchemy as sa
    from sqlalchemy.ext.asyncio import AsyncEngine

    from undaunted.backend import ClusterContext
    from undaunted.config import SQLAlchemySettings
    from undaunted.sqlalchemy.sights import Sight
    from undaunted.sqlalchemy.tokens import Token

__all__ = ["Cluster", "cluster_of"]

_LOG = logging.getLogger("undaunted.sqlalchemy")


class Cluster:
    """One opened cluster; connects to nothing until it is used.

    Attributes:
        name: Its name.
        settings: Its settings.
        is_postgresql: Whether its nodes and their roles are known; else it is one database with one engine.
        is_closed: Whether it has been closed.
        key_tables: The tables of keys that a unit of work has found there.
    """

    def __init__(self, context: ClusterContext) -> None:
        self.name = context.name
        self.settings = settings = cast("SQLAlchemySettings", context.cluster)
        self._guard = guard = Guard(
            cluster=context.name,
            backend="sqlalchemy",
            policy=context.settings.policy_for(settings),
            budget=Budget(context.settings.budget_for(settings)),
            outage=Outage(),
            classify=classify,
            errors=error_classes(),
            publish=context.publish,
            diagnose=self._diagnose,
            renew=self._renew,
            settle=settle,
            sleep=pause,
        )
        self._url = url_of(self.name, settings)
        self._options = {
            name: value.reveal() if isinstance(value, Secret) else value for name, value in settings.options.items()
        }
        self.is_postgresql = settings.is_postgresql
        self._lock = threading.RLock()
        self.is_closed = False
        self.key_tables: set[str] = set()
        self._monitors: dict[str, Monitor] | None = None
        self._engines: dict[str | None, sa.Engine] = {}
        self._async_engines: dict[str | None, AsyncEngine] = {}
        self._links = Links()
        self._deadlines = Deadlines(self._links)
        self._watch = watch = Watch(guard, settings.nodes if self.is_postgresql else (), cut=self._cut)
        self._listeners = Listeners(guard, watch, self._links, self._deadlines, self.suspect)
        self._connector = Connector(
            guard,
            settings,
            watch,
            self._links,
            url=self._url,
            connect_args=self._connect_args,
            begin=self.begin,
            suspect=self.suspect,
            fatal=self._fatal,
            diagnose=self._diagnose,
            prepare=self._listeners.prepare,
        )
        self._maker = Maker(
            self.name,
            settings,
            url=self._url,
            options=self._options,
            connector=self._connector,
            listeners=self._listeners,
        )
        if settings.default:
            DEFAULTS.append(self.name)

    # -- engines -----------------------------------------------------------------------------------

    @property
    def guard(self) -> Guard:
        """What its calls are guarded with."""
        return self._guard

    @property
    def writer(self) -> sa.Engine:
        """The engine whose connections go to the node that takes writes at that moment."""
        return self._engines.get(None) or self._engine(None)

    @property
    def async_writer(self) -> AsyncEngine:
        """The same for asyncio."""
        return self._async_engines.get(None) or self._async_engine(None)

    def engine_of(self, address: str) -> sa.Engine:
        """The engine of one node, whatever its role; the only one there is where it is no PostgreSQL."""
        place = address if self.is_postgresql else None
        return self._engines.get(place) or self._engine(place)

    def async_engine_of(self, address: str) -> AsyncEngine:
        """The same for asyncio."""
        place = address if self.is_postgresql else None
        return self._async_engines.get(place) or self._async_engine(place)

    def _engine(self, place: str | None) -> sa.Engine:
        with self._lock:
            self._check_open()
            if place not in self._engines:
                self._engines[place] = self._maker.engine(place)
            return self._engines[place]

    def _async_engine(self, place: str | None) -> AsyncEngine:
        with self._lock:
            self._check_open()
            if place not in self._async_engines:
                self._async_engines[place] = self._maker.async_engine(place)
            return self._async_engines[place]

    # -- nodes -------------------------------------------------------------------------------------

    @property
    def primary(self) -> str | None:
        """The node that takes writes, as far as is known; None while there is none. Asks nothing."""
        return self._watch.primary

    def sights(self) -> tuple[Sight, ...]:
        """Every node as it was last seen. Asks nothing."""
        return self._watch.sights()

    def suspect(self, address: str) -> None:
        """Have a node looked at now, since a call has failed there."""
        monitor = (self._monitors or {}).get(address)
        if monitor is not None:
            monitor.look_now()

    def readers(self, *, after: Token | None, avoid: Collection[str] = ()) -> list[str]:
        """The replicas that may serve a reader, the one whose turn it is first; may be empty. Asks nothing.

        Args:
            after: What they must have replayed; None where anything will do.
            avoid: Nodes that the caller has met a failure on.
        """
        self.begin()
        return self._watch.readers(after=after, avoid=avoid)

    def token_since(self, committed_s: float) -> Token | None:
        """A position behind every commit that had returned by then (monotonic).

        None while the primary has not been asked since; then only the primary itself is sure to know of them.
        """
        return self._watch.token_since(committed_s)

    def acknowledged(self, token: Token) -> None:
        """Note a position that is certainly within what has been committed, to find out when a promotion loses it."""
        self._watch.acknowledged(token)

    # -- monitors ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the monitors, where they do not run yet in this process."""
        if self._monitors is not None or not self.is_postgresql:
            return
        with self._lock:
            self._check_open()
            if self._monitors is None:
                self._monitors = self._started()

    def _started(self) -> dict[str, Monitor]:
        parameters = libpq_parameters(self._url, self._connect_args)
        monitors = {
            address: Monitor(self._watch, address, self.settings, parameters) for address in self.settings.nodes
        }
        self._watch.begin()
        for monitor in monitors.values():
            monitor.start()
        return monitors

    @property
    def _connect_args(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._options.get("connect_args") or {})

    def _cut(self, address: str) -> None:
        """A node has been lost, or replaced: nobody is to wait for it any longer."""
        watch = self._watch
        self._connector.abandon(address)
        self._links.cut(
            lambda link: link.node == address and not watch.is_current(address, link.epoch, for_writes=link.for_writes)
        )

    def _fatal(self, address: str | None) -> Exception | None:
        watch = self._watch
        if address is None and watch.primary is not None:
            return None
        return diagnosis.fatal(self.name, watch.sights(), identity=watch.identity, address=address)

    def _diagnose(self) -> str | None:
        watch = self._watch
        if self._monitors is None:
            return None
        return diagnosis.diagnose(self.name, watch.sights(), primary=watch.primary, newest=watch.newest)

    # -- life --------------------------------------------------------------------------------------

    def status(self) -> Mapping[str, Any]:
        """Nodes, roles and state as plain data; asks no node and waits for none."""
        watch = self._watch
        return {
            "nodes": [
                {
                    "address": sight.address,
                    "role": sight.role,
                    "latency_ms": None if sight.latency_s is None else round(sight.latency_s * 1000, 2),
                    "error": sight.error,
                    "timeline": sight.timeline,
                    "lsn": sight.lsn,
                }
                for sight in watch.sights()
            ],
            "begun": self._monitors is not None,
            "primary": watch.primary,
            "contested": list(watch.contested),
            "lost_acknowledged": watch.lost_acknowledged,
            "weakened_commits": self._listeners.weakened,
            "connections": len(self._links.all()),
        }

    def close(self) -> None:
        """Close every connection, end the monitors and forget the cluster. May be called twice."""
        with self._lock:
            self.is_closed = True
            monitors, self._monitors = self._monitors, None
            engines, self._engines = self._engines, {}
            async_engines, self._async_engines = self._async_engines, {}
        with contextlib.suppress(ValueError):
            DEFAULTS.remove(self.name)
        for monitor in (monitors or {}).values():
            monitor.stop()
        for engine in engines.values():
            engine.dispose()
        self._close_async(async_engines)
        for address, monitor in (monitors or {}).items():
            if not monitor.join(5.0):
                _LOG.warning("cluster %r: the monitor of %s had not ended 5 s after it was stopped", self.name, address)
        self._deadlines.close()
        self._guard.outage.reset()

    def _close_async(self, engines: Mapping[str | None, AsyncEngine]) -> None:
        """Close what async engines have, without their loop, which may be gone and may not be ours."""
        for engine in engines.values():
            engine.sync_engine.dispose(close=False)
        for link in self._links.all():
            if link.is_async and link.is_lent:
                link.cut()
            elif link.is_async:
                link.abandon()

    def _renew(self) -> None:
        """In a forked child: the connections are the parent's, and its threads do not exist here."""
        self._lock = threading.RLock()
        self._monitors = None
        for engine in self._engines.values():
            engine.dispose(close=False)
        for async_engine in self._async_engines.values():
            async_engine.sync_engine.dispose(close=False)
        self._links.leave()
        self._deadlines.begin_anew()
        self._watch.begin_anew()
        self._connector.begin_anew()

    def _check_open(self) -> None:
        if self.is_closed:
            raise ConfigurationError(f"Cluster {self.name!r} has been closed.")
