"""From a model base, a mapped class or a name to the opened cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from undaunted.backend import directory
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy.declared import cluster_declared, is_only, path_of

if TYPE_CHECKING:
    from undaunted.sqlalchemy.cluster import Cluster

__all__ = ["DEFAULTS", "cluster_name", "cluster_of", "default_name", "only_cluster"]

DEFAULTS: list[str] = []
"""The cluster that the settings call the default one of this backend, as long as it is open."""


def cluster_of(target: Any) -> Cluster:
    """The opened cluster of a base, a mapped class or one of its objects, or of a cluster's name.

    Raises:
        ConfigurationError: It names no cluster, or one that there is not, or one of another backend.
    """
    from undaunted.sqlalchemy.cluster import Cluster  # noqa: PLC0415  # it imports what imports this

    if isinstance(target, Cluster):
        return target
    name = cluster_name(target)
    found = directory().handle(name)
    if not isinstance(found, Cluster):
        raise ConfigurationError(
            f"Cluster {name!r} is kept by backend {found.guard.backend!r}, so it has no SQLAlchemy engine. Name one "
            'whose backend is "sqlalchemy".'
        )
    return found


def cluster_name(target: Any) -> str:
    """The name of the cluster of a base, a mapped class or one of its objects, or the name itself.

    ``[models."dotted.path.of.Class"]`` in the settings goes before what the class declares.

    Raises:
        ConfigurationError: It declares none, and no cluster is the default one.
    """
    if isinstance(target, str):
        return target
    kind: Any = target if isinstance(target, type) else type(target)
    name = cluster_declared(kind)
    if name is not None:
        directory().handle(name)  # before it is open, nobody knows what [models] says
        placed = directory().models(name).get(path_of(kind))
        return placed.cluster if placed is not None and placed.cluster else name
    default = default_name()
    if default is not None:
        return default
    raise ConfigurationError(
        f'{path_of(kind)} names no cluster. Give it __undaunted__ = {{"cluster": "NAME"}}, name '
        "the cluster instead of the class, or set `default = true` for one cluster."
    )


def only_cluster(target: str | type) -> Cluster | None:
    """The cluster of a target, where that is where every statement goes, whatever class it is about; else None.

    So it is where no class has declared another cluster and the settings say nothing of single models. It is found
    once, since it is asked for each statement.
    """
    kept = _ONLY_OF_NAMES.get(target) if isinstance(target, str) else _ONLY_OF_CLASSES.get(target)
    if kept is not None and not kept.is_closed:
        return kept if is_only(kept.name) else None
    found = cluster_of(target)
    if not is_only(found.name) or directory().models(found.name):
        return None
    if isinstance(target, str):
        _ONLY_OF_NAMES[target] = found
    else:
        _ONLY_OF_CLASSES[target] = found
    return found


_ONLY_OF_NAMES: dict[str, Cluster] = {}
_ONLY_OF_CLASSES: WeakKeyDictionary[type, Cluster] = WeakKeyDictionary()


def default_name() -> str | None:
    """The cluster that the settings call the default one of this backend; None where they call none so."""
    if not DEFAULTS:
        directory().knows("")  # has the settings read, where nobody has
    return DEFAULTS[-1] if DEFAULTS else None
