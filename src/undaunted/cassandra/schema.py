"""Makes the tables and types of models, all in one call: `sync`."""

# ruff: noqa: SLF001  (cqlengine has no public names for a model's columns, keyspace and table)

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import cassandra
from cassandra.cqlengine import CQLEngineException, columns
from cassandra.cqlengine import connection as registered
from cassandra.cqlengine import models as cqlengine
from cassandra.cqlengine.management import CQLENG_ALLOW_SCHEMA_MANAGEMENT, sync_table, sync_type
from cassandra.protocol import ErrorMessage

from undaunted.backend import directory
from undaunted.cassandra import connection
from undaunted.cassandra.places import place_of
from undaunted.cassandra.progress import Synced, line_for
from undaunted.cassandra.scope import path_of
from undaunted.cassandra.words import server_words
from undaunted.engine.context import options
from undaunted.engine.forks import in_forked_child
from undaunted.errors import ConfigurationError, UndauntedError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from undaunted.cassandra.progress import Outcome

__all__ = ["SyncError", "defined", "sync"]

_STEP_S = 60.0
"""How long one table or type may take, nodes that come to agree included; an earlier deadline of the caller holds."""
_AGREE_S = 10.0
_PAUSE_S = 0.2
_MET_ANOTHER = ("already exist", "conflicts with")
"""What a server says to a change that somebody else has made a moment ago; but for tables it has no code for it."""


class SyncError(UndauntedError, CQLEngineException):  # type: ignore[misc]  # cqlengine is untyped
    """A table or a type could not be made. What was made before it stays; mend what is named, and call `sync` again.

    Attributes:
        model: Dotted path of the model or type that it concerns; None where it is a cluster as a whole.
    """

    def __init__(self, message: str | None = None, /, *, model: str | None = None) -> None:
        super().__init__(message)
        self.model = model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One table or type that is to be made."""

    cluster: str
    keyspace: str
    subject: Any
    kind: Literal["type", "table"]

    @property
    def path(self) -> str:
        return (
            path_of(self.subject) if self.kind == "table" else f"{self.subject.__module__}.{self.subject.__qualname__}"
        )

    @property
    def bare_name(self) -> str:
        found: str = self.subject.type_name() if self.kind == "type" else self.subject._raw_column_family_name()
        return found

    @property
    def name(self) -> str:
        return f"{self.keyspace}.{self.bare_name}"

    def take(self) -> None:
        if self.kind == "type":
            sync_type(self.keyspace, self.subject, connection=self.cluster)
        else:
            sync_table(self.subject)

    def definition(self, cluster: Any) -> str | None:
        """What the driver knows of it; None where it is not there."""
        keyspace = cluster.metadata.keyspaces.get(self.keyspace)
        if keyspace is None:
            return None
        found = (keyspace.user_types if self.kind == "type" else keyspace.tables).get(self.bare_name)
        if found is None:
            return None
        return str(found.as_cql_query() if self.kind == "type" else found.export_as_string())


def sync(
    models: Iterable[type] | None = None,
    *,
    clusters: Iterable[str] | None = None,
    progress: bool | Callable[[Synced], object] = True,
) -> tuple[Synced, ...]:
    """Make the tables of models, and the types that they use, or add to them what the models have more.

    Nothing is ever dropped, and no column's type changed. A model lands in the keyspace that it names, else in that of
    its cluster, which must be there (`undaunted provision` makes it). May be called again, and finds nothing to do;
    call it from one process at a time, as with any change of a schema: before the workers start, or when deploying.

    Args:
        models: The models; all that are defined and not abstract by default, of clusters that the settings name.
        clusters: Only models of these clusters; all by default.
        progress: Whether to tell progress on standard error, in a line; or a function that is told of each table and
            type when it is done. Default True.

    Returns:
        Each table and type with what was done to it, types first.

    Raises:
        SyncError: A table or type could not be made; names the model, and has the driver's error as its cause.
        ConfigurationError: A cluster is not there, or a model that was given lives in none of the settings.
        TypeError: What was given is no model, or an abstract one.
        UndauntedError: The nodes of a cluster cannot be reached in time.
    """
    steps = list(_steps(_chosen(models, None if clusters is None else list(clusters))))
    done: list[Synced] = []
    line = line_for(progress)
    try:
        with _PERMISSION.given():
            for name in dict.fromkeys(step.cluster for step in steps):
                _refresh(name, "nothing was changed there")
            for place, step in enumerate(steps, 1):
                line.begins(f"{step.kind} {step.name}", place, len(steps))
                done.append(_take(step, place, len(steps)))
                line.ends(done[-1])
            for name in dict.fromkeys(one.cluster for one in done if one.outcome != "unchanged"):
                _refresh(name, "all tables were made")
    finally:
        line.close()
    return tuple(done)


# -- which models -------------------------------------------------------------------------------------


def _chosen(models: Iterable[type] | None, names: list[str] | None) -> Iterator[tuple[Any, str]]:
    """The models that are meant, each with its cluster."""
    for name in names or ():
        if not isinstance(directory().handle(name), connection.CassandraHandle):
            raise ConfigurationError(f"cluster {name!r} is not of Cassandra; sync makes tables there only.")
    if names is None:
        directory().knows("")  # reads the settings where nobody has, so that untouched models find their clusters
    given: list[Any] = list(defined(cqlengine.Model)) if models is None else list(dict.fromkeys(models))
    for model in given:
        _check(model)
        try:
            cluster = _cluster_of(model)
        except ConfigurationError:
            if models is None and names is not None:
                continue  # of another cluster in any case
            raise
        if cluster is None and models is not None:
            raise ConfigurationError(
                f"{path_of(model)} lives in no cluster of the settings. Name one in __undaunted__ or __connection__, "
                "or give a cluster default = true."
            )
        if cluster is not None and (names is None or cluster in names):
            yield model, cluster


def defined(base: Any) -> Iterator[Any]:
    """Every model that is defined now and not abstract, bases first, each once."""
    seen: dict[Any, None] = {}
    waiting = list(base.__subclasses__())
    while waiting:
        model = waiting.pop(0)
        if model not in seen and not _is_copy(model):
            seen[model] = None
            waiting += model.__subclasses__()
    return (model for model in seen if not model.__abstract__)


def _is_copy(model: Any) -> bool:
    """Whether it is what `ContextQuery` and cqlengine itself make of a model for a moment."""
    base = model.__base__
    return model.__module__ == cqlengine.__name__ and base.__name__ == model.__name__ and base is not cqlengine.Model


def _check(model: Any) -> None:
    if cqlengine.Model not in getattr(model, "__mro__", ()):
        raise TypeError(f"{model!r} is no model of cqlengine; give classes with the base undaunted.cassandra.Model.")
    if model.__abstract__:
        raise TypeError(f"{path_of(model)} is abstract, so it has no table; give the models that are derived from it.")


def _cluster_of(model: Any) -> str | None:
    """The cluster of ours that a model lives in.

    Raises:
        ConfigurationError: The model names one that nobody has declared.
    """
    found = place_of(model).connection
    return str(found.name) if isinstance(found, connection.Connection) else None


# -- in which order -----------------------------------------------------------------------------------


def _steps(models: Iterable[tuple[Any, str]]) -> Iterator[_Step]:
    """Types before the tables that use them, and before the types that do."""
    chosen = list(models)
    types: dict[tuple[str, str, Any], None] = {}
    tables: list[_Step] = []
    for model, cluster in chosen:
        keyspace = model._get_keyspace()
        if not keyspace:
            path = path_of(model)
            raise SyncError(
                f"{path} names no keyspace, and neither does its cluster {cluster!r} for it. Set "
                f"clusters.{cluster}.keyspace and use a base of undaunted.cassandra, or give the model __keyspace__.",
                model=path,
            )
        for column in model._columns.values():
            for each in _types(column):
                types[cluster, keyspace, each] = None
        tables.append(_Step(cluster=cluster, keyspace=keyspace, subject=model, kind="table"))
    for cluster, keyspace, each in types:
        yield _Step(cluster=cluster, keyspace=keyspace, subject=each, kind="type")
    yield from tables


def _types(column: Any) -> Iterator[Any]:
    """The types that a column uses, the innermost first."""
    found: list[Any] = []
    columns.resolve_udts(column, found)
    for each in found:
        for field in each._fields.values():
            yield from _types(field)
        yield each


# -- making one ---------------------------------------------------------------------------------------


def _take(step: _Step, place: int, total: int) -> Synced:
    cluster = registered.get_cluster(step.cluster)
    if step.keyspace not in cluster.metadata.keyspaces:
        raise SyncError(
            f"{step.path}: cluster {step.cluster!r} has no keyspace {step.keyspace!r}. Run `undaunted provision "
            f"{step.cluster} --apply`, or correct the name.",
            model=step.path,
        )
    before = step.definition(cluster)
    try:
        with options(deadline=_STEP_S):
            _until_taken(step)
    except ConfigurationError:
        raise  # of the cluster, and of no model
    except Exception as error:
        said = server_words(error) or "no more is known"
        message = f"{step.path}: the {step.kind} {step.name} could not be made ({type(error).__name__}: {said})."
        raise SyncError(message, model=step.path) from error
    outcome: Outcome = "made"
    if before is not None:
        outcome = "unchanged" if step.definition(cluster) == before else "changed"
    return Synced(
        cluster=step.cluster,
        kind=step.kind,
        name=step.name,
        model=step.path,
        outcome=outcome,
        place=place,
        total=total,
    )


def _until_taken(step: _Step) -> None:
    """Take a step, anew where somebody else has done the same meanwhile, or where the driver does not see it yet."""
    deadline_s = time.monotonic() + _STEP_S
    while True:
        try:
            step.take()
        except (cassandra.AlreadyExists, cassandra.InvalidRequest, ErrorMessage) as error:
            if not _has_met_another(error) or time.monotonic() > deadline_s:
                raise
        except (KeyError, cassandra.DriverException) as error:
            # The driver looks at the schema only when the nodes agree; until then it has not heard of the table.
            if type(error) not in {KeyError, cassandra.DriverException}:
                raise
            if time.monotonic() > deadline_s:
                raise SyncError(f"the nodes did not agree on the schema within {_STEP_S:g} s") from error
        else:
            return
        _refresh(step.cluster, f"{step.name} may be there")


def _has_met_another(error: Exception) -> bool:
    return isinstance(error, cassandra.AlreadyExists) or any(words in str(error) for words in _MET_ANOTHER)


def _refresh(name: str, state: str) -> None:
    """Wait until the nodes agree, and have the driver look at the schema anew.

    Raises:
        SyncError: They did not agree in time.
    """
    deadline_s = time.monotonic() + _AGREE_S
    while True:
        try:
            registered.get_cluster(name).refresh_schema_metadata(max_schema_agreement_wait=_AGREE_S)
        except cassandra.DriverException as error:
            if isinstance(error, UndauntedError):
                raise
            if time.monotonic() > deadline_s:
                raise SyncError(
                    f"The nodes of cluster {name!r} do not agree on the schema; {state}. `undaunted check {name}` "
                    "tells which node stays behind."
                ) from error
            time.sleep(_PAUSE_S)
        else:
            return


# -- what cqlengine demands ---------------------------------------------------------------------------


class _Permission:
    """The environment variable without which cqlengine warns at each change of a schema; one `sync` at a time."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_ours = False

    @contextmanager
    def given(self) -> Generator[None]:
        """Have it set, and leave it as it was."""
        with self._lock:
            is_ours = self._is_ours = not os.environ.get(CQLENG_ALLOW_SCHEMA_MANAGEMENT)
            before = os.environ.get(CQLENG_ALLOW_SCHEMA_MANAGEMENT)
            os.environ[CQLENG_ALLOW_SCHEMA_MANAGEMENT] = before or "1"
            try:
                yield
            finally:
                if is_ours:
                    self._restore(before)
                self._is_ours = False

    def _restore(self, before: str | None) -> None:
        if before is None:
            os.environ.pop(CQLENG_ALLOW_SCHEMA_MANAGEMENT, None)
        else:
            os.environ[CQLENG_ALLOW_SCHEMA_MANAGEMENT] = before

    def after_fork_in_child(self) -> None:
        """Begin anew: the thread that held the lock does not exist here."""
        self._lock = threading.RLock()
        if self._is_ours:
            self._is_ours = False
            self._restore(None)


_PERMISSION = _Permission()
"""The environment is the process's own, so there is one."""

in_forked_child(_PERMISSION.after_fork_in_child)
