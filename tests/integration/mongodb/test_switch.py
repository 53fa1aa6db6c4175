"""MongoEngine's own switches, in threads: nobody's documents go to another thread's database."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import mongoengine
import pytest
from mongoengine import fields
from mongoengine.context_managers import switch_collection, switch_db
from tests.integration.mongodb.documents import define

import undaunted
from undaunted.mongodb import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.mongodb.documents import Documents

    from undaunted.lab import MongoLab

pytestmark = pytest.mark.integration

TENANTS = ("one", "two", "three")


@pytest.fixture
def tenants(lab: MongoLab, database: str) -> Iterator[Documents]:
    """Three clusters on one lab, a database each; the documents belong to the first."""
    settings: dict[str, Any] = {"clusters": {}}
    for tenant in TENANTS:
        settings["clusters"] |= lab.settings_for(tenant)["clusters"]
        settings["clusters"][tenant]["database"] = f"{database}_{tenant}"
    undaunted.configure(settings)
    try:
        yield define(Document, "one")
    finally:
        undaunted.close()


def _keys(lab: MongoLab, name: str, collection: str = "items") -> set[str]:
    with lab.client() as client:
        return {item["key"].split("-")[0] for item in client[name][collection].find({}, {"key": 1})}


def test_switch_db_in_threads(lab: MongoLab, tenants: Documents, database: str) -> None:
    """Each thread in its own tenant's database, and one thread that switches nothing."""

    def write(tenant: str | None, worker: int) -> int:
        for number in range(100):
            key = f"{tenant or 'none'}-{worker}-{number}"
            if tenant is None:
                tenants.Item(key=key).save()
                continue
            with switch_db(tenants.Item, tenant) as item:
                item(key=key).save()
                assert item.objects(key=key).count() == 1
        return 100

    with ThreadPoolExecutor(8) as pool:
        works = enumerate((None, "two", "three", None, "two", "three"))
        futures = [pool.submit(write, tenant, worker) for worker, tenant in works]
        assert sum(future.result(120) for future in futures) == 600
    assert _keys(lab, f"{database}_one") == {"none"}
    assert _keys(lab, f"{database}_two") == {"two"}
    assert _keys(lab, f"{database}_three") == {"three"}
    assert tenants.Item.objects.count() == 200


def test_switch_collection_in_threads(lab: MongoLab, tenants: Documents, database: str) -> None:
    def write(name: str | None, worker: int) -> None:
        for number in range(100):
            key = f"{name or 'none'}-{worker}-{number}"
            if name is None:
                tenants.Item(key=key).save()
                continue
            with switch_collection(tenants.Item, name) as item:
                item(key=key).save()
                assert item.objects(key=key).count() == 1

    with ThreadPoolExecutor(8) as pool:
        works = enumerate((None, "left", "right", None, "left", "right"))
        for future in [pool.submit(write, name, worker) for worker, name in works]:
            future.result(120)
    assert _keys(lab, f"{database}_one") == {"none"}
    assert _keys(lab, f"{database}_one", "left") == {"left"}
    assert _keys(lab, f"{database}_one", "right") == {"right"}


def test_using_in_threads(lab: MongoLab, tenants: Documents, database: str) -> None:
    for tenant in TENANTS:
        with switch_db(tenants.Item, tenant) as item:
            item(key=tenant).save()

    def read(tenant: str | None) -> set[str]:
        found: set[str] = set()
        for _ in range(100):
            queryset = tenants.Item.objects if tenant is None else tenants.Item.objects.using(tenant)
            found.update(item.key for item in queryset)
        return found

    with ThreadPoolExecutor(8) as pool:
        asked = [None, *TENANTS, None, *TENANTS]
        futures = [pool.submit(read, tenant) for tenant in asked]
        assert [future.result(120) for future in futures] == [{tenant or "one"} for tenant in asked]


def test_nested_and_left_by_an_error(tenants: Documents) -> None:
    with switch_db(tenants.Item, "two") as item:
        item(key="two").save()
        with switch_db(tenants.Item, "three"):
            tenants.Item(key="three").save()
            with switch_collection(tenants.Item, "aside"):
                tenants.Item(key="aside").save()
        tenants.Item(key="two again").save()
    with pytest.raises(KeyError), switch_db(tenants.Item, "two"):
        raise KeyError
    tenants.Item(key="one").save()
    assert {i.key for i in tenants.Item.objects} == {"one"}
    assert {i.key for i in tenants.Item.objects.using("two")} == {"two", "two again"}
    assert {i.key for i in tenants.Item.objects.using("three")} == {"three"}


def test_one_document_switched(tenants: Documents) -> None:
    """`Document.switch_db` moves one object and no other."""
    item = tenants.Item(key="moved")
    item.switch_db("two")
    item.save()
    other = tenants.Item(key="stayed").save()
    assert {i.key for i in tenants.Item.objects} == {"stayed"}
    assert {i.key for i in tenants.Item.objects.using("two")} == {"moved"}
    other.switch_collection("aside", keep_created=False)
    other.save()
    assert tenants.Item.objects.count() == 1
    with switch_collection(tenants.Item, "aside"):
        assert {i.key for i in tenants.Item.objects} == {"stayed"}


def test_tasks_of_one_thread(tenants: Documents) -> None:
    """Two tasks that take turns in one thread do not see each other's switch either."""

    async def write(tenant: str) -> None:
        with switch_db(tenants.Item, tenant):
            for number in range(20):
                tenants.Item(key=f"{tenant}-{number}").save()
                await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(*(write(tenant) for tenant in TENANTS))

    asyncio.run(both())
    for tenant in TENANTS:
        assert {i.key.split("-")[0] for i in tenants.Item.objects.using(tenant)} == {tenant}


def test_handed_to_a_thread_on_purpose(tenants: Documents) -> None:
    with switch_db(tenants.Item, "two"):
        context = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: tenants.Item(key="own").save()).result(30)
        pool.submit(context.run, lambda: tenants.Item(key="handed").save()).result(30)
    assert {i.key for i in tenants.Item.objects} == {"own"}
    assert {i.key for i in tenants.Item.objects.using("two")} == {"handed"}


def test_a_fault_while_switched(lab: MongoLab, tenants: Documents) -> None:
    with switch_db(tenants.Item, "two") as item:
        item(key="before").save()
        lab.step_down()
        item(key="after").save()
        item.objects.update(set__n=1)
        assert [i.key for i in item.objects.order_by("key")] == ["after", "before"]
    assert tenants.Item.objects.count() == 0


def test_indexes_are_made_in_each(tenants: Documents) -> None:
    for tenant in TENANTS:
        with switch_db(tenants.Item, tenant) as item:
            item(key="a").save()
            assert "key_1" in item._get_collection().index_information()


def test_plain_writes_elsewhere(lab: MongoLab, database: str) -> None:
    """While one thread of the plain stack has switched, another thread's documents go where that one went."""
    for tenant in ("plain", "other"):
        mongoengine.connect(f"{database}_{tenant}", alias=tenant, host=lab.uri, uuidRepresentation="standard")
    try:

        class Note(mongoengine.Document):
            meta = {"db_alias": "plain", "collection": "notes"}
            key = fields.StringField()

        Note(key="before").save()
        switched, written = threading.Event(), threading.Event()

        def switch() -> None:
            with switch_db(Note, "other"):
                switched.set()
                written.wait(30)

        thread = threading.Thread(target=switch)
        thread.start()
        assert switched.wait(30)
        Note(key="mine").save()
        written.set()
        thread.join(30)
        assert {note.key for note in Note.objects} == {"before"}
        assert _keys(lab, f"{database}_other", "notes") == {"mine"}
    finally:
        for tenant in ("plain", "other"):
            mongoengine.disconnect(tenant)


def test_the_same_with_undaunted(lab: MongoLab, tenants: Documents, database: str) -> None:
    """The very interleaving of `test_plain_writes_elsewhere`."""
    switched, written = threading.Event(), threading.Event()

    def switch() -> None:
        with switch_db(tenants.Item, "two"):
            switched.set()
            written.wait(30)

    thread = threading.Thread(target=switch)
    thread.start()
    assert switched.wait(30)
    tenants.Item(key="mine").save()
    written.set()
    thread.join(30)
    assert _keys(lab, f"{database}_one") == {"mine"}
    assert _keys(lab, f"{database}_two") == set()
