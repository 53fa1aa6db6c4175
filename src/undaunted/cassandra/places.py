"""From a model to where it lives: its connection, its keyspace, and the policy that bounds its statements."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from cassandra.cqlengine import CQLEngineException, models
from cassandra.cqlengine.connection import DEFAULT_CONNECTION

from undaunted.backend import directory
from undaunted.cassandra import seams
from undaunted.cassandra.scope import model_policy, path_of
from undaunted.config import model_settings
from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.cassandra.session import Session
    from undaunted.core.policy import Policy

__all__ = ["Place", "connection_of_table", "place_of"]

_KEPT = "_undaunted_place"
_CONNECTIONS = seams.connections()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model lives.

    Attributes:
        name: The connection's name in cqlengine; None for cqlengine's default.
        declared: The ``__connection__`` that held when this was found out.
        key: The name, or cqlengine's key for its default.
        connection: The connection of that name at that time; another one means other settings.
        keyspace: What its cluster gives to models that name none; None where it gives none.
        policy: The model's own; None where the cluster's holds.
        session: The session of that connection, where it is one of ours; else None.
    """

    name: Any
    declared: Any
    key: Any
    connection: Any
    keyspace: str | None
    policy: Policy | None
    session: Session | None


def place_of(model: Any) -> Place:
    """Where a model lives; found out once, and again when its ``__connection__`` or the settings are others.

    Raises:
        ConfigurationError: The declaration has a mistake.
    """
    kept: Place | None = model.__dict__.get(_KEPT)
    if kept is not None and kept.declared is model.__connection__ and _CONNECTIONS.get(kept.key) is kept.connection:
        return kept
    made = _find(model)
    setattr(model, _KEPT, made)
    return made


def _find(model: Any) -> Place:
    name = _nearest(model)
    if isinstance(name, str):
        if seams.registered(name) is None:
            _open(name, model)
        own = directory().models(name).get(path_of(model)) if seams.registered(name) is not None else None
        if own is not None and own.cluster and "__connection__" not in vars(model):
            name = own.cluster
    found = seams.registered(name)
    keyspace = getattr(found, "keyspace", None)
    is_ours = isinstance(name, str) and directory().knows(name)
    session = getattr(found, "session", None)
    return Place(
        name,
        model.__connection__,
        name or DEFAULT_CONNECTION,
        found,
        keyspace,
        model_policy(name, model) if is_ours else None,
        session if getattr(session, "is_undaunted", False) is True else None,
    )


def connection_of_table(table: str) -> Any:
    """The connection that every model of a table names, as models without a base of ours do; None where it is not one.

    Args:
        table: As cqlengine writes it, ``keyspace.table``.
    """
    found = {
        model.__connection__
        for model in _all(models.Model)
        if not model.__abstract__ and model.__connection__ and _is_of(model, table)
    }
    return found.pop() if len(found) == 1 else None


def _all(base: Any) -> Iterator[Any]:
    for model in base.__subclasses__():
        yield model
        yield from _all(model)


def _is_of(model: Any, table: str) -> bool:
    try:
        return bool(model.column_family_name() == table)
    except CQLEngineException:  # its keyspace is not known yet
        return False


def _open(name: str, model: Any) -> None:
    """Read the settings, on first use; a ``__connection__`` may be one of the application's own.

    Raises:
        ConfigurationError: The model says that it lives in a cluster that nobody has declared.
    """
    if directory().knows(name):
        directory().handle(name)
    elif name != model.__connection__:
        try:
            directory().handle(name)
        except ConfigurationError as error:
            where = f"{path_of(model)}.__undaunted__"
            raise ConfigurationError(problems=[Problem(where, one.message) for one in error.problems]) from None


def _nearest(model: Any) -> Any:
    """The nearest of the declarations: a copy made by `ContextQuery` has a ``__connection__`` of its own."""
    for each in model.__mro__:
        own = vars(each)
        if own.get("__connection__"):
            return own["__connection__"]
        if "__undaunted__" in own and (cluster := _declared(each)):
            return cluster
    return None


@cache
def _declared(model: Any) -> str | None:
    return model_settings(vars(model)["__undaunted__"], model=path_of(model)).cluster
