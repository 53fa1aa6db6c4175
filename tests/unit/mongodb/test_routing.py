"""Where a class lives is a matter of the context: MongoEngine's own switches reach nobody else."""

from __future__ import annotations

import contextvars
import gc
import threading
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import mongoengine
import pytest
from mongoengine.context_managers import switch_collection, switch_db
from pymongo import ReadPreference, WriteConcern
from pymongo.read_concern import ReadConcern

from undaunted.errors import ConfigurationError
from undaunted.mongodb import Document, DocumentMixin, DynamicDocument, MongoClient, fields
from undaunted.mongodb.database import Collection

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def aliases() -> Iterator[None]:
    """Two aliases whose clients never connect; index creation is off in the models, so nothing is asked."""
    for alias in ("first", "second"):
        mongoengine.register_connection(
            alias, name=f"{alias}_db", host="mongodb://127.0.0.1:1", mongo_client_class=MongoClient, connect=False,
            uuidRepresentation="standard",
        )  # fmt: skip
    yield
    for alias in ("first", "second"):
        mongoengine.disconnect(alias)


def model(base: Any = Document, **meta: Any) -> Any:
    name = f"Model{uuid.uuid4().hex[:8]}"
    attrs = {"meta": {"db_alias": "first", "auto_create_index": False, "collection": "things", **meta}}
    return type(name, base if isinstance(base, tuple) else (base,), {"x": fields.IntField(), **attrs})


def place(document_class: Any) -> tuple[str, str]:
    collection = document_class._get_collection()
    assert isinstance(collection, Collection)
    return collection.database.name, collection.name


class Base(mongoengine.Document):
    meta = {"abstract": True, "auto_create_index": False}


@pytest.mark.parametrize(
    "base", [Document, DynamicDocument, (DocumentMixin, mongoengine.Document), (DocumentMixin, Base)], ids=repr
)
def test_switches_hold_in_the_block_and_end_with_it(aliases: None, base: Any) -> None:
    thing = model(base)
    assert place(thing) == ("first_db", "things")
    with switch_db(thing, "second") as inner:
        assert place(inner) == ("second_db", "things")
        with switch_collection(thing, "others"):
            assert place(thing) == ("second_db", "others")
            with switch_collection(thing, "thirds"):
                assert place(thing) == ("second_db", "thirds")
            assert place(thing) == ("second_db", "others")
        with switch_db(thing, "first"):
            assert place(thing) == ("first_db", "things")
        assert place(thing) == ("second_db", "things")
    assert place(thing) == ("first_db", "things")


def test_another_thread_sees_nothing_of_it(aliases: None) -> None:
    thing = model()
    seen: list[tuple[str, str]] = []
    with switch_db(thing, "second"), switch_collection(thing, "others"):
        thread = threading.Thread(target=lambda: seen.append(place(thing)))
        thread.start()
        thread.join()
        seen.append(contextvars.Context().run(place, thing))
        seen.append(place(thing))
    assert seen == [("first_db", "things"), ("first_db", "things"), ("second_db", "others")]


def test_using_takes_the_other_database(aliases: None) -> None:
    thing = model()
    assert thing.objects.using("second")._collection.database.name == "second_db"
    assert thing.objects._collection.database.name == "first_db"


def test_an_instance_may_be_switched_by_itself(aliases: None) -> None:
    thing = model()
    one = thing(x=1).switch_db("second")
    assert one._get_collection().database.name == "second_db"
    assert place(thing) == ("first_db", "things")


def test_a_disconnected_alias_is_not_remembered(aliases: None) -> None:
    thing = model()
    before = thing._get_collection()
    mongoengine.disconnect("first")
    mongoengine.register_connection(
        "first", name="first_db", host="mongodb://127.0.0.1:1", mongo_client_class=MongoClient, connect=False,
        uuidRepresentation="standard",
    )  # fmt: skip
    assert thing._get_collection().database.client is not before.database.client


def test_every_way_from_a_collection_leads_to_one_of_ours(aliases: None) -> None:
    collection = model()._get_collection()
    assert type(collection.with_options()) is Collection
    assert type(collection["sub"]) is Collection
    assert type(collection.sub) is Collection
    assert type(collection.database.get_collection("x")) is Collection
    assert type(collection.database.with_options()["x"]) is Collection
    assert type(collection.database.client["d"]["x"]) is Collection
    assert type(collection.database.client.get_database("d")["x"]) is Collection
    assert type(collection.database.client.d.x) is Collection


def test_inheritance_rules_of_mongoengine_still_hold(aliases: None) -> None:
    parent = model(allow_inheritance=True)
    with pytest.raises(ValueError, match="Abstract document cannot have non-abstract base"):
        type("Child", (parent,), {"meta": {"abstract": True}})
    with pytest.warns(SyntaxWarning, match="Trying to set a collection on a subclass"):
        child = type("Child2", (parent,), {"meta": {"collection": "elsewhere"}})
    assert child._get_collection_name() == "things"


def test_a_wrong_declaration_is_told_when_the_class_is_made() -> None:
    with pytest.raises(ConfigurationError, match="profile"):
        type("Wrong", (Document,), {"__undaunted__": {"cluster": "orders", "profil": "web"}})


def test_a_mixin_of_a_mixin_is_no_document() -> None:
    class Stamped(DocumentMixin):
        pass

    assert not hasattr(Stamped, "_meta")


def test_reading_meta_is_the_dicts_own_until_the_class_is_switched(aliases: None) -> None:
    thing, other = model(), model()
    assert type(thing._meta).get is dict.get
    assert type(thing._meta).__getitem__ is dict.__getitem__
    with switch_db(thing, "second"):
        assert thing._meta["db_alias"] == thing._meta.get("db_alias") == "second"
        assert contextvars.Context().run(thing._meta.get, "db_alias") == "first"
    assert thing._meta["db_alias"] == "first"
    assert type(other._meta).get is dict.get


def test_a_name_that_changes_is_followed(aliases: None) -> None:
    names = ["one", "two"]
    thing = model()
    named = type(f"{thing.__name__}Named", (Document,), {
        "meta": {"db_alias": "first", "auto_create_index": False},
        "_get_collection_name": classmethod(lambda cls: names[0]),
    })  # fmt: skip
    assert [place(named), place(named)] == [("first_db", "one")] * 2
    names.pop(0)
    assert place(named) == ("first_db", "two")
    assert [place(thing), place(thing)] == [("first_db", "things")] * 2
    thing._meta["collection"] = "renamed"
    assert place(thing) == ("first_db", "renamed")


def test_a_collection_stays_itself_where_no_option_changes(aliases: None) -> None:
    collection = model()._get_collection()
    assert collection.with_options() is collection
    assert collection.with_options(write_concern=WriteConcern(w="majority")) is collection
    changed = collection.with_options(write_concern=WriteConcern(w=1))
    assert type(changed) is Collection
    assert changed.write_concern == WriteConcern(w=1)
    assert collection.write_concern == WriteConcern(w="majority")
    assert collection.with_options(read_concern=ReadConcern("majority")).read_concern == ReadConcern("majority")
    assert collection.with_options(read_preference=ReadPreference.SECONDARY) is not collection


def test_a_cursor_that_could_not_be_made_or_was_closed_ends_quietly(aliases: None) -> None:
    collection = model()._get_collection()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError):
            collection.find(skip="none")
        gc.collect()
    cursor = collection.find()
    cursor.close()
    assert not cursor.alive
