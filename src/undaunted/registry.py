"""Cluster name -> opened cluster: read once, opened lazily, renewed in a forked child, closed in order.

May import `undaunted.backend` and what that stands on. Backends are loaded by entry point when a cluster of theirs is
configured, so that no driver is imported before.
"""

from __future__ import annotations

import atexit
import threading
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from undaunted.backend import ClusterContext
from undaunted.engine.forks import in_forked_child
from undaunted.errors import ConfigurationError, Problem
from undaunted.events import Bus

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from undaunted.backend import Backend, Handle
    from undaunted.config import Loaded, ModelSettings, Settings
    from undaunted.core.policy import Policy
    from undaunted.events import Event

__all__ = ["REGISTRY", "Registry"]

ENTRY_POINTS = "undaunted.backends"


class Registry:
    """The clusters of this process. One object, `REGISTRY`; a fork's child renews it and keeps the settings."""

    def __init__(self) -> None:
        self.bus = Bus()
        self._lock = threading.RLock()
        self._loaded: Loaded | None = None
        self._is_found = False  # nobody gave the settings: they were looked for, since something asked
        self._refused: ConfigurationError | None = None
        self._handles: dict[str, Handle] = {}

    # -- settings -------------------------------------------------------------------------------

    def configure(
        self,
        source: Mapping[str, Any] | str | os.PathLike[str] | None = None,
        *,
        framework: Mapping[str, Any] | None = None,
        framework_name: str = "framework settings",
    ) -> None:
        """Read the settings and register every cluster with its ORM; connects to nothing.

        Called again, it closes what was open and begins anew. Nothing changes when the settings are wrong; where only
        opening a cluster finds that, what was open is opened again.

        Raises:
            ConfigurationError: Something is wrong; lists every mistake.
        """
        from undaunted.config import load  # noqa: PLC0415  # not on the path of a bare import

        loaded = load(source, framework=framework, framework_name=framework_name)
        with self._lock:
            self._replace(loaded)

    def add(
        self, framework: Mapping[str, Any] | None = None, *, framework_name: str = "framework settings"
    ) -> Settings:
        """Register the clusters of one more application of this process besides those that are there.

        The first application's settings are taken as `configure` takes them. What was only found, because something
        asked before any application came, is replaced. The same settings once more change nothing.

        Args:
            framework: The application's settings; None for those that this process has, or else for what the file and
                the environment say.
            framework_name: What errors call these.

        Returns:
            The settings of this application, without what others have added.

        Raises:
            ConfigurationError: Something is wrong, or contradicts an application that is there already; lists every
                mistake, and nothing has changed.
        """
        from undaunted.config import joined, load  # noqa: PLC0415

        present = self._loaded
        if framework is None and present is not None:
            return present.settings
        loaded = load(framework=framework, framework_name=framework_name)
        with self._lock:
            if self._loaded is None or self._is_found:
                self._replace(loaded)
                return loaded.settings
            union = joined(self._loaded.settings, loaded.settings)
            origins = {**loaded.origins, **self._loaded.origins}
            new = [name for name in union.clusters if name not in self._loaded.settings.clusters]
            self._open_all(replace(self._loaded, settings=union, origins=origins), new)
        return loaded.settings

    def take(self, loaded: Loaded) -> None:
        """Register the clusters of settings that have been read already, in the place of what is there.

        For whoever changes settings beneath all their sources, as a run of tests does that must never meet a real
        database.

        Raises:
            ConfigurationError: A driver is missing, or refuses the settings. Nothing is registered any more then.
        """
        with self._lock:
            self.close()
            self._open_all(loaded, loaded.settings.clusters)

    def refuse(self, error: ConfigurationError) -> None:
        """Close every cluster, and tell this to whoever uses one, until other settings are given.

        For a framework that goes on although its settings are wrong. What only the file and the environment say is
        another database, perhaps: it is not used in the place of what the application meant.
        """
        with self._lock:
            try:
                self.close()
            finally:
                self._refused = error

    def _replace(self, loaded: Loaded) -> None:
        """Take these settings in the place of what is there, which holds again when one of them cannot be opened.

        Two cannot be open side by side: an ORM knows one cluster of a name.
        """
        before, is_found, refused = self._loaded, self._is_found, self._refused
        self.close()
        try:
            self._open_all(loaded, loaded.settings.clusters)
        except BaseException:
            self._refused = refused
            if before is not None:
                self._open_all(before, before.settings.clusters)
                self._is_found = is_found
            raise

    def _open_all(self, loaded: Loaded, names: Iterable[str]) -> None:
        """Take these settings and open these clusters of them, or, when one cannot be opened, leave all as it was."""
        before, self._loaded, opened = self._loaded, loaded, list[str]()
        try:
            for name in names:
                self._handles[name] = self._open(name, loaded)
                opened.append(name)
        except BaseException:
            self._loaded = before
            for name in reversed(opened):
                self._handles.pop(name).close()
            raise

    @property
    def loaded(self) -> Loaded:
        """The settings, read from file and environment where nobody has configured any.

        Raises:
            ConfigurationError: They are wrong, or were refused.
        """
        loaded = self._loaded
        if loaded is None:
            with self._lock:
                if self._loaded is None:
                    if self._refused is not None:  # a new one, since each is raised with a traceback of its own
                        raise ConfigurationError(str(self._refused), problems=self._refused.problems)
                    self.configure()
                    self._is_found = True
                loaded = self._loaded
            assert loaded is not None  # noqa: S101  # configure sets it or raises
        return loaded

    def _open(self, name: str, loaded: Loaded) -> Handle:
        cluster = loaded.settings.clusters[name]
        backend = self._backend(cluster.backend, f"clusters.{name}.backend")
        context = ClusterContext(name=name, cluster=cluster, settings=loaded.settings, publish=self.bus.publish)
        return backend.open(context)

    @staticmethod
    def _backend(name: str, path: str) -> Backend:
        for entry in entry_points(group=ENTRY_POINTS):
            if entry.name == name:
                try:
                    made: Backend = entry.load()()
                except ImportError as error:
                    missing = error.name or "a package"
                    problem = Problem(
                        path, f"{name} needs {missing}, which is missing: pip install 'undaunted[{name}]'."
                    )
                    raise ConfigurationError(problems=[problem]) from error
                return made
        known = ", ".join(sorted(entry.name for entry in entry_points(group=ENTRY_POINTS)))
        raise ConfigurationError(problems=[Problem(path, f"no backend {name!r} is installed; there are {known}.")])

    # -- what backends ask for (see undaunted.backend.Directory) ---------------------------------

    def handle(self, cluster: str) -> Handle:
        """The opened cluster of this name.

        Raises:
            ConfigurationError: There is no such cluster, or the settings are wrong.
        """
        found = self._handles.get(cluster)
        if found is not None:
            return found
        with self._lock:
            loaded = self.loaded
            loaded.settings.cluster(cluster)  # raises for an unknown one, and names the known
            if cluster not in self._handles:
                self._handles[cluster] = self._open(cluster, loaded)
            return self._handles[cluster]

    def knows(self, cluster: str) -> bool:
        """Whether the settings name this cluster."""
        return cluster in self._handles or cluster in self.loaded.settings.clusters

    def policy(
        self, cluster: str, *, profile: str | None = None, model: str | None = None, declared: Any = None
    ) -> Policy:
        """What bounds a call of this cluster."""
        return self.loaded.settings.policy_for(cluster, profile, model, declared=declared)

    def models(self, cluster: str) -> Mapping[str, ModelSettings]:
        """What ``[models]`` says, by dotted path; empty while no such cluster is open."""
        loaded = self._loaded
        return loaded.settings.models if loaded is not None and cluster in self._handles else {}

    def publish(self, event: Event) -> None:
        """Hand an event to everybody who listens."""
        self.bus.publish(event)

    # -- what an application asks for -------------------------------------------------------------

    def subscribe(self, listener: Callable[[Any], object], *event_types: type[Event]) -> Callable[[], None]:
        """Call `listener` with each event of these types, or with every event; returns what ends that."""
        return self.bus.subscribe(listener, *event_types)

    def begin(self) -> None:
        """Have every cluster watched in this process from now on; in the background, and waits for nothing.

        Raises:
            ConfigurationError: The settings, which are read where nobody has, are wrong.
        """
        for name in self.loaded.settings.clusters:
            self.handle(name).begin()

    def status(self) -> dict[str, Any]:
        """Clusters, nodes, roles, outages, budgets and the last 100 events, as plain data for JSON; asks no node."""
        with self._lock:
            handles = dict(self._handles)
        return {
            "clusters": {name: self._status_of(handle) for name, handle in handles.items()},
            "events": [event.as_dict() for event in self.bus.recent()],
        }

    @staticmethod
    def _status_of(handle: Handle) -> dict[str, Any]:
        guard = handle.guard
        outage = guard.outage
        return {
            "backend": guard.backend,
            "fail_fast_after_s": guard.policy.patience_s,
            "reads": guard.policy.reads,
            "waiting": guard.waiting.as_dict(guard.clock.monotonic()),
            "budget": {"tokens": round(guard.budget.tokens, 1), "capacity": guard.budget.capacity},
            "outage": {
                "without_primary_s": round(outage.age_s(needs_primary=True), 3),
                "without_node_s": round(outage.age_s(needs_primary=False), 3),
            },
            **handle.status(),
        }

    def close(self) -> None:
        """Close every cluster, the last opened first, and forget the settings. May be called twice."""
        with self._lock:
            handles, self._handles, self._loaded = list(self._handles.values()), {}, None
            self._is_found, self._refused = False, None
            errors: list[Exception] = []
            for handle in reversed(handles):
                try:
                    handle.close()
                except Exception as error:  # noqa: BLE001  # the others must be closed all the same
                    errors.append(error)
            if errors:
                raise errors[0]

    def after_fork_in_child(self) -> None:
        """Begin anew with fresh locks: another thread of the parent may have held them."""
        self._lock = threading.RLock()
        self.bus.after_fork_in_child()
        for handle in self._handles.values():
            handle.guard.after_fork_in_child()


REGISTRY = Registry()
"""The clusters of this process: the only state that the library keeps."""

in_forked_child(REGISTRY.after_fork_in_child)
atexit.register(REGISTRY.close)
