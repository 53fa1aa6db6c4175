"""One run of tests: turning the clusters to databases of its own, making these, and dropping them."""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from undaunted.engine.context import options
from undaunted.errors import ConfigurationError, UndauntedError
from undaunted.registry import REGISTRY
from undaunted.testing.databases.names import renamed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from undaunted.config import Loaded
    from undaunted.testing.databases.names import Renamed

__all__ = ["Databases"]

_STEP_S = 60.0
"""How long one step may take with one cluster, such as creating a keyspace or dropping a database."""


class _Kind(Protocol):
    """What a module of this package does for one kind of database; each may be called again."""

    def turn(self, one: Renamed, *, suffix: str) -> Callable[[], None] | None:
        """Turn models that name their keyspace themselves; returns what turns them back."""
        ...

    def existing(self, one: Renamed) -> Iterable[str]:
        """Which of the run's databases are there."""
        ...

    def drop(self, one: Renamed) -> None:
        """Drop the run's databases, where they are there."""
        ...

    def create(self, one: Renamed) -> None:
        """Create them, where they are missing."""
        ...

    def fill(self, one: Renamed) -> None:
        """Make tables and indexes of all models that live there."""
        ...


def _kind_of(one: Renamed) -> _Kind:
    return cast("_Kind", importlib.import_module(f"undaunted.testing.databases.of_{one.real.backend}"))


class Databases:
    """The databases of one run of tests.

    Args:
        suffix: What tells runs apart that go on at the same time on the same servers, such as ``"_gw0"``.
        names: Names of the application's own choice, by cluster; default ``test_`` and the real name.

    Example:
        >>> databases = Databases()
        >>> databases.turn()            # from here on no cluster of this process is a real one  # doctest: +SKIP
        >>> databases.make()            # doctest: +SKIP
        >>> databases.drop()            # doctest: +SKIP
        >>> databases.turn_back()       # doctest: +SKIP
    """

    def __init__(self, *, suffix: str = "", names: Mapping[str, str] | None = None) -> None:
        self.suffix = suffix
        self._names = dict(names or {})
        self._real: Loaded | None = None
        self._clusters: tuple[Renamed, ...] = ()
        self._back: list[Callable[[], None]] = []

    @property
    def clusters(self) -> tuple[Renamed, ...]:
        """The clusters, as they are and as the tests use them; empty before `turn`."""
        return self._clusters

    def turn(self) -> None:
        """Turn every cluster of this process to the run's own databases; connects to nothing.

        Called again it takes the settings that the registry has now.

        Raises:
            NoTestDatabase: A cluster cannot have one. Nothing is registered any more then, and whoever asks for a
                cluster is told so: nothing real is used.
        """
        self._turn(REGISTRY.loaded)

    def change(self, suffix: str) -> None:
        """Turn to the databases of another suffix, as each worker of a parallel run does; connects to nothing."""
        assert self._real is not None  # noqa: S101  # after `turn`
        self.suffix = suffix
        self._turn(self._real)

    def _turn(self, real: Loaded) -> None:
        self._models_back()
        REGISTRY.close()
        try:
            trial, self._clusters = renamed(real, suffix=self.suffix, names=self._names)
            REGISTRY.take(trial)
        except ConfigurationError as error:
            REGISTRY.refuse(error)  # the next to ask would get what file and environment name: the real ones
            raise
        self._real = real
        self._models_along()

    def turn_back(self) -> None:
        """Turn every cluster back to the real settings. May be called twice."""
        self._models_back()
        real, self._real, self._clusters = self._real, None, ()
        if real is not None:
            REGISTRY.take(real)

    def existing(self) -> list[str]:
        """Which of the run's databases are there already, as a run that was killed leaves them."""
        return [name for one in self._distinct() for name in self._step(_kind_of(one).existing, one)]

    def make(self, *, keep: bool = False) -> None:
        """Create the databases anew, with the tables, types and indexes of all models, and the tables of keys.

        Args:
            keep: Whether to take what is there, and only add what is missing.

        Raises:
            UndauntedError: A server cannot be reached, or refuses it.
        """
        self._models_back()
        self._models_along()  # some may have been imported since
        with _one_at_a_time(self._clusters):
            if not keep:
                self._drop()
            for one in self._distinct():
                self._step(_kind_of(one).create, one)
            for one in self._clusters:
                self._step(_kind_of(one).fill, one)

    def drop(self) -> None:
        """Drop the databases; they may be gone already.

        Raises:
            UndauntedError: A server cannot be reached, or refuses it.
        """
        with _one_at_a_time(self._clusters):
            self._drop()

    def _drop(self) -> None:
        ours = self._distinct()
        of_sql = [one for one in ours if one.real.backend == "sqlalchemy"]
        if of_sql:
            trial = REGISTRY.loaded
            REGISTRY.close()  # nobody is to be connected to a database that is dropped
            try:
                for one in of_sql:
                    self._step(_kind_of(one).drop, one)
            finally:  # for the same reason as in `_turn`
                REGISTRY.take(trial)
        for one in ours:
            if one not in of_sql:
                self._step(_kind_of(one).drop, one)

    def _step(self, step: Callable[[Renamed], Any], one: Renamed) -> Any:
        if not one.is_apart:  # `renamed` has seen to it; so much hangs on it that it is looked at twice
            raise UndauntedError(f"cluster {one.name!r} still has its real database {one.real_database!r}")
        with options(deadline=_STEP_S):
            return step(one)

    def _distinct(self) -> list[Renamed]:
        """Clusters may share one database, which is made and dropped once."""
        found: dict[Any, Renamed] = {}
        for one in self._clusters:
            found.setdefault((one.real.backend, one.real.nodes, one.trial_database), one)
        return list(found.values())

    def _models_along(self) -> None:
        for one in self._clusters:
            back = _kind_of(one).turn(one, suffix=self.suffix)
            if back is not None:
                self._back.append(back)

    def _models_back(self) -> None:
        backs, self._back = self._back, []
        for back in reversed(backs):
            back()


@contextmanager
def _one_at_a_time(clusters: Iterable[Renamed]) -> Generator[None]:
    """Let the workers of one run change schemas one after the other: Cassandra's nodes disagree else."""
    told = repr(sorted((one.real.backend, one.real.nodes, one.real_database or "") for one in clusters))
    mark = hashlib.sha256(told.encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"undaunted-tests-{os.getuid()}-{mark}.lock"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
