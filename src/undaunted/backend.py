"""What a database must give to be kept undaunted, and what it is given: the seam between registry and backends.

May import `undaunted.engine`, `undaunted.config`, `undaunted.events` and what these stand on. A backend is found by the
entry point ``undaunted.backends``; it never imports the registry, which it reaches through `directory`.
"""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from undaunted.config import ClusterSettings, ModelSettings, Settings
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard
    from undaunted.events import Event

__all__ = ["Backend", "ClusterContext", "Directory", "Handle", "directory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterContext:
    """What a backend is given to open a cluster.

    Attributes:
        name: The cluster's name, which becomes its alias in the ORM.
        cluster: Its settings.
        settings: All settings, for profiles and models.
        publish: Takes events.
    """

    name: str
    cluster: ClusterSettings
    settings: Settings
    publish: Callable[[Event], None]


class Handle(Protocol):
    """One opened cluster."""

    @property
    def guard(self) -> Guard:
        """What its calls are guarded with."""
        ...

    def begin(self) -> None:
        """Begin to watch the nodes in this process, where nothing does yet; in the background, without waiting."""
        ...

    def status(self) -> Mapping[str, Any]:
        """Nodes, roles and state as plain data; asks no node and waits for none.

        Among them ``"nodes"``, a list with ``"address"``, ``"role"``, ``"latency_ms"`` and ``"error"`` of each, and
        ``"begun"``: whether they are watched in this process. The latency is the time of the node's last answer, to a
        monitor or, on Cassandra, which has none while a node is well, to a statement.
        """
        ...

    def close(self) -> None:
        """Close every connection and forget the alias. May be called twice."""
        ...


class Backend(Protocol):
    """One kind of database."""

    def open(self, context: ClusterContext) -> Handle:
        """Register the cluster with the ORM under its name; connects to nothing yet.

        Raises:
            ConfigurationError: The driver is too old, or the settings cannot be used with it.
        """
        ...


class Directory(Protocol):
    """The registry, as a backend sees it."""

    def handle(self, cluster: str) -> Handle:
        """The opened cluster of this name; reads the settings first where nobody has.

        Raises:
            ConfigurationError: There is no such cluster, or the settings are wrong.
        """
        ...

    def knows(self, cluster: str) -> bool:
        """Whether the settings name this cluster; reads them first where nobody has."""
        ...

    def policy(
        self, cluster: str, *, profile: str | None = None, model: str | None = None, declared: Any = None
    ) -> Policy:
        """What bounds a call of this cluster (see `undaunted.config.Settings.policy_for`)."""
        ...

    def models(self, cluster: str) -> Mapping[str, ModelSettings]:
        """What ``[models]`` says, by dotted path; empty while no such cluster is open. Reads no settings by itself."""
        ...

    def publish(self, event: Event) -> None:
        """Hand an event to everybody who listens."""
        ...


@functools.cache  # it is asked several times for each call
def directory() -> Directory:
    """The registry. Found by name, since imports point from it to the backends and never back."""
    return cast("Directory", importlib.import_module("undaunted.registry").REGISTRY)
