"""What our model bases, batches and settings know of a statement reaches the session, whichever way it takes."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cassandra
import pytest
from cassandra import ConsistencyLevel
from cassandra.cqlengine import CQLEngineException, columns, connection, models, query
from cassandra.cqlengine.usertype import UserType
from cassandra.query import BatchStatement, SimpleStatement
from tests.unit.cassandra.conftest import Line, Product, Seat, settings_of, until

import undaunted
from undaunted.cassandra import (
    BatchQuery,
    BatchType,
    ContextQuery,
    Model,
    ModelMixin,
    NamedTable,
    OutcomeUnknown,
    sync_table,
    sync_type,
)
from undaunted.registry import REGISTRY
from undaunted.testing.cql import FakeCassandra, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Base(models.Model):
    """A base of the application's own."""

    __abstract__ = True
    created_by = columns.Text()

    def greet(self) -> str:
        return f"by {self.created_by}"


class Note(ModelMixin, Base):
    __undaunted__ = {"cluster": "catalog"}
    key = columns.Integer(primary_key=True)
    text = columns.Text()


class Hasty(Model):
    __undaunted__ = {"cluster": "catalog", "retry.deadline": "250ms"}
    key = columns.Integer(primary_key=True)
    text = columns.Text()


class Sure(Model):
    """Whose owner says that its writes may be run twice, appends too."""

    __undaunted__ = {"cluster": "catalog", "idempotent": True}
    key = columns.Integer(primary_key=True)
    log = columns.List(columns.Integer)


class Plain(models.Model):
    """Nothing of ours in it."""

    __connection__ = "catalog"
    __keyspace__ = "shop"
    key = columns.Integer(primary_key=True)
    text = columns.Text()
    log = columns.List(columns.Integer)
    prices = columns.Map(columns.Text, columns.Integer)


class PlainHits(models.Model):
    __connection__ = "catalog"
    __keyspace__ = "shop"
    page = columns.Text(primary_key=True)
    count = columns.Counter()


class Overridden(models.Model):
    """Nothing of ours in it, and the settings give it a policy of its own."""

    __connection__ = "catalog"
    __keyspace__ = "shop"
    key = columns.Integer(primary_key=True)
    text = columns.Text()


class Nameless(models.Model):
    """Lives wherever the default is."""

    key = columns.Integer(primary_key=True)
    text = columns.Text()


class Loud(Model):
    __undaunted__ = {"cluster": "catalog"}
    __consistency__ = ConsistencyLevel.ALL
    key = columns.Integer(primary_key=True)
    text = columns.Text()


class Away(Model):
    """Lives in the other cluster."""

    __undaunted__ = {"cluster": "archive"}
    key = columns.Integer(primary_key=True)
    text = columns.Text()


class PlainAway(models.Model):
    """Nothing of ours in it, and it lives in the other cluster."""

    __connection__ = "archive"
    __keyspace__ = "attic"
    key = columns.Integer(primary_key=True)
    text = columns.Text()


class Address(UserType):
    street = columns.Text()
    number = columns.Integer()


class Person(Model):
    __undaunted__ = {"cluster": "catalog"}
    key = columns.Integer(primary_key=True)
    home = columns.UserDefinedType(Address)


ALL = (Product, Line, Seat, Note, Hasty, Sure, Plain, PlainHits, Overridden, Loud)


@pytest.fixture(scope="module", autouse=True)
def no_settings_left() -> Iterator[None]:
    """Two clusters for the whole module: in place of the fixture that closes all after each test."""
    REGISTRY.close()
    yield
    REGISTRY.close()


@pytest.fixture(scope="module")
def clusters() -> Iterator[Any]:
    with FakeCassandra(nodes=3) as fake, FakeCassandra(nodes=1) as archive:
        fake.create_keyspace("shop")
        fake.create_keyspace("other")
        archive.create_keyspace("attic", replication_factor=1)
        settings = settings_of(fake, default=True, timeout="300ms", budget={"capacity": 10_000})
        settings["clusters"]["archive"] = {
            "backend": "cassandra",
            "nodes": [f"{archive.contact_points[0]}:{archive.port}"],
            "keyspace": "attic",
        }
        settings["models"] = {f"{__name__}.Overridden": {"retry": {"deadline": "250ms"}}}
        undaunted.configure(settings)
        sync_type("shop", Address)
        for model in (*ALL, Nameless, Away, Person):
            sync_table(model)
        yield SimpleNamespace(fake=fake, archive=archive)
        REGISTRY.close()


@pytest.fixture
def fake(clusters: Any) -> Iterator[FakeCassandra]:
    made: FakeCassandra = clusters.fake
    for model in ALL:
        made.execute(f"TRUNCATE {model.column_family_name()}")
    made.clear_scripts()
    made.clear_journal()
    clusters.archive.clear_journal()
    yield made
    made.clear_scripts()


def all_well() -> bool:
    return all(each["role"] == "replica" for each in undaunted.status()["clusters"]["catalog"]["nodes"])


def texts(fake: FakeCassandra, word: str = "") -> list[str]:
    return [each.text for each in fake.executed if word in each.text]


# -- where a model lives, and what bounds it -------------------------------------------------------------------------


def test_a_model_on_a_base_of_the_applications_own(fake: FakeCassandra) -> None:
    fake.script("INSERT").lose_reply()
    Note.create(key=1, text="x", created_by="ada")
    found = Note.objects.get(key=1)
    assert (found.greet(), found.text) == ("by ada", "x")
    assert len(texts(fake, "INSERT")) == 2
    assert texts(fake, "INSERT")[0].startswith("INSERT INTO shop.note ")


@pytest.mark.parametrize("model", [Hasty, Overridden])
def test_a_models_own_deadline_bounds_it(fake: FakeCassandra, model: Any) -> None:
    fake.script("SELECT", times=None).hang()
    with pytest.raises(undaunted.DeadlineExceeded, match=r"0\.25 s,"):
        list(model.objects(key=1))
    fake.clear_scripts()
    until(all_well)
    with undaunted.options(deadline="10s"):
        list(model.objects(key=1))  # who calls may still say otherwise


def test_a_model_whose_writes_were_declared_idempotent(fake: FakeCassandra) -> None:
    Sure.create(key=1, log=[1])
    fake.script("UPDATE").drop()
    Sure.objects(key=1).update(log__append=[2])
    assert Sure.objects.get(key=1).log == [1, 2]
    fake.script("UPDATE").drop()
    with undaunted.options(idempotent=False), pytest.raises(OutcomeUnknown):
        Sure.objects(key=1).update(log__append=[3])


def test_an_untouched_model_is_protected_by_its_connection(fake: FakeCassandra) -> None:
    fake.script("INSERT").lose_reply()
    Plain.create(key=1, text="x", log=[1], prices={"a": 1})
    assert len(texts(fake, "INSERT")) == 2
    fake.script("UPDATE").lose_reply()
    Plain.objects(key=1).update(prices__update={"b": 2})  # one element of a map
    assert len(texts(fake, "UPDATE")) == 2
    fake.script("DELETE").lose_reply()
    Plain.objects(key=2).delete()
    assert len(texts(fake, "DELETE")) == 2
    fake.clear_journal()
    fake.script("UPDATE").lose_reply()
    with pytest.raises(OutcomeUnknown):
        Plain.objects(key=1).update(log__append=[2])
    fake.script("UPDATE").lose_reply()
    with pytest.raises(OutcomeUnknown):
        PlainHits.objects(page="home").update(count=1)
    assert len(texts(fake, "UPDATE")) == 2
    fake.script("DELETE").lose_reply()
    with pytest.raises(OutcomeUnknown):
        PlainHits.objects(page="home").delete()  # what is counted from now on must not be deleted by a second run
    assert Plain.objects.get(key=1).log == [1, 2]


def test_a_model_that_names_no_cluster_lives_in_the_default_one(fake: FakeCassandra) -> None:
    fake.script("INSERT").lose_reply()
    Nameless.create(key=1, text="x")
    assert texts(fake, "INSERT")[0].startswith("INSERT INTO shop.nameless ")
    assert len(texts(fake, "INSERT")) == 2
    assert connection.get_connection().name == "catalog"


def test_elements_of_a_list_written_by_hand_are_sent_once(fake: FakeCassandra) -> None:
    """A map and a list look the same in such a text; an element of a list is another one when others come before."""
    Plain.create(key=1, log=[1, 2], prices={"a": 1})
    for text, values in (
        ("UPDATE shop.plain SET log[%(at)s] = %(to)s WHERE key = %(key)s", {"at": 0, "to": 9, "key": 1}),
        ("DELETE log[%(at)s] FROM shop.plain WHERE key = %(key)s", {"at": 0, "key": 1}),
        ("DELETE FROM shop.nothing WHERE key = %(key)s", {"key": 1}),
    ):
        fake.script("UPDATE|DELETE").drop()
        with pytest.raises(OutcomeUnknown):
            connection.execute(text, values, connection="catalog")
    fake.script("UPDATE").drop()
    text = "UPDATE shop.plain SET prices[%(at)s] = %(to)s WHERE key = %(key)s"
    connection.execute(text, {"at": "a", "to": 9, "key": 1}, connection="catalog")
    assert Plain.objects.get(key=1).prices == {"a": 9}


@pytest.mark.parametrize("model", [Product, Plain])
def test_a_list_that_is_set_twice_is_set_once(fake: FakeCassandra, model: Any) -> None:
    """Setting a list deletes what is older, and appends; at the very same time nothing is older."""
    key = {"sku": 1} if model is Product else {"key": 1}
    for script in ("INSERT", "UPDATE", "BEGIN"):
        fake.clear_journal()
        fake.script(script).lose_reply()
        if script == "INSERT":
            model.create(**key, log=[1, 2])
        elif script == "UPDATE":
            model.objects(**key).update(log=[1, 2])
        else:
            with BatchQuery(connection="catalog") as batch:
                model.batch(batch).create(**key, log=[1, 2])
        assert model.objects.get(**key).log == [1, 2]
        first, second = (each for each in fake.executed if script in each.text)
        assert 0 < second.timestamp - first.timestamp < 10  # microseconds: what others write from then on is newer
    fake.script("INSERT").drop()
    with pytest.raises(OutcomeUnknown):  # the text itself says when, so no step can be made
        model.timestamp(timedelta(seconds=5)).create(**key, log=[1, 2])
    fake.clear_journal()
    fake.script("INSERT").lose_reply()
    with undaunted.options(idempotent=True):
        connection.execute("INSERT INTO shop.plain (key, log) VALUES (7, [1, 2])", connection="catalog")
    assert Plain.objects.get(key=7).log == [1, 2]


# -- the ways that a statement takes ---------------------------------------------------------------------------------


def test_a_context_query_changes_keyspace_or_cluster(clusters: Any, fake: FakeCassandra) -> None:
    with ContextQuery(Note, keyspace="other") as elsewhere:
        sync_table(elsewhere)
        fake.script("INSERT").lose_reply()
        elsewhere.create(key=1, text="there")
        assert elsewhere.objects.get(key=1).text == "there"
    assert len(texts(fake, "INSERT INTO other.note")) == 2
    assert Note.objects.filter(key=1).count() == 0
    clusters.archive.execute("CREATE TABLE IF NOT EXISTS attic.away (key int PRIMARY KEY, text text)")
    with ContextQuery(Note, connection="archive", keyspace="attic") as archived:
        sync_table(archived)
        archived.create(key=1, text="old")
    assert len(texts(clusters.archive, "INSERT INTO attic.note")) == 1


def test_using_chooses_another_cluster_for_one_query(clusters: Any, fake: FakeCassandra) -> None:
    with ContextQuery(Plain, connection="archive", keyspace="attic") as archived:
        sync_table(archived)
    Plain.create(key=1, text="here")
    Plain.using(connection="archive", keyspace="attic").create(key=1, text="there")
    assert Plain.objects.get(key=1).text == "here"
    assert Plain.objects.using(connection="archive", keyspace="attic").get(key=1).text == "there"
    assert len(texts(clusters.archive, "INSERT")) == 1
    Away.create(key=1, text="own")
    assert Away.objects.get(key=1).text == "own"
    assert texts(clusters.archive, "attic.away")


def test_a_named_table_is_read_again(fake: FakeCassandra) -> None:
    Plain.create(key=1, text="x")
    fake.script("SELECT").drop()
    assert [row["text"] for row in NamedTable("shop", "plain").objects.filter(key=1)] == ["x"]


def test_a_batch_goes_where_its_models_live(clusters: Any, fake: FakeCassandra) -> None:
    """cqlengine sends a batch of updates to the default connection, wherever its models live."""
    Away.create(key=5, text="x")
    clusters.archive.clear_journal()
    for kind in (BatchQuery, query.BatchQuery):
        with kind() as batch:
            Away.objects(key=5).batch(batch).update(text="y")
        with kind() as batch:
            Away.batch(batch).create(key=6, text="z")
    assert len(texts(clusters.archive, "BEGIN")) == 4
    assert texts(fake, "BEGIN") == []
    for first, second in ((Away, Note), (Note, Away)):
        with pytest.raises(CQLEngineException, match="same connection"), BatchQuery() as batch:
            first.objects(key=1).batch(batch).update(text="a")
            second.objects(key=1).batch(batch).update(text="b")
    with BatchQuery(connection="archive") as batch:
        Away.objects(key=5).batch(batch).update(text="w")
    assert Away.objects.get(key=5).text == "w"


def test_a_batch_of_untouched_models_goes_where_they_live(clusters: Any, fake: FakeCassandra) -> None:
    sync_table(PlainAway)
    PlainAway.create(key=1, text="x")
    with BatchQuery() as batch:
        PlainAway.objects(key=1).batch(batch).update(text="y")
    with BatchQuery() as batch:
        Nameless.objects(key=1).batch(batch).update(text="z")
    assert PlainAway.objects.get(key=1).text == "y"
    assert len(texts(clusters.archive, "BEGIN")) == len(texts(fake, "BEGIN")) == 1


def test_a_batch_in_one_partition_goes_to_a_node_that_has_it(fake: FakeCassandra) -> None:
    factor = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    connection.execute(f"CREATE KEYSPACE single WITH replication = {factor}", connection="catalog")
    until(lambda: "single" in connection.get_cluster("catalog").metadata.keyspaces)
    with ContextQuery(Line, keyspace="single") as single:
        sync_table(single)
        until(all_well)  # a node that another test has cut off is asked by nobody
        for order in range(8):
            fake.clear_journal()
            single.create(order=order, number=0)
            (home,) = {each.node for each in fake.executed}
            for _ in range(3):
                with BatchQuery() as batch:
                    single.batch(batch).create(order=order, number=1, item="lamp")
                    single.objects(order=order, number=2).batch(batch).update(item="bulb")
                    single.objects(order=order, number=3).batch(batch).delete()
            assert {each.node for each in fake.executed} == {home}


def test_a_batch_of_untouched_models_is_run_again(fake: FakeCassandra) -> None:
    fake.script("BEGIN").lose_reply()
    with query.BatchQuery(connection="catalog", batch_type=BatchType.Unlogged) as batch:
        Plain.batch(batch).create(key=1, text="x")
        Plain.objects(key=2).batch(batch).delete()
    first, second = (each for each in fake.executed if "BEGIN" in each.text)
    assert first.timestamp == second.timestamp
    fake.script("BEGIN").lose_reply()
    with pytest.raises(OutcomeUnknown), query.BatchQuery(connection="catalog", batch_type=BatchType.Counter) as batch:
        PlainHits.objects(page="x").batch(batch).update(count=1)


def test_what_a_batchs_callback_does_is_none_of_the_batch(fake: FakeCassandra) -> None:
    done: list[Any] = []

    def callback() -> None:
        done.append(connection.execute("SELECT key FROM system.local", connection="catalog").one())
        Note.create(key=7, text="after")

    with BatchQuery() as batch:
        Line.batch(batch).create(order=1, number=1, item="lamp")
        batch.add_callback(callback)
    assert done
    assert Note.objects.get(key=7).text == "after"
    with BatchQuery() as batch:
        batch.add_callback(callback)  # nothing in it but that
    assert len(done) == 2


def test_a_batch_that_is_used_again_begins_anew(fake: FakeCassandra) -> None:
    batch = BatchQuery()
    for order in (1, 2):
        Line.batch(batch).create(order=order, number=1, item="lamp")
        assert batch._routing() is not None
        with pytest.warns(UserWarning, match="multiple times") if order == 2 else _nothing():
            batch.execute()
    assert len(texts(fake, "BEGIN")) == 2


class _nothing:  # noqa: N801
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_a_batchs_own_timestamp_and_consistency_are_kept(fake: FakeCassandra) -> None:
    fake.script("BEGIN").lose_reply()
    with BatchQuery(timestamp=timedelta(seconds=3), consistency=ConsistencyLevel.ALL) as batch:
        Note.batch(batch).create(key=1, text="x")
    first, second = (each for each in fake.executed if "BEGIN" in each.text)
    assert first.text == second.text
    assert "USING TIMESTAMP" in first.text
    assert {first.request.consistency, second.request.consistency} == {"ALL"}


# -- what a query says of itself -------------------------------------------------------------------------------------


def test_a_querys_own_timeout_is_that_of_one_attempt(fake: FakeCassandra) -> None:
    fake.script("SELECT", times=3).hang()
    with pytest.raises(undaunted.Exhausted) as caught:
        list(Note.objects(key=1).timeout(0.05))
    assert 0.05 <= min(each.elapsed_s for each in caught.value.attempts) < 0.29  # and not the cluster's 300 ms
    fake.script("SELECT").delay(0.4)
    list(Note.objects(key=1).timeout(None))  # as long as the deadline
    assert len(texts(fake, "SELECT")) == 1
    with undaunted.options(deadline="150ms"), pytest.raises(undaunted.DeadlineExceeded):
        fake.script("SELECT", times=None).hang()
        list(Note.objects(key=1).timeout(None))


def test_consistency_of_query_model_and_settings(fake: FakeCassandra) -> None:
    Note.create(key=1)
    Note.objects(key=1).consistency(ConsistencyLevel.QUORUM).update(text="x")
    list(Note.objects(key=1).consistency(ConsistencyLevel.ONE))
    Loud(key=1).save()
    Seat.if_not_exists().create(number=99)
    assert [each.request.consistency for each in fake.executed] == [
        "LOCAL_QUORUM", "QUORUM", "ONE", "ALL", "LOCAL_QUORUM",
    ]  # fmt: skip
    assert fake.executed[-1].request.serial_consistency == "LOCAL_SERIAL"


def test_a_query_that_is_chained_keeps_what_it_was_told(fake: FakeCassandra) -> None:
    Line.create(order=1, number=1, item="a")
    Line.create(order=1, number=2, item="b")
    found = Line.objects.filter(order=1).order_by("-number").limit(1).consistency(ConsistencyLevel.ALL).only(["item"])
    assert [line.item for line in found] == ["b"]
    assert fake.executed[-1].request.consistency == "ALL"
    assert len(Line.objects(order=1)) == 2
    assert Line.objects(order=1).first().item == "a"
    assert list(Line.objects(order=1).values_list("item", flat=True)) == ["a", "b"]
    assert Line.objects(order=1)[1].item == "b"


def test_user_types(fake: FakeCassandra) -> None:
    fake.script("INSERT").lose_reply()
    Person.create(key=1, home=Address(street="High Street", number=1))
    assert Person.objects.get(key=1).home.street == "High Street"
    person = Person.objects.get(key=1)
    person.home = Address(street="High Street", number=2)
    fake.script("UPDATE").lose_reply()
    person.save()
    assert Person.objects.get(key=1).home.number == 2
    assert len(texts(fake, "UPDATE")) == 2


# -- a save that needs two statements --------------------------------------------------------------------------------


def stored(fake: FakeCassandra) -> Product:
    product = Product.create(sku=1, name="lamp", log=[1], tags={"old"}, prices={"eur": 1, "usd": 2})
    fake.clear_journal()
    return product


def test_each_statement_of_a_save_is_run_again_by_itself(fake: FakeCassandra) -> None:
    product = stored(fake)
    product.name, product.prices = None, {"eur": 2}
    product.tags = {"new"}
    fake.script("UPDATE").lose_reply()
    fake.script("DELETE").lose_reply()
    product.save()
    assert [len(texts(fake, word)) for word in ("UPDATE", "DELETE")] == [2, 2]
    found = Product.objects.get(sku=1)
    assert (found.name, found.prices, found.tags) == (None, {"eur": 2}, {"new"})


def test_when_the_second_statement_fails_the_error_says_that_the_first_was_applied(fake: FakeCassandra) -> None:
    product = stored(fake)
    product.name, product.log = None, [1, 2]
    script = fake.script("DELETE", times=None).hang()
    with undaunted.options(deadline="200ms"), pytest.raises(OutcomeUnknown) as caught:
        product.save()
    assert caught.value.applied == ("UPDATE of log",)
    assert "Applied before this one: UPDATE of log; this error is that of its DELETE of name. Save" in str(caught.value)
    assert isinstance(caught.value, cassandra.OperationTimedOut)
    script.cancel()
    product.save()  # the append is not sent a second time
    found = Product.objects.get(sku=1)
    assert (found.name, found.log) == (None, [1, 2])
    assert len(texts(fake, "UPDATE")) == 1


def test_an_error_of_the_drivers_own_says_it_too(fake: FakeCassandra) -> None:
    from undaunted.testing.cql import Unauthorized

    product = stored(fake)
    product.name, product.tags, product.prices = None, {"old", "new"}, {"usd": 3}
    fake.script("DELETE").error(Unauthorized())
    with pytest.raises(cassandra.Unauthorized) as caught:
        product.save()
    assert caught.value.applied == ("UPDATE of tags, prices",)
    if sys.version_info >= (3, 11):
        assert "this error is that of its DELETE of name, prices" in "".join(caught.value.__notes__)
    product.save()
    found = Product.objects.get(sku=1)
    assert (found.name, found.tags, found.prices) == (None, {"old", "new"}, {"usd": 3})


def test_an_update_of_two_statements_says_it_too(fake: FakeCassandra) -> None:
    stored(fake)
    rows = Product.objects(sku=1)
    fake.script("DELETE", times=None).hang()
    with undaunted.options(deadline="200ms"), pytest.raises(undaunted.UndauntedError) as caught:
        rows.update(log__append=[2], name=None)
    assert caught.value.applied == ("UPDATE of log",)
    assert "Run again only what is missing." in str(caught.value)
    fake.clear_scripts()
    fake.script("UPDATE").lose_reply()
    with pytest.raises(OutcomeUnknown) as first:  # and nothing of the call before is told
        rows.update(log__append=[3])
    assert first.value.applied == ()


def test_a_first_statement_that_fails_tells_of_none(fake: FakeCassandra) -> None:
    product = stored(fake)
    product.name, product.log = None, [1, 2]
    fake.script("UPDATE").drop()
    with pytest.raises(OutcomeUnknown) as caught:
        product.save()
    assert caught.value.applied == ()
    assert texts(fake, "DELETE") == []


# -- the driver's own session ----------------------------------------------------------------------------------------


def test_what_the_application_asks_of_the_session_itself(fake: FakeCassandra) -> None:
    session = connection.get_session("catalog")
    Plain.create(key=1, text="x")
    future = session.execute_async("SELECT text FROM shop.plain WHERE key = 1")
    assert future.result().one() == {"text": "x"}
    select = session.prepare("SELECT text FROM shop.plain WHERE key = ?")
    fake.script("SELECT", opcode="EXECUTE").drop()
    assert session.execute(select, (1,)).one() == {"text": "x"}
    insert = session.prepare("INSERT INTO shop.plain (key, text) VALUES (?, ?)")
    fake.script("INSERT", opcode="EXECUTE").drop()
    with pytest.raises(OutcomeUnknown):
        session.execute(insert, (2, "y"))
    insert.is_idempotent = True
    fake.script("INSERT", opcode="EXECUTE").drop()
    session.execute(insert.bind((2, "y")))
    fake.forget_prepared()  # as after a restart of the nodes
    session.execute(insert, (3, "z"))
    assert session.execute(select, (3,)).one() == {"text": "z"}


def test_the_drivers_own_flag_and_batches(fake: FakeCassandra) -> None:
    session = connection.get_session("catalog")
    batch = BatchStatement()
    batch.add("INSERT INTO shop.plain (key, text) VALUES (1, 'x')")
    fake.script(opcode="BATCH").drop()
    with pytest.raises(OutcomeUnknown):
        session.execute(batch)
    batch.is_idempotent = True
    fake.script(opcode="BATCH").drop()
    session.execute(batch)
    fake.script("UPDATE").drop()
    session.execute(SimpleStatement("UPDATE shop.plain SET text = 'y' WHERE key = 1", is_idempotent=True))
    fake.script("UPDATE").lose_reply()
    with pytest.raises(OutcomeUnknown):  # a condition is one, whatever is said of it
        session.execute(
            SimpleStatement("UPDATE shop.plain SET text = 'z' WHERE key = 1 IF text = 'y'", is_idempotent=True)
        )


def test_results_are_the_drivers_own(fake: FakeCassandra) -> None:
    for key in range(25):
        Plain.create(key=key, text=str(key))
    rows = connection.execute(SimpleStatement("SELECT * FROM shop.plain", fetch_size=10), connection="catalog")
    assert rows.has_more_pages
    assert len(rows.current_rows) == 10
    assert sorted(row["key"] for row in rows) == list(range(25))
    assert connection.execute("SELECT * FROM shop.plain WHERE key = 99", connection="catalog").one() is None
    assert connection.execute("SELECT * FROM shop.plain LIMIT 3", connection="catalog")[1]["text"]
    host = next(iter(connection.get_cluster("catalog").metadata.all_hosts()))
    session = connection.get_session("catalog")
    fake.clear_journal()
    for _ in range(3):
        session.execute("SELECT * FROM shop.plain WHERE key = 1", host=host)
    assert {f"{fake.nodes[each.node - 1].address}" for each in fake.executed} == {host.address}


def test_one_thread_s_model_is_not_another_s(fake: FakeCassandra) -> None:
    """What is known of a statement belongs to who executes it."""
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(15):
                Plain.objects(key=number).update(text=str(turn))
                with BatchQuery() as batch:
                    Line.batch(batch).create(order=number, number=turn, item="x")
                assert Plain.objects.get(key=number).text == str(turn)
        except BaseException as error:
            errors.append(error)

    fake.script("UPDATE|BEGIN", nth=7, times=20).error(Unavailable())
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert errors == []
    assert {len(Line.objects(order=number)) for number in range(8)} == {15}
