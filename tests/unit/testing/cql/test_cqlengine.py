"""Plain models of cqlengine on the fake cluster, and the mistakes of the plain stack that it makes visible."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import pytest
from cassandra import WriteTimeout as DriverWriteTimeout
from cassandra.cqlengine import columns, functions
from cassandra.cqlengine.connection import execute
from cassandra.cqlengine.management import create_keyspace_simple, drop_table, sync_table
from cassandra.cqlengine.models import Model
from cassandra.cqlengine.named import NamedTable
from cassandra.cqlengine.query import BatchQuery, BatchType, ContextQuery, LWTException
from cassandra.cqlengine.usertype import UserType

from undaunted.testing.cql import WriteTimeout


class Address(UserType):
    street = columns.Text()
    number = columns.Integer()


class Order(Model):
    __keyspace__ = "shop"
    __table_name__ = "orders"
    shop = columns.Text(partition_key=True)
    number = columns.Integer(primary_key=True, clustering_order="DESC")
    owner = columns.Text(static=True)
    state = columns.Text(index=True)
    total = columns.Decimal()
    made = columns.DateTime()
    day = columns.Date()
    token = columns.UUID(default=uuid.uuid4)
    lines = columns.List(columns.Text)
    tags = columns.Set(columns.Text)
    prices = columns.Map(columns.Text, columns.Integer)
    place = columns.UserDefinedType(Address)
    raw = columns.Blob()


class Hits(Model):
    __keyspace__ = "shop"
    page = columns.Text(primary_key=True)
    count = columns.Counter()


class Event(Model):
    __keyspace__ = "shop"
    __table_name__ = "events"
    user = columns.Integer(primary_key=True)
    at = columns.TimeUUID(primary_key=True)
    what = columns.Text()


@pytest.fixture
def shop(engine):
    sync_table(Order)
    sync_table(Hits)
    engine.clear_journal()
    return engine


def test_sync_table_makes_once_and_adds_what_is_new(shop):
    sync_table(Order)
    assert not [request.text for request in shop.requests if request.text.startswith(("CREATE", "ALTER"))]

    class More(Model):
        __keyspace__ = "shop"
        __table_name__ = "hits_more"
        k = columns.Integer(primary_key=True)

    sync_table(More)

    class MoreStill(Model):
        __keyspace__ = "shop"
        __table_name__ = "hits_more"
        k = columns.Integer(primary_key=True)
        v = columns.List(columns.Integer)

    sync_table(MoreStill)
    MoreStill.create(k=1, v=[1])
    assert MoreStill.get(k=1).v == [1]
    drop_table(MoreStill)
    with pytest.raises(Exception, match="does not exist"):
        MoreStill.objects.count()


def test_create_get_save_delete(shop):
    made = Order.create(
        shop="s",
        number=1,
        owner="it's me",
        state="open",
        total=decimal.Decimal("9.75"),
        made=dt.datetime(2024, 5, 6, 7, 8, 9, 123000),  # noqa: DTZ001
        day=dt.date(2024, 5, 6),
        lines=["a"],
        tags={"x", "y"},
        prices={"a": 1},
        place=Address(street="Long", number=3),
        raw=b"\x00\x01",
    )
    found = Order.get(shop="s", number=1)
    assert dict(found) == dict(made)
    found.lines.append("b")
    found.lines.insert(0, "z")
    found.tags.discard("x")
    found.prices["b"] = 2
    found.state = None
    found.save()
    again = Order.get(shop="s", number=1)
    assert (again.lines, again.tags, again.prices, again.state) == (["z", "a", "b"], {"y"}, {"a": 1, "b": 2}, None)
    again.delete()
    assert Order.objects(shop="s", number=1).count() == 0


def test_queries(shop):
    for number in range(12):
        Order.create(shop="s", number=number, state="even" if number % 2 == 0 else "odd")
    numbers = [each.number for each in Order.objects(shop="s").fetch_size(5)]
    assert numbers == list(range(11, -1, -1))
    assert [request.page for request in shop.requests if request.text.startswith("SELECT")] == [1, 2, 3]
    assert [each.number for each in Order.objects(shop="s", number__gte=3, number__lt=5)] == [4, 3]
    assert [each.number for each in Order.objects(shop="s", number__in=[2, 7]).order_by("number")] == [2, 7]
    assert len(Order.objects(state="odd")) == 6
    assert Order.objects(shop="s").limit(3).values_list("number", flat=True)[:] == [11, 10, 9]
    assert Order.objects(shop="s").first().number == 11
    assert Order.objects.count() == 12
    Order.objects(shop="s", number=3).update(
        state="done", tags__add={"t"}, lines__append=["l"], prices__update={"p": 1}
    )
    Order.objects(shop="s", number=3).update(lines__prepend=["k"], tags__remove={"t"})
    assert dict(Order.get(shop="s", number=3))["lines"] == ["k", "l"]
    Order.objects(shop="s", number=3).delete()
    assert Order.objects(shop="s").count() == 11


def test_functions(engine):
    sync_table(Event)
    for second in range(5):
        at = uuid.uuid1()
        Event.create(user=1, at=at, what=str(second))
    now = dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
    hour = dt.timedelta(hours=1)
    assert Event.objects(user=1, at__gt=functions.MinTimeUUID(now - hour)).count() == 5
    assert Event.objects(user=1, at__lt=functions.MinTimeUUID(now - hour)).count() == 0
    assert Event.objects(user=1, at__lt=functions.MaxTimeUUID(now + hour)).count() == 5
    Event.create(user=2, at=uuid.uuid1())
    first, *_ = Event.objects.all()
    rest = Event.objects.filter(pk__token__gt=functions.Token(first.user))
    assert {each.user for each in rest} == {1, 2} - {first.user}


@pytest.mark.filterwarnings("ignore:'create' and 'save' actions on Counters:DeprecationWarning")
def test_counters(shop):
    Hits.objects(page="home").update(count=2)
    hits = Hits.get(page="home")
    hits.count += 3
    hits.save()
    hits.count -= 1
    hits.save()
    assert Hits.get(page="home").count == 4


def test_conditions(shop):
    Order.if_not_exists().create(shop="s", number=1, state="new")
    with pytest.raises(LWTException) as raised:
        Order.if_not_exists().create(shop="s", number=1, state="other")
    assert raised.value.existing["state"] == "new"
    Order.objects(shop="s", number=1).iff(state="new").update(state="paid")
    with pytest.raises(LWTException) as raised:
        Order.objects(shop="s", number=1).iff(state="new").update(state="lost")
    assert raised.value.existing == {"[applied]": False, "state": "paid"}
    with pytest.raises(LWTException):
        Order.objects(shop="s", number=2).if_exists().update(state="x")
    assert [each.applied for each in shop.executed if " IF " in each.text] == [True, False, True, False, False]


def test_batches(shop):
    with BatchQuery() as batch:
        for number in range(3):
            Order.batch(batch).create(shop="s", number=number)
        Order.objects(shop="s", number=9).batch(batch).update(state="x")
    assert Order.objects(shop="s").count() == 4
    with BatchQuery(batch_type=BatchType.Counter) as batch:
        Hits.objects(page="a").batch(batch).update(count=1)
        Hits.objects(page="b").batch(batch).update(count=2)
    assert {each.page: each.count for each in Hits.objects} == {"a": 1, "b": 2}
    stamped = dt.datetime(2020, 1, 1)  # noqa: DTZ001
    with BatchQuery(timestamp=stamped) as batch:
        Order.objects(shop="s", number=9).batch(batch).update(state="stale")
    assert Order.get(shop="s", number=9).state == "x"


def test_time_to_live_and_timestamps(shop):
    Order.ttl(30).create(shop="s", number=1, state="brief")
    Order.timestamp(dt.timedelta(days=-1)).create(shop="s", number=2, state="old")
    Order.create(shop="s", number=2, state="new")
    Order.objects(shop="s", number=2).timestamp(dt.timedelta(hours=-1)).update(state="late")
    assert Order.get(shop="s", number=2).state == "new"
    shop.advance(31)
    assert [each.number for each in Order.objects(shop="s")] == [2]


def test_named_tables_contexts_and_plain_text(shop):
    Order.create(shop="s", number=1)
    assert NamedTable("shop", "orders").objects(shop="s").count() == 1
    create_keyspace_simple("other", 2)
    with ContextQuery(Order, keyspace="other") as moved:
        sync_table(moved)
        moved.create(shop="x", number=2)
        assert moved.objects.count() == 1
    assert Order.objects.count() == 1
    assert execute("SELECT count(*) AS n FROM shop.orders").one()["n"] == 1


def test_a_lost_reply_is_counted_twice_by_plain_cqlengine(shop):
    shop.script("UPDATE shop.hits").lose_reply()
    Hits.objects(page="home").update(count=1)
    assert Hits.get(page="home").count == 2


def test_a_thawed_node_executes_what_nobody_waits_for(shop):
    Order.create(shop="s", number=1, lines=[])
    script = shop.script("lines").hang(apply_later=True)
    with pytest.raises(Exception, match="Client request timeout"):
        Order.objects(shop="s", number=1).timeout(0.1).update(lines__append=["a"])
    Order.objects(shop="s", number=1).update(lines__append=["a"])
    shop.thaw(script.fired[0].node)
    assert Order.get(shop="s", number=1).lines == ["a", "a"]


def test_a_page_that_fails_cuts_the_result_of_plain_cqlengine_short(shop):
    for number in range(12):
        Order.create(shop="s", number=number)
    script = shop.script("SELECT .* FROM shop.orders", page=2, times=None)
    script.error(WriteTimeout())
    orders = Order.objects(shop="s").fetch_size(3)
    with pytest.raises(DriverWriteTimeout):
        list(orders)
    script.cancel()
    assert len(list(orders)) == 3
