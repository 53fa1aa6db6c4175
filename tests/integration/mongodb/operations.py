"""One write of each kind that the driver numbers: how it is made, the command it sends, and how to count its effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.documents import Documents

__all__ = ["NUMBERED", "Write"]


@dataclass(frozen=True)
class Write:
    """One kind of write.

    Attributes:
        command: The server's name of what is sent.
        prepare: Makes what it needs, and returns it.
        run: Does it.
        effects: How often it has been applied, as the database shows.
    """

    command: str
    prepare: Callable[[Documents], Any]
    run: Callable[[Documents, Any], Any]
    effects: Callable[[Documents, Any], int]


def _item(documents: Documents) -> Any:
    return documents.Item(key="a", n=0).save()


def _nothing(documents: Documents) -> Any:
    documents.Item.objects.count()  # the collection and its indexes are there
    documents.Item.ensure_indexes()
    return documents.Item(key="a")


def _n(documents: Documents, item: Any) -> int:
    return documents.Item.objects.get(key="a").n


def _count(documents: Documents, item: Any) -> int:
    return documents.Item.objects(key="a").count()


def _change(documents: Documents, item: Any) -> None:
    item.n = 1
    item.save()


NUMBERED = {
    "save new": Write("insert", _nothing, lambda d, item: item.save(), _count),
    "save changed": Write("update", _item, _change, _n),
    "insert": Write("insert", _nothing, lambda d, item: d.Item.objects.insert(item, load_bulk=False), _count),
    "update_one": Write("update", _item, lambda d, item: d.Item.objects(key="a").update_one(inc__n=1), _n),
    "document update": Write("update", _item, lambda d, item: item.update(inc__n=1), _n),
    "modify": Write("findAndModify", _item, lambda d, item: d.Item.objects(key="a").modify(inc__n=1), _n),
    "delete_one": Write(
        "delete",
        _item,
        lambda d, item: d.Item._get_collection().delete_one({"key": "a"}),
        lambda d, item: 1 - _count(d, item),
    ),
}
