"""Documents in memory, as they were before a unit of work began, so that it can begin again from there.

A rollback undoes what the server did, not what the program did to its objects: a document saved in the body would
count as saved, and its second ``save()`` would silently do nothing. So each document that the body touches is put
back before it runs again. Objects keep their identity; lists, dicts and embedded documents are put back in place.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from mongoengine.base import BaseDict, BaseList
from mongoengine.base.document import BaseDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Memory", "current_memory", "reachable_documents"]

current_memory: ContextVar[Memory | None] = ContextVar("undaunted_mongodb_memory", default=None)
"""The memory of the unit of work that is running here, if one is."""

_ABSENT = object()
_FLAGS = ("_changed_fields", "_created", "_dynamic_fields")


class Memory:
    """What the documents of one unit of work looked like before it.

    Attributes:
        uncertain: Name of the class of a document that was changed before it could be remembered, else None. Such
            a unit cannot be run again: pass the document to the function instead of reaching for it.
    """

    __slots__ = ("_born", "_restorers", "uncertain")

    def __init__(self, documents: Iterable[BaseDocument] = ()) -> None:
        self._restorers: dict[int, tuple[BaseDocument, Callable[[], Any]]] = {}
        self._born: dict[int, BaseDocument] = {}
        self.uncertain: str | None = None
        for document in documents:
            self.remember(document)

    def remember(self, document: Any) -> None:
        """Keep `document` as it is now, unless it is known already or was made by the body itself."""
        key = id(document)
        if key not in self._restorers and key not in self._born:
            self._restorers[key] = (document, _capture(document))

    def born(self, document: Any) -> None:
        """Note a document that the body made: the next run makes one of its own."""
        self._born[id(document)] = document

    def knows(self, document: Any) -> bool:
        """Whether `document` can be put back, or need not be."""
        return id(document) in self._restorers or id(document) in self._born

    def met_changed(self, document: Any) -> None:
        """Note a document that was met only after it had been changed in place."""
        if not self.knows(document):
            self.uncertain = type(document).__name__

    def restore(self, *, keep_identity: bool = False) -> None:
        """Put every remembered document back.

        Args:
            keep_identity: Leave a primary key that the unit of work has given to a new document.
        """
        self._born.clear()
        for document, restorer in self._restorers.values():
            name = document._meta.get("id_field") if keep_identity else None  # noqa: SLF001
            identity = document._data.get(name) if name else None  # noqa: SLF001
            restorer()
            if identity is not None and document._data.get(name) is None:  # noqa: SLF001
                document._data[name] = identity  # noqa: SLF001


def _capture(value: Any) -> Callable[[], Any]:
    """A function that puts `value` back to what it is now, in place, and returns it."""
    if isinstance(value, BaseDocument):
        return _capture_document(value)
    if isinstance(value, (BaseDict, dict)):
        return _capture_dict(value)
    if isinstance(value, (BaseList, list)):
        return _capture_list(value)
    return lambda: value


def _capture_document(document: Any) -> Callable[[], Any]:
    data = {name: _capture_part(v) for name, v in document._data.items()}  # noqa: SLF001
    flags = {name: _copied(getattr(document, name, _ABSENT)) for name in _FLAGS}

    def restore() -> BaseDocument:
        values = {name: restorer() for name, restorer in data.items()}
        document._data.clear()  # noqa: SLF001
        document._data.update(values)  # noqa: SLF001
        for name, flag in flags.items():
            if flag is not _ABSENT:
                object.__setattr__(document, name, _copied(flag))
            elif hasattr(document, name):  # a document that was never saved has no list of changes yet
                object.__delattr__(document, name)
        return document

    return restore


def _capture_part(value: Any) -> Callable[[], Any]:
    """As `_capture`, but a referenced document, which is no part of the one that refers to it, stays as it is."""
    if isinstance(value, BaseDocument) and hasattr(type(value), "_get_collection"):
        return lambda: value
    return _capture(value)


def _capture_dict(value: dict[Any, Any]) -> Callable[[], Any]:
    items = {key: _capture_part(v) for key, v in value.items()}

    def restore() -> Any:
        dict.clear(value)
        dict.update(value, {key: restorer() for key, restorer in items.items()})
        return value

    return restore


def _capture_list(value: list[Any]) -> Callable[[], Any]:
    items = [_capture_part(v) for v in value]

    def restore() -> Any:
        list.__setitem__(value, slice(None), [restorer() for restorer in items])
        return value

    return restore


def _copied(flag: Any) -> Any:
    if isinstance(flag, list):
        return list(flag)
    if isinstance(flag, dict):
        return dict(flag)
    return flag


def reachable_documents(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[BaseDocument]:
    """The documents that a function is given.

    These are its arguments, what it closes over, its own object, and what is one level down in lists, tuples, sets and
    dicts among them.
    """
    cells = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _is_filled(cell)]
    candidates = [getattr(function, "__self__", None), *args, *kwargs.values(), *cells]
    found: list[BaseDocument] = []
    for candidate in candidates:
        inner: Iterable[Any] = ()
        if isinstance(candidate, dict):
            inner = list(candidate.values())
        elif isinstance(candidate, (list, tuple, set, frozenset)):
            inner = list(candidate)
        found.extend(item for item in (candidate, *inner) if isinstance(item, BaseDocument))
    return found


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # an empty cell raises
    except ValueError:
        return False
    return True
