"""What the request itself causes comes through as MongoEngine and pymongo raise it, with its context, and at once."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import mongoengine
import pytest
from mongoengine import errors, fields
from pymongo import InsertOne, UpdateOne
from pymongo import errors as driver

from undaunted.mongodb import Document

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.documents import Documents

pytestmark = pytest.mark.integration


def _account(base: Any, alias: str) -> Any:
    class Account(base):
        meta = {"db_alias": alias, "collection": "accounts"}
        name = fields.StringField(unique=True, max_length=20)
        n = fields.IntField(min_value=0)
        owner = fields.ReferenceField("self", reverse_delete_rule=mongoengine.DENY)

    return Account


def _bulk(account: Any, ordered: bool) -> None:
    account._get_collection().bulk_write(
        [InsertOne({"name": "b"}), InsertOne({"name": "a"}), InsertOne({"name": "c"})], ordered=ordered
    )


def _denied(account: Any) -> None:
    first = account.objects.get(name="a")
    account(name="owned", owner=first).save()
    first.delete()


MISTAKES: dict[str, tuple[type[Exception], type[Exception] | None, Callable[[Any], Any]]] = {
    "not unique, saved": (errors.NotUniqueError, driver.DuplicateKeyError, lambda a: a(name="a").save()),
    "not unique, updated": (
        errors.NotUniqueError,
        driver.DuplicateKeyError,
        lambda a: [a(name="b").save(), a.objects(name="b").update_one(set__name="a")],
    ),
    "not unique, inserted": (
        errors.NotUniqueError,
        driver.DuplicateKeyError,
        lambda a: a.objects.insert(a(name="a")),
    ),
    "not unique, one of many": (
        errors.BulkWriteError,
        driver.BulkWriteError,
        lambda a: a.objects.insert([a(name="b"), a(name="a"), a(name="c")]),
    ),
    "not unique, updated many": (
        errors.NotUniqueError,
        driver.DuplicateKeyError,
        lambda a: [a(name="b").save(), a.objects.update(set__name="c")],
    ),
    "bulk in order": (driver.BulkWriteError, None, lambda a: _bulk(a, ordered=True)),
    "bulk without order": (driver.BulkWriteError, None, lambda a: _bulk(a, ordered=False)),
    "does not validate": (errors.ValidationError, None, lambda a: a(name="x" * 21).save()),
    "does not exist": (errors.DoesNotExist, None, lambda a: a.objects.get(name="nobody")),
    "more than one": (
        errors.MultipleObjectsReturned,
        None,
        lambda a: [a(name="b").save(), a.objects.get(name__in=["a", "b"])],
    ),
    "wrong query": (errors.InvalidQueryError, None, lambda a: list(a.objects(nothing=1))),
    "wrong operator": (driver.OperationFailure, None, lambda a: list(a.objects(__raw__={"$nothing": 1}))),
    "wrong update": (
        errors.OperationError,
        driver.WriteError,
        lambda a: a.objects(name="a").update_one(__raw__={"$set": {"_id": 7}}),
    ),
    "wrong update of many": (
        errors.OperationError,
        driver.WriteError,
        lambda a: a.objects(name="a").update(__raw__={"$set": {"_id": 7}}),
    ),
    "wrong modify": (
        errors.OperationError,
        driver.OperationFailure,
        lambda a: a.objects(name="a").modify(__raw__={"$set": {"_id": 7}}),
    ),
    "unknown field": (errors.FieldDoesNotExist, None, lambda a: a(nothing=1)),
    "denied": (errors.OperationError, None, _denied),
    "too large": (
        errors.OperationError,
        None,
        lambda a: a.objects(name="a").update_one(__raw__={"$set": {"x": "x" * (16 * 1024 * 1024)}}),
    ),
    "unknown command": (driver.OperationFailure, None, lambda a: a._get_db().command("nothing")),
    "wrong pipeline": (driver.OperationFailure, None, lambda a: list(a.objects.aggregate([{"$nothing": {}}]))),
    "too slow by its own limit": (
        driver.ExecutionTimeout,
        None,
        lambda a: list(a.objects(__raw__={"$where": "sleep(300) || true"}).max_time_ms(20)),
    ),
    "bad hint": (driver.OperationFailure, None, lambda a: list(a.objects.hint("nothing"))),
    "two shards of one bulk": (
        driver.BulkWriteError,
        None,
        lambda a: a._get_collection().bulk_write([UpdateOne({"name": "a"}, {"$set": {"_id": 7}})]),
    ),
}  # fmt: skip


def _caught(account: Any, run: Callable[[Any], Any]) -> tuple[Exception, float]:
    account(name="a", n=0).save()
    began_s = time.monotonic()
    with pytest.raises(Exception) as caught:  # which one is the question
        run(account)
    return caught.value, time.monotonic() - began_s


@pytest.mark.parametrize("mistake", MISTAKES)
def test_as_plain(shop: Documents, plain: Documents, mistake: str) -> None:
    """The same class, message, code and context as with MongoEngine alone; and the same is in the database."""
    kind, context, run = MISTAKES[mistake]
    expected, _ = _caught(_account(mongoengine.Document, "plain"), run)
    left = _left(plain)
    plain.Item._get_collection().database.accounts.drop()
    found, took_s = _caught(_account(Document, "shop"), run)
    assert [kind.__name__ for kind in type(found).__mro__] == [kind.__name__ for kind in type(expected).__mro__]
    assert isinstance(found, kind)
    assert _text(found) == _text(expected)
    assert getattr(found, "code", None) == getattr(expected, "code", None)
    if context is not None:
        assert isinstance(found.__cause__ or found.__context__, context)
        assert isinstance(expected.__cause__ or expected.__context__, context)
    assert _left(plain) == left
    assert took_s < 2.0


def _text(error: Exception) -> str:
    """The message without what differs from run to run."""
    shown = (
        str(error).replace("Executor error during find command :: caused by :: ", "").split(" (configured timeouts")[0]
    )
    return re.sub(r"ObjectId\('[0-9a-f]{24}'\)|[0-9a-f]{24}|Timestamp\([^)]*\)|b'[^']*'|'keyId': -?\d+", "*", shown)[
        :200
    ]


def _left(plain: Documents) -> list[Any]:
    accounts = plain.Item._get_collection().database.accounts
    return sorted((found.get("name"), found.get("n")) for found in accounts.find())


def test_class_of_its_own_document(shop: Documents) -> None:
    with pytest.raises(shop.Item.DoesNotExist):
        shop.Item.objects.get(key="nothing")
