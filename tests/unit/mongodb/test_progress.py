"""What a scan remembers, and when it owns up that it cannot be resumed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest
from bson import Decimal128, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from undaunted.mongodb import progress as module
from undaunted.mongodb.progress import Progress
from undaunted.mongodb.resume import after_key, delivers, is_pipeline_resumable, same_key, sort_key, without_seen


@dataclass
class Query:
    ordering: tuple[tuple[str, Any], ...] = ()
    skip: int = 0
    collation: Any = None
    projection: Any = None
    tailable: bool = False
    exhaust: bool = False


def noted(query: Query, *documents: dict[str, Any]) -> Progress:
    made = Progress(query)
    for document in documents:
        made.note(document)
    return made


def test_without_an_order_every_id_is_remembered() -> None:
    assert noted(Query(), {"_id": 1}, {"_id": 2}).remaining() == without_seen([1, 2])


def test_with_an_order_the_last_key_and_its_ties_are_enough() -> None:
    by_age = Query(ordering=(("age", 1),))
    made = noted(by_age, {"_id": 1, "age": 5}, {"_id": 2, "age": 6}, {"_id": 3, "age": 6})
    assert made.seen == []
    assert made.remaining() == after_key((("age", 1),), (6,), [2, 3])


def test_nested_sort_fields_are_found() -> None:
    assert sort_key({"a": {"b": 3}}, (("a.b", 1),)) == (3,)
    assert sort_key({"a": {}}, (("a.b", 1),)) == (None,)
    assert sort_key({"a": [{"b": 3}]}, (("a.b", 1),)) is None


@pytest.mark.parametrize("value", [[1], {"x": 1}, Decimal128("1"), float("nan"), b"x"])
def test_values_whose_place_cannot_be_told_are_no_key(value: Any) -> None:
    assert sort_key({"a": value}, (("a", 1),)) is None


@pytest.mark.parametrize("direction", [{"$meta": "textScore"}, "hashed", "2d"])
def test_other_orders_are_no_key(direction: Any) -> None:
    assert sort_key({"a": 1}, (("a", direction),)) is None


def test_true_is_not_one() -> None:
    assert not same_key((True,), (1,))
    assert same_key((1.0,), (1,))


def test_an_unusable_first_key_falls_back_to_ids() -> None:
    assert noted(Query(ordering=(("a", 1),)), {"_id": 1, "a": [1]}).remaining() == without_seen([1])


def test_an_unusable_later_key_is_an_obstacle() -> None:
    made = noted(Query(ordering=(("a", 1),)), {"_id": 1, "a": 1}, {"_id": 2, "a": [1]})
    assert made.obstacle is not None


def test_an_unusable_key_after_resuming_by_key_raises() -> None:
    made = noted(Query(ordering=(("a", 1),)), {"_id": 1, "a": 1})
    made.remaining()
    with pytest.raises(AutoReconnect):
        made.note({"_id": 2, "a": [1]})


def test_collation_makes_keys_useless_but_not_ids() -> None:
    made = noted(Query(ordering=(("a", 1),), collation={"locale": "de"}), {"_id": 1, "a": "x"})
    assert made.remaining() == without_seen([1])


@pytest.mark.parametrize(
    ("projection", "is_delivered"),
    [
        (None, True),
        ({"a.b": 1}, True),
        ({"a": 1}, True),
        ({"a": True, "x": 1}, True),
        ({"a.b.c": 1}, False),
        ({"x": 1}, False),
        ({"_id": 1}, False),
        ({"x": 0}, True),
        ({"_id": 0}, True),
        ({"a": 0}, False),
        ({"a.b": 0}, False),
        ({"a.b.c": 0}, False),
        ({"a.c": 0}, True),
        ({"x": {"$slice": 1}}, False),
        ({"a.b": "$x"}, False),
        ({"x": 1, "a.b": {"$meta": "textScore"}}, False),
    ],
)
def test_whether_a_sort_field_is_delivered(projection: Any, is_delivered: bool) -> None:
    assert delivers(projection, "a.b") is is_delivered


@pytest.mark.parametrize(
    ("projection", "is_delivered"),
    [(None, True), ({"x": 1}, True), ({"_id": 0}, False), ({"x": 0}, True), ({"_id": 1}, True)],
)
def test_whether_the_id_is_delivered(projection: Any, is_delivered: bool) -> None:
    assert delivers(projection, "_id") is is_delivered


def test_a_sort_field_that_is_left_out_is_no_key() -> None:
    """It looks like null in every document, the delivered ones included."""
    made = noted(Query(ordering=(("place", 1),), projection={"name": 1}), {"_id": 1, "name": "x"}, {"_id": 2})
    assert made.remaining() == without_seen([1, 2])


@pytest.mark.parametrize(
    ("query", "document"),
    [
        (Query(tailable=True), {"_id": 1}),
        (Query(exhaust=True), {"_id": 1}),
        (Query(skip=3), {"_id": 1}),
        (Query(), {"a": 1}),
    ],
)
def test_obstacles(query: Query, document: dict[str, Any]) -> None:
    assert noted(query, document).obstacle is not None


def test_undecoded_documents_are_an_obstacle() -> None:
    import bson

    made = Progress(Query())
    made.note(RawBSONDocument(bson.encode({"_id": 1})))
    assert made.obstacle is not None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEEN_LIMIT", 3)
    unordered = noted(Query(), *({"_id": i} for i in range(4)))
    assert unordered.obstacle is not None
    assert unordered.seen == []
    level = noted(Query(ordering=(("a", 1),)), *({"_id": i, "a": 1} for i in range(4)))
    assert level.obstacle is not None


def test_the_reason_is_told_with_the_error() -> None:
    made = noted(Query(tailable=True), {"_id": 1})
    error = made.explain(ValueError("x"))
    notes = getattr(error, "__notes__", None)
    assert notes is None or "tailable" in notes[0]


def test_dates_and_ids_are_keys() -> None:
    when, identity = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), ObjectId()
    assert sort_key({"a": when, "_id": identity}, (("a", -1), ("_id", 1))) == (when, identity)


@pytest.mark.parametrize(
    ("pipeline", "is_resumable"),
    [
        ([], True),
        ([{"$match": {"a": 1}}, {"$sort": {"a": 1}}], True),
        ([{"$group": {"_id": "$a", "n": {"$sum": 1}}}], True),
        ([{"$project": {"a": 1}}], True),
        ([{"$project": {"_id": 0, "a": 1}}], False),
        ([{"$project": {"_id": 1, "a": 1}}], True),
        ([{"$addFields": {"b": 1}}], True),
        ([{"$addFields": {"_id": "$b"}}], False),
        ([{"$set": {"_id.x": 1}}], False),
        ([{"$unset": "_id"}], False),
        ([{"$unset": ["a", "_id"]}], False),
        ([{"$unset": ["a"]}], True),
        ([{"$unwind": "$a"}], False),
        ([{"$sample": {"size": 3}}], False),
        ([{"$limit": 3}], False),
        ([{"$skip": 3}], False),
        ([{"$replaceRoot": {"newRoot": "$a"}}], False),
        ([{"$unionWith": "other"}], False),
        ([{"$facet": {}}], False),
    ],
)
def test_which_pipelines_can_be_resumed(pipeline: list[dict[str, Any]], is_resumable: bool) -> None:
    assert is_pipeline_resumable(pipeline) is is_resumable
