"""Documents are put back in place to what they were before a unit of work."""

from __future__ import annotations

import pytest

from undaunted.mongodb import Document, EmbeddedDocument, fields
from undaunted.mongodb.memory import Memory, current_memory, reachable_documents


class Line(EmbeddedDocument):
    sku = fields.StringField()
    counts = fields.ListField(fields.IntField())


class Basket(Document):
    total = fields.IntField(default=0)
    tags = fields.ListField(fields.StringField())
    extra = fields.DictField()
    line = fields.EmbeddedDocumentField(Line)
    lines = fields.EmbeddedDocumentListField(Line)
    meta = {"auto_create_index": False}


def basket() -> Basket:
    return Basket(
        total=1, tags=["a"], extra={"k": {"n": 1}}, line=Line(sku="s", counts=[1]), lines=[Line(sku="t", counts=[2])]
    )


def test_everything_is_put_back_in_place() -> None:
    one = basket()
    before = one.to_mongo().to_dict()
    tags, line = one.tags, one.line
    memory = Memory([one])
    for _ in range(2):
        one.total += 1
        one.tags.append("b")
        one.extra["k"]["n"] = 2
        one.extra["new"] = 1
        one.line.sku = "changed"
        one.line.counts.append(9)
        one.lines[0].counts.append(9)
        one.lines.append(Line(sku="u"))
        one.pk = "0" * 24
        one._created = False
        one._clear_changed_fields()
        memory.restore()
        assert one.to_mongo().to_dict() == before
        assert one._created
        assert not hasattr(one, "_changed_fields")
        assert one.pk is None
    assert one.tags is tags
    assert one.line is line


def test_the_changed_fields_of_a_saved_document_are_put_back() -> None:
    one = Basket._from_son({"_id": "0" * 24, "total": 1})
    one.total = 2
    memory = Memory([one])
    one.tags = ["x"]
    one._clear_changed_fields()
    memory.restore()
    assert one._changed_fields == ["total"]
    assert (one.total, one.tags, one._created) == (2, [], False)


def test_the_identity_of_a_document_that_may_exist_is_kept() -> None:
    one = basket()
    memory = Memory([one])
    one.pk = "0" * 24
    one.total = 5
    memory.restore(keep_identity=True)
    assert (str(one.pk), one.total) == ("0" * 24, 1)


def test_documents_are_found_in_arguments_closures_and_their_containers() -> None:
    first, second, third, fourth = basket(), basket(), basket(), basket()

    def function() -> None:
        fourth.total += 1

    found = reachable_documents(function, (first, [second]), {"key": {"x": third}})
    assert {id(d) for d in found} == {id(d) for d in (first, second, third, fourth)}


def test_a_changed_field_is_remembered_before_it_changes() -> None:
    one = basket()
    memory = Memory()
    token = current_memory.set(memory)
    try:
        one.total = 7
    finally:
        current_memory.reset(token)
    memory.restore()
    assert one.total == 1
    assert memory.uncertain is None


@pytest.mark.parametrize("change", [lambda b: b.tags.append("b"), lambda b: b.extra.update(x=1)])
def test_a_change_in_place_of_an_unknown_document_is_owned_up_to(change: object) -> None:
    one = basket()
    memory = Memory()
    token = current_memory.set(memory)
    try:
        change(one)  # type: ignore[operator]
    finally:
        current_memory.reset(token)
    assert memory.uncertain == "Basket"


def test_documents_made_by_the_body_need_not_be_put_back() -> None:
    memory = Memory()
    token = current_memory.set(memory)
    try:
        one = basket()
        one.tags.append("b")
    finally:
        current_memory.reset(token)
    assert memory.uncertain is None
