"""A new document has its `_id` before the first attempt, so that however often it is sent, it is one document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tenacity
from mongoengine import NotUniqueError, OperationError, fields
from tests.integration.mongodb.documents import define

import undaunted
from undaunted.mongodb import Document, OutcomeUnknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.commands import Commands
    from tests.integration.mongodb.conftest import Strike
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

EXECUTED_THEN_GONE = {"code": 91, "errmsg": "shutting down"}


@pytest.fixture
def unnumbered(configure: Callable[..., None]) -> Documents:
    configure(options={"retryWrites": False})
    return define(Document, "shop")


def _save(documents: Documents) -> Any:
    return documents.Item(key="a").save()


def _insert(documents: Documents) -> Any:
    return documents.Item.objects.insert(documents.Item(key="a"), load_bulk=False)


@pytest.mark.parametrize("make", [_save, _insert])
def test_the_same_id_in_each_attempt(
    lab: MongoLab, strike: Strike, shop: Documents, commands: Commands, make: Callable[[Documents], Any]
) -> None:
    shop.Item.ensure_indexes()
    with strike("insert", times=2), lab.lost_reply(times=1):
        make(shop)
    sent = commands.named("insert")
    assert len(sent) == 4
    assert len({one.ids for one in sent}) == 1
    found = shop.Item.objects.get(key="a")
    assert (found.id,) == sent[0].ids


def test_the_document_knows_its_id(lab: MongoLab, shop: Documents) -> None:
    shop.Item.ensure_indexes()
    with lab.lost_reply(times=1):
        item = shop.Item(key="a").save()
    assert shop.Item.objects.get(key="a").id == item.id
    item.n = 5
    item.save()
    assert shop.Item.objects(key="a").count() == 1
    assert item.reload().n == 5


@pytest.mark.parametrize("make", [_save, _insert])
def test_its_own_duplicate_is_success(
    strike: Strike, unnumbered: Documents, commands: Commands, make: Callable[[Documents], Any]
) -> None:
    """Executed, its answer lost, and sent again without a number: the server's duplicate is our own document."""
    unnumbered.Item.ensure_indexes()
    with strike("insert", write_concern_error=EXECUTED_THEN_GONE), undaunted.options(idempotent=True):
        make(unnumbered)
    sent = commands.named("insert")
    assert len(sent) == 2
    assert sent[0].ids == sent[1].ids
    assert unnumbered.Item.objects(key="a").count() == 1


def test_save_after_an_unknown_outcome(strike: Strike, unnumbered: Documents) -> None:
    """The program that saves the same object again must not make a second document."""
    unnumbered.Item.ensure_indexes()
    item = unnumbered.Item(key="a")
    with strike("insert", write_concern_error=EXECUTED_THEN_GONE), pytest.raises(OutcomeUnknown):
        item.save()
    item.n = 5
    item.save()
    assert [found.n for found in unnumbered.Item.objects(key="a")] == [5]


def test_save_after_an_unknown_outcome_that_was_nothing(strike: Strike, unnumbered: Documents) -> None:
    unnumbered.Item.ensure_indexes()
    item = unnumbered.Item(key="a")
    with strike("insert"), pytest.raises(OutcomeUnknown):
        item.save()
    item.n = 5
    item.save()
    assert [found.n for found in unnumbered.Item.objects(key="a")] == [5]


def test_another_ones_duplicate_is_an_error(strike: Strike, unnumbered: Documents) -> None:
    """A re-run that meets another document with the same unique value has not succeeded."""

    class Account(Document):
        meta = {"db_alias": "shop", "collection": "accounts"}
        name = fields.StringField(unique=True)

    Account(name="a").save()
    with strike("insert"), undaunted.options(idempotent=True), pytest.raises(NotUniqueError):
        Account(name="a").save()
    assert Account.objects.count() == 1


def test_a_taken_primary_key_is_an_error(strike: Strike, shop: Documents) -> None:
    class Account(Document):
        meta = {"db_alias": "shop", "collection": "accounts"}
        name = fields.StringField(primary_key=True)
        n = fields.IntField()

    Account(name="a", n=1).save(force_insert=True)
    with strike("insert", times=2), pytest.raises(NotUniqueError):
        Account(name="a", n=2).save(force_insert=True)
    assert Account.objects.get().n == 1


def test_a_chosen_primary_key(lab: MongoLab, shop: Documents) -> None:
    class Account(Document):
        meta = {"db_alias": "shop", "collection": "accounts"}
        name = fields.StringField(primary_key=True)
        n = fields.IntField()

    Account.ensure_indexes()
    with lab.lost_reply(times=1) as lost:
        Account(name="a", n=1).save()
    assert lost.hits >= 1
    assert Account.objects.get().n == 1


def test_signals_are_sent_once(strike: Strike, shop: Documents) -> None:
    from mongoengine import signals

    shop.Item.ensure_indexes()
    told: list[str] = []

    def note(sender: Any, document: Any, **_: Any) -> None:
        told.append(document.key)

    with signals.pre_save.connected_to(note, sender=shop.Item), strike("insert", times=3):
        shop.Item(key="a").save()
    assert told == ["a"]


def test_plain_retry_doubles(lab: MongoLab, plain: Documents) -> None:
    """What everybody writes around the plain stack: executed, its answer lost, and tried again, it is two documents."""
    plain.Item.ensure_indexes()
    again = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(OperationError), stop=tenacity.stop_after_attempt(5)
    )
    with lab.fail_command(["insert"], times=2, write_concern_error=EXECUTED_THEN_GONE) as fault:
        again(lambda: plain.Item(key="a").save())
    assert fault.hits == 2
    assert plain.Item.objects(key="a").count() == 2
