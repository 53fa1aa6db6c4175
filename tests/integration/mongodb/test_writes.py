"""Writes to one document by every road that leads there: files, sequences, upserts, mixins, and settings alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mongoengine
import pytest
from mongoengine import fields
from tests.integration.mongodb.documents import define
from tests.integration.mongodb.load import MANY, SCANS, SINGLE, Load

from undaunted.mongodb import Document, DocumentMixin, DynamicDocument, DynamicEmbeddedDocument, EmbeddedDocument

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mongodb.conftest import Strike
    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration


class OwnBase(mongoengine.Document):
    """An application's own base, which the mixin is added to."""

    meta = {"abstract": True}

    def shout(self) -> str:
        return self.key.upper()


class MixedBase(DocumentMixin, OwnBase):
    meta = {"abstract": True}


BASES = {"base": Document, "dynamic base": DynamicDocument, "mixin": MixedBase, "settings alone": mongoengine.Document}


@pytest.mark.parametrize("base", BASES)
def test_each_way_in(strike: Strike, configure: Callable[..., None], base: str) -> None:
    """The bases, the mixin on a base of one's own, and an untouched model that names the alias."""
    configure()
    documents = define(BASES[base], "shop")
    documents.Item.ensure_indexes()
    with strike("insert", times=2) as inserted:
        item = documents.Item(key="a", group="g").save()
    with strike("update", times=2) as updated:
        item.update(inc__n=1)
    with strike("update", times=1) as updated_many:
        documents.Item.objects(group="g").update(inc__n=1)
    with strike("find", times=2) as found:
        assert documents.Item.objects.get(key="a").n == 2
    assert (inserted.hits, updated.hits, updated_many.hits, found.hits) == (2, 2, 1, 2)
    if base == "mixin":
        assert item.shout() == "A"


def test_default_cluster(strike: Strike, configure: Callable[..., None]) -> None:
    """A model that names no alias at all is protected by the cluster that is the default."""
    configure(default=True)

    class Note(mongoengine.Document):
        text = fields.StringField()

    Note.ensure_indexes()
    with strike("insert", times=3) as struck:
        Note(text="a").save()
    assert struck.hits == 3
    assert Note.objects.count() == 1


@pytest.mark.parametrize("content", [b"short", b"long" * 200_000], ids=["one chunk", "four chunks"])
@pytest.mark.parametrize("cut_off", [1, 3])
def test_files(strike: Strike, shop: Documents, content: bytes, cut_off: int) -> None:
    shop.Attachment(key="first").save()
    first = shop.Attachment(key="seed")
    first.content.put(b"x")  # the indexes of GridFS are there
    first.save()
    attachment = shop.Attachment(key="a")
    with strike("insert", times=cut_off) as struck:
        attachment.content.put(content, filename="a", content_type="text/plain")
        attachment.save()
    assert struck.hits == cut_off
    found = shop.Attachment.objects.get(key="a")
    assert found.content.read() == content
    assert found.content.filename == "a"
    store = shop.Attachment._get_collection().database
    assert store["fs.files"].count_documents({"filename": "a"}) == 1
    with strike("delete", "find", times=1):
        found.content.delete()
        found.save()
    assert store["fs.files"].count_documents({"filename": "a"}) == 0
    assert store["fs.chunks"].count_documents({"files_id": {"$ne": first.content.grid_id}}) == 0


def test_first_file_of_all(strike: Strike, shop: Documents) -> None:
    """Its indexes are made on the way, and each of the commands for that is cut off too."""
    attachment = shop.Attachment(key="a")
    with strike("listIndexes", "createIndexes", "find", "insert", times=4) as struck:
        attachment.content.put(b"content")
        attachment.save()
    assert struck.hits == 4
    assert shop.Attachment.objects.get(key="a").content.read() == b"content"


def test_sequences(lab: MongoLab, strike: Strike, shop: Documents) -> None:
    """No number is given out twice; with the reply lost none is left out either."""
    shop.Ticket(key="0").save()
    numbers = []
    for key in range(1, 3):
        with strike("findAndModify", times=2), lab.lost_reply():
            numbers.append(shop.Ticket(key=str(key)).save().number)
    assert numbers == [2, 3]
    assert sorted(ticket.number for ticket in shop.Ticket.objects) == [1, 2, 3]


def test_upserts(lab: MongoLab, strike: Strike, shop: Documents) -> None:
    shop.Item.ensure_indexes()
    with strike("update", times=2), lab.lost_reply():
        shop.Item.objects(key="a").update_one(upsert=True, inc__n=1)
    with strike("findAndModify", times=2), lab.lost_reply():
        shop.Item.objects(key="b").modify(upsert=True, new=True, inc__n=1)
    with strike("update", times=2), lab.lost_reply():
        made = shop.Item.objects(key="c").upsert_one(set__n=1)
    assert made.key == "c"
    assert sorted((item.key, item.n) for item in shop.Item.objects) == [("a", 1), ("b", 1), ("c", 1)]


def test_replaced_by_its_key(lab: MongoLab, strike: Strike, shop: Documents) -> None:
    class Setting(Document):
        meta = {"db_alias": "shop", "collection": "settings"}
        name = fields.StringField(primary_key=True)
        value = fields.IntField()

    Setting(name="a", value=1).save()
    with strike("findAndModify", times=3) as struck:
        Setting(name="a", value=2).save()
    assert struck.hits == 3
    assert Setting.objects.get().value == 2


def test_embedded_and_dynamic(lab: MongoLab, strike: Strike, shop: Documents) -> None:
    class Line(EmbeddedDocument):
        n = fields.IntField()

    class Extra(DynamicEmbeddedDocument):
        pass

    class Basket(DynamicDocument):
        __undaunted__ = {"cluster": "shop"}
        lines = fields.EmbeddedDocumentListField(Line)
        extra = fields.EmbeddedDocumentField(Extra)

    basket = Basket(lines=[Line(n=1)], extra=Extra(colour="red"), anything=[1, 2]).save()
    with strike("update", times=2), lab.lost_reply():
        basket.lines.append(Line(n=2))
        basket.extra.colour = "blue"
        basket.anything.append(3)
        basket.save()
    found = Basket.objects.get()
    assert [line.n for line in found.lines] == [1, 2]
    assert (found.extra.colour, found.anything) == ("blue", [1, 2, 3])
    with strike("update", times=2), lab.lost_reply():
        Basket.objects.update_one(push__lines=Line(n=3))
    assert [line.n for line in Basket.objects.get().lines] == [1, 2, 3]


def test_cascade(lab: MongoLab, strike: Strike, shop: Documents) -> None:
    owner = shop.Owner(name="a").save()
    row = shop.Row(k=1, owner=owner).save()
    owner.name = "b"
    row.k = 2
    with strike("update", times=3) as struck:
        row.save(cascade=True)
    assert struck.hits == 3
    found = shop.Row.objects.get()
    assert (found.k, found.owner.name) == (2, "b")


def test_plain_load_under_a_kill(lab: MongoLab, plain: Documents) -> None:
    """The very load of `test_gaps`, on MongoEngine alone: its writes to many and its scans raise."""
    with Load(plain, lab.uri) as load:
        killed = lab.kill("primary")
        lab.wait_primary(other_than=killed)
        load.go_on()
    audit = load.audit()
    print(f"plain under a kill: {audit}")
    raised = {entry.kind for entry in audit.raised}
    assert raised & {*MANY, *SCANS}
    assert raised.isdisjoint(set(SINGLE) - {"delete_one", "file", "sequence"})  # these are more than one write
