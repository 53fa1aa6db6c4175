"""Makes the collections and indexes of documents, all in one call: `sync`."""

# ruff: noqa: SLF001  (MongoEngine has no public names for a document's alias and collection)

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import mongoengine
from pymongo.errors import OperationFailure

from undaunted.backend import directory
from undaunted.engine.context import options
from undaunted.errors import ConfigurationError, UndauntedError
from undaunted.mongodb.connection import MongoDBHandle, client_of, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["SyncError", "Synced", "sync"]

_STEP_S = 60.0
"""How long one collection may take; an earlier deadline of the caller holds."""


class SyncError(UndauntedError):
    """The indexes of a document could not be made. What was made before stays; mend what is named, and run it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """One collection whose indexes are now as its documents say.

    Attributes:
        cluster: Name of the cluster.
        kind: What it is.
        name: Its name, ``"database.collection"``.
        model: Dotted path of the document.
        outcome: What had to be done.
        indexes: Names of the indexes that were made.
    """

    cluster: str
    kind: Literal["collection"] = "collection"
    name: str
    model: str
    outcome: Literal["made", "changed", "unchanged"]
    indexes: tuple[str, ...] = ()


def sync(*, clusters: Iterable[str], progress: Callable[[Synced], object] | None = None) -> tuple[Synced, ...]:
    """Make the indexes of all documents, and the collections that must be made before their first write.

    Nothing is ever dropped. May be called again, and finds nothing to do. Documents make their indexes themselves on
    their first use, unless their ``meta`` says ``"auto_create_index": False``; with this it happens when deploying, and
    not in the first request.

    Args:
        clusters: The clusters whose documents are meant.
        progress: Called with each collection when it is done.

    Returns:
        Each collection with what was done to it.

    Raises:
        SyncError: A server refuses an index; names the document.
        ConfigurationError: There is no such cluster, or it is not of MongoDB.
        UndauntedError: The nodes of a cluster cannot be reached in time.
    """
    aliases = _aliases(clusters)
    done: list[Synced] = []
    reached: set[str] = set()
    for document in _documents():
        cluster = aliases.get(_alias_of(document, aliases))
        if cluster is None:
            continue
        if cluster not in reached:
            _reach(cluster)
            reached.add(cluster)
        with options(deadline=_STEP_S):
            done.append(_take(document, cluster))
        if progress is not None:
            progress(done[-1])
    return tuple(done)


def _aliases(names: Iterable[str]) -> dict[str, str]:
    """The clusters that are meant, by each of the names that MongoEngine knows them by."""
    found: dict[str, str] = {}
    for name in names:
        handle = directory().handle(name)
        if not isinstance(handle, MongoDBHandle):
            raise ConfigurationError(f"cluster {name!r} is not of MongoDB; there are no documents in it.")
        found.update(dict.fromkeys(handle.aliases, name))
    return found


def _documents() -> Iterator[Any]:
    """Every document that is defined now, bases first, and neither abstract nor embedded."""
    seen: dict[Any, None] = {}
    waiting: list[Any] = list(mongoengine.Document.__subclasses__())
    while waiting:
        document = waiting.pop(0)
        if document not in seen:
            seen[document] = None
            waiting += document.__subclasses__()
    return (document for document in seen if not document._meta.get("abstract"))


def _alias_of(document: Any, aliases: dict[str, str]) -> str:
    declared: str = document._meta.get("db_alias", mongoengine.DEFAULT_CONNECTION_NAME)
    return place_of(document, declared) if declared in aliases else declared


def _reach(cluster: str) -> None:
    """Wait for a primary as any call of the cluster does: a step's time is for an index, and not for a node."""
    with options(reads="primary"):
        _ = client_of(cluster).is_primary


def _take(document: Any, cluster: str) -> Synced:
    path = f"{document.__module__}.{document.__qualname__}"
    database = document._get_db()
    name: str = document._get_collection_name()
    try:
        is_there = name in database.list_collection_names()
        before = set(database[name].index_information()) if is_there else set[str]()
        document._get_collection()  # makes a capped collection, or one of time series
        document.ensure_indexes()
        after = set(database[name].index_information())
    except OperationFailure as error:
        if isinstance(error, UndauntedError):
            raise
        raise SyncError(f"{path}: the server refuses an index of {name!r} ({error.code}): {error}") from error
    made = tuple(sorted(after - before))
    outcome: Literal["made", "changed", "unchanged"] = "made" if not is_there else "changed" if made else "unchanged"
    return Synced(cluster=cluster, name=f"{database.name}.{name}", model=path, outcome=outcome, indexes=made)
