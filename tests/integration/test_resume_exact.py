"""A scan broken anywhere and resumed gives what an unbroken one gives: each document once, in order, or it says no.

Held against a real server, whose own sorting and comparing across types is what has to be met.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from bson import Decimal128, ObjectId
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect, OperationFailure

from undaunted.lab import MongoLab
from undaunted.mongodb.progress import Progress
from undaunted.mongodb.seams import CursorView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.collection import Collection

pytestmark = pytest.mark.integration

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([-1.5, 0.0, 2.5]),
    st.sampled_from(["", "a", "b", "B"]),
    st.sampled_from([ObjectId("0" * 24), ObjectId("f" * 24)]),
    st.sampled_from([dt.datetime(2020, 1, 1), dt.datetime(2026, 1, 1)]),  # noqa: DTZ001
    st.sampled_from([Decimal128("1"), b"bytes"]),
    st.lists(st.one_of(st.integers(-3, 3), st.none(), st.sampled_from(["a"])), max_size=3),
    st.dictionaries(st.sampled_from(["x"]), st.integers(0, 2)),
    st.just(...),  # the field is missing
)
DOCUMENTS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12)
ORDERINGS = st.sampled_from([
    [], [("a", 1)], [("a", -1)], [("a", 1), ("b", -1)], [("a", -1), ("b", 1)], [("a", 1), ("_id", 1)], [("_id", -1)],
    [("n.x", 1)], [("b", -1), ("_id", -1)],
])  # fmt: skip


@pytest.fixture(scope="module")
def collection() -> Iterator[Collection[dict[str, Any]]]:
    with MongoLab(nodes=1) as lab, pymongo.MongoClient(lab.uri) as client:
        yield client["resume"]["documents"]


def fill(collection: Collection[dict[str, Any]], rows: list[tuple[Any, Any]]) -> None:
    collection.delete_many({})
    made = []
    for number, (a, b) in enumerate(rows):
        document = {"_id": number, "a": a, "b": b, "n": {"x": a}}
        made.append({k: v for k, v in document.items() if v is not ... and v != {"x": ...}})
    collection.insert_many(made)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=DOCUMENTS, ordering=ORDERINGS, data=st.data())
def test_broken_anywhere_and_resumed(
    collection: Collection[dict[str, Any]], rows: list[tuple[Any, Any]], ordering: list[tuple[str, int]], data: Any
) -> None:
    fill(collection, rows)
    cursor = collection.find({})
    if ordering:
        cursor = cursor.sort(ordering)
    progress = Progress(CursorView(cursor))
    try:
        whole = list(cursor)
    except OperationFailure:
        assume(False)  # two arrays in one sort are refused by the server itself
    cut = data.draw(st.integers(1, len(whole)), label="cut")
    for document in whole[:cut]:
        progress.note(document)
    if progress.obstacle is not None:
        return  # it says no, which is allowed; that it does not say so too often is the test below
    rest = collection.find(progress.remaining())
    if ordering:
        rest = rest.sort(ordering)
    resumed = list(rest)
    try:
        for document in resumed:
            progress.note(document)
    except AutoReconnect:
        return  # it noticed that the order does not tell, before it gave a document out twice
    assert sorted(d["_id"] for d in whole[:cut] + resumed) == list(range(len(whole)))
    if ordering and not any(isinstance(value, list) for document in whole for value in document.values()):
        # What is level may come in any order, so documents are compared by where their key stands. (An array is level
        # with its least or greatest element, which this comparison does not know.)
        keys = [repr([document.get(field) for field, _ in ordering]) for document in whole]
        given_out = [repr([document.get(field) for field, _ in ordering]) for document in whole[:cut] + resumed]
        assert [keys.index(key) for key in given_out] == sorted(keys.index(key) for key in given_out)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.integers(-3, 3), min_size=2, max_size=12), direction=st.sampled_from([1, -1]), data=st.data())
def test_plain_values_can_always_be_resumed(
    collection: Collection[dict[str, Any]], values: list[int], direction: int, data: Any
) -> None:
    fill(collection, [(value, None) for value in values])
    cursor = collection.find({}).sort("a", direction)
    progress = Progress(CursorView(cursor))
    whole = list(cursor)
    cut = data.draw(st.integers(1, len(whole)), label="cut")
    for document in whole[:cut]:
        progress.note(document)
    assert progress.obstacle is None
    rest = list(collection.find(progress.remaining()).sort("a", direction))
    assert [d["a"] for d in whole[:cut] + rest] == sorted(values, reverse=direction < 0)
    assert sorted(d["_id"] for d in whole[:cut] + rest) == list(range(len(values)))
