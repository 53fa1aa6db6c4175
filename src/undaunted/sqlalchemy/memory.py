"""Objects in memory, as they were before a unit of work began, so that it can begin again from there.

A rollback undoes what the server did, not what the program did to its objects: a new object that was flushed keeps the
primary key that the server gave it, and would be inserted under it again, although the server may have given it to
another row since. So each new object that came from outside is put back before the unit runs again, and when it has
failed for good. What a session has loaded belongs to that session, and no unit takes it.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import ref

from sqlalchemy import exc, orm
from sqlalchemy.orm.collections import collection_adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy.orm import InstanceState

__all__ = ["Memory", "mapped_arguments", "refuse_detached", "refuse_other_session"]

_STATE = "_sa_instance_state"
_UNCHANGING = frozenset({type(None), bool, int, float, str, bytes, uuid.UUID, dt.datetime, dt.date, decimal.Decimal})
"""What most columns hold: nothing of it has to be copied."""


class Memory:
    """What the new objects of one unit of work, that came from outside, looked like before it."""

    __slots__ = ("_known", "_sweep_at")

    def __init__(self, objects: Iterable[object] = ()) -> None:
        # By identity, with weak references: what the unit makes itself is remembered too, and goes with its session.
        self._known: dict[int, tuple[ref[InstanceState[Any]], _Before]] = {}
        self._sweep_at = 1000
        for each in objects:
            self.remember(each)

    def remember(self, instance: object) -> None:
        """Keep a new object as it is now, unless it is known already."""
        state: InstanceState[Any] = orm.attributes.instance_state(instance)
        if state.key is not None:
            return
        known = self._known
        found = known.get(id(state))
        if found is not None and found[0]() is state:
            return
        if len(known) >= self._sweep_at:
            self._known = known = {number: kept for number, kept in known.items() if kept[0]() is not None}
            self._sweep_at = 2 * len(known) + 1000
        known[id(state)] = ref(state), _captured(state, instance)

    def restore(self) -> None:
        """Put every object back that is still there."""
        for kept, before in list(self._known.values()):
            state = kept()
            instance = None if state is None else state.obj()
            if state is not None and instance is not None:
                orm.make_transient(instance)
                _put_back(state, instance, before)


class _Before(NamedTuple):
    """What an object was; holds nothing of the object itself.

    Attributes:
        plain: Its values that nobody can change.
        values: What puts each of the others back.
        history: What SQLAlchemy knows to have been committed.
        was_modified: Whether it takes it for modified.
    """

    plain: dict[str, Any]
    values: dict[str, Callable[[], Any]]
    history: dict[str, Any]
    was_modified: bool


def _captured(state: InstanceState[Any], instance: object) -> _Before:
    plain: dict[str, Any] = orm.attributes.instance_dict(instance).copy()
    plain.pop(_STATE, None)
    values: dict[str, Callable[[], Any]] = {}
    if not _UNCHANGING.issuperset(map(type, plain.values())):
        values = {name: _copied(value) for name, value in plain.items() if type(value) not in _UNCHANGING}
        for name in values:
            del plain[name]
    return _Before(plain, values, state.committed_state.copy(), state.modified)


def _put_back(state: InstanceState[Any], instance: object, before: _Before) -> None:
    found = orm.attributes.instance_dict(instance)
    restored = before.plain | {name: put_back() for name, put_back in before.values.items()}
    for name in [name for name in found if name != _STATE]:
        del found[name]
    found.update(restored)
    state.committed_state.clear()
    state.committed_state.update(before.history)
    state.modified = before.was_modified


def _copied(value: Any) -> Callable[[], Any]:
    """A function that puts `value` back to what it is now, in place, and returns it."""
    adapter = collection_adapter(value) if hasattr(value, "_sa_adapter") else None
    if adapter is not None:
        members = list(adapter)

        def refill() -> Any:
            adapter.clear_without_event()
            for member in members:
                adapter.append_without_event(member)
            return value

        return refill
    if isinstance(value, dict):
        return _copied_dict(value)
    if isinstance(value, list):
        return _copied_list(value)
    return lambda: value


def _copied_dict(value: Any) -> Callable[[], Any]:
    plain: Any = dict
    items = {name: _copied(each) for name, each in value.items()}

    def rewrite() -> Any:
        plain.clear(value)  # not the value's own, which may tell its parent of a change
        plain.update(value, {name: put_back() for name, put_back in items.items()})
        return value

    return rewrite


def _copied_list(value: Any) -> Callable[[], Any]:
    plain: Any = list
    entries = [_copied(each) for each in value]

    def rewrite() -> Any:
        plain.__setitem__(value, slice(None), [put_back() for put_back in entries])
        return value

    return rewrite


def mapped_arguments(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[object]:
    """The mapped objects that a function is given, and that belong to no session.

    These are its arguments, what it closes over, its own object, and what is one level down in lists, tuples, sets and
    dicts among them.

    Raises:
        InvalidRequestError: An argument belongs to a session.
    """
    found: list[object] = []
    owner = getattr(function, "__self__", None)
    if owner is not None or args or kwargs:
        for item in _with_members((owner, *args, *kwargs.values())):
            if _is_mapped(item):
                if orm.object_session(item) is not None:
                    refuse_other_session(item)
                found.append(item)
    cells = getattr(function, "__closure__", None)
    if cells:
        held = [cell.cell_contents for cell in cells if _is_filled(cell)]
        found.extend(item for item in _with_members(held) if _is_mapped(item) and orm.object_session(item) is None)
    return found


def _with_members(candidates: Iterable[Any]) -> Iterator[Any]:
    for candidate in candidates:
        yield candidate
        if isinstance(candidate, dict):
            yield from candidate.values()
        elif isinstance(candidate, (list, tuple, set, frozenset)):
            yield from candidate


def _is_mapped(item: Any) -> bool:
    attributes: object = getattr(item, "__dict__", None)  # not hasattr, to which a stand-in may always say yes
    return isinstance(attributes, dict) and _STATE in attributes


def refuse_other_session(instance: object) -> None:
    """Raise for an object that a session outside of the unit of work holds."""
    raise exc.InvalidRequestError(
        f"A {type(instance).__name__} that belongs to another session was given to a unit of work, which could not "
        "put it back before it runs again. Give it the primary key and use session.get(), or take the object out of "
        "its session (session.expunge(obj)) and use what session.merge(obj) returns."
    )


def refuse_detached(instance: object) -> None:
    """Raise for an object that was loaded or stored before, and is added to the session of a unit of work."""
    raise exc.InvalidRequestError(
        f"A {type(instance).__name__} that was loaded outside of the unit of work was added to its session. Changes "
        "of it would be lost when the unit runs again: use what session.merge(obj) returns, which takes them over."
    )


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # an empty cell raises
    except ValueError:
        return False
    return True
