"""The short ways of the Cassandra backend do what the driver's and cqlengine's own do, on every supported release.

`undaunted.cassandra.direct` hands a statement over as cqlengine would, and `undaunted.cassandra.ring` finds the node
that the driver's plan begins with.
"""

from __future__ import annotations

import logging
import random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from cassandra.connection import DefaultEndPoint
from cassandra.cqlengine import connection
from cassandra.metadata import BytesToken, Metadata, Murmur3Token, TokenMap
from cassandra.policies import DCAwareRoundRobinPolicy, SimpleConvictionPolicy, TokenAwarePolicy
from cassandra.pool import Host
from cassandra.query import SimpleStatement

import undaunted
from undaunted.cassandra import BatchQuery, Model, columns
from undaunted.cassandra.policies import NodeOrder
from undaunted.cassandra.ring import Ring
from undaunted.cassandra.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# -- a model's statement -------------------------------------------------------------------------------------------


class Row(Model):
    __undaunted__ = {"cluster": "direct"}
    part = columns.Integer(partition_key=True)
    second = columns.Text(partition_key=True)
    at = columns.Integer(primary_key=True)
    name = columns.Text()
    tags = columns.Set(columns.Text)
    numbers = columns.Map(columns.Text, columns.Integer)


class Handed(Exception):  # it carries what was handed over
    """What a session was asked to execute, in place of executing it."""


class Telling(Session):
    """Tells by which of its two doors a statement came in, and what it was."""

    def __init__(self, real: Session) -> None:
        self.link = real.link

    def execute(self, query: Any, parameters: Any = None, timeout: Any = None, *_: Any, **__: Any) -> Any:
        raise Handed("cqlengine's", _told(query, parameters, timeout))

    def begin(self, query: Any, parameters: Any, timeout: Any, **_: Any) -> Any:
        raise Handed("short", _told(query, parameters, timeout))


def _told(query: Any, parameters: Any, timeout: Any) -> tuple[Any, ...]:
    return (
        query.query_string, parameters, timeout, query.consistency_level, query.serial_consistency_level,
        query.fetch_size, query.routing_key, query.keyspace, query.is_idempotent, query.retry_policy,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _cluster() -> Iterator[None]:
    undaunted.configure(
        {
            "clusters": {
                "direct": {"backend": "cassandra", "nodes": ["127.0.0.1:1"], "keyspace": "ks"},
                "other": {"backend": "cassandra", "nodes": ["127.0.0.1:1"], "keyspace": "ks"},
            }
        }
    )
    for name in ("direct", "other"):
        made = connection.get_connection(name)
        made.session = Telling(made.session)
    yield
    undaunted.close()


def _way(call: Callable[[], Any]) -> tuple[str, tuple[Any, ...]]:
    with pytest.raises(Handed) as handed:
        call()
    way, told = handed.value.args
    return way, told


def _changed() -> Any:
    row = Row(part=1, second="b", at=3, name="x", tags={"a"}, numbers={"a": 1})
    row._set_persisted()  # as a row that was read
    row.name, row.tags = "y", {"a", "b"}
    row.numbers["c"] = 3
    return row


def _row() -> Any:
    return Row.objects(part=1, second="b", at=3)


_OFTEN: dict[str, Callable[[], Any]] = {
    "create": lambda: Row.create(part=1, second="b", at=3, name="x"),
    "create with a time to live": lambda: Row.ttl(60).create(part=1, second="b", at=3, name="x"),
    "create with a time": lambda: Row.timestamp(123456).create(part=1, second="b", at=3, name="x"),
    "create at a consistency": lambda: Row.consistency(4).create(part=1, second="b", at=3),
    "save": lambda: _changed().save(),
    "save with a timeout": lambda: _changed().timeout(7).save(),
    "update of an instance": lambda: _changed().update(name="z"),
    "delete of an instance": lambda: _changed().delete(),
    "get": lambda: _row().get(),
    "a partition": lambda: list(Row.objects(part=1, second="b")),
    "a scan": lambda: list(Row.objects.all().fetch_size(77)),
    "some partitions": lambda: list(Row.objects(part__in=[1, 2], second="b")),
    "a page with a limit": lambda: list(Row.objects(part=1, second="b", at__gt=1).limit(5).timeout(3)),
    "some columns": lambda: list(Row.objects(part=1, second="b").only(["name"]).consistency(1)),
    "values": lambda: list(Row.objects(part=1, second="b").values_list("name")),
    "count": lambda: Row.objects(part=1, second="b").count(),
    "update": lambda: _row().update(name="z", tags__add={"q"}, numbers__update={"b": 2}),
    "update to null": lambda: _row().update(name=None),
    "delete": lambda: _row().delete(),
    "in another keyspace": lambda: _row().using(keyspace="away").get(),
    "with a filter that no key serves": lambda: list(Row.objects(name="x").allow_filtering()),
}

_SELDOM: dict[str, Callable[[], Any]] = {
    "a condition": lambda: _row().iff(name="x").update(name="y"),
    "a condition of an instance": lambda: _changed().iff(name="x").save(),
    "if not exists": lambda: Row.if_not_exists().create(part=1, second="b", at=3),
    "if exists": lambda: _row().if_exists().update(name="y"),
    "if exists of an instance": lambda: _changed().if_exists().delete(),
    "another connection": lambda: _row().using(connection="other").get(),
    "another connection for an instance": lambda: _changed().using(connection="other").save(),
}


@pytest.mark.parametrize("call", _OFTEN.values(), ids=list(_OFTEN))
def test_the_short_way_hands_over_what_cqlengine_does(
    call: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    way, told = _way(call)
    assert way == "short"
    with caplog.at_level(logging.DEBUG, logger="cassandra.cqlengine.connection"):
        assert _way(call) == ("cqlengine's", told)
    assert any(told[0] in record.getMessage() for record in caplog.records), "who reads cqlengine's log reads it still"


@pytest.mark.parametrize("call", _SELDOM.values(), ids=list(_SELDOM))
def test_what_is_seldom_takes_cqlengines_own_way(call: Callable[[], Any]) -> None:
    assert _way(call)[0] == "cqlengine's"


def test_a_batch_takes_cqlengines_own_way() -> None:
    batch = BatchQuery()
    Row.batch(batch).create(part=1, second="b", at=3)
    _row().batch(batch).update(name="y")
    way, told = _way(batch.execute)
    assert way == "cqlengine's"
    assert told[0].startswith("BEGIN")


def test_a_connection_of_the_applications_own_takes_cqlengines_way() -> None:
    class Away(Model):
        __connection__ = "away"
        __keyspace__ = "ks"
        key = columns.Integer(primary_key=True)

    def refuse(*_: Any, **__: Any) -> Any:
        raise Handed("the application's", ())

    cluster = SimpleNamespace(
        _config_mode=None, protocol_version=4, shutdown=lambda: None, register_user_type=lambda *_: None
    )
    encoder = SimpleNamespace(mapping={}, cql_encode_tuple=None)
    session = SimpleNamespace(hosts=[], cluster=cluster, execute=refuse, encoder=encoder)
    connection.register_connection("away", session=session)
    try:
        assert _way(lambda: Away.objects.get(key=1))[0] == "the application's"
        assert _way(lambda: Away.create(key=1))[0] == "the application's"
    finally:
        connection.unregister_connection("away")


# -- the first node ------------------------------------------------------------------------------------------------


def _hosts(count: int) -> list[Any]:
    made = [
        Host(DefaultEndPoint(f"127.0.0.{1 + at}", 9042), SimpleConvictionPolicy, host_id=uuid4()) for at in range(count)
    ]
    for host in made:
        host.set_location_info("dc1", "rack")
        host.set_up()
    return made


def _known(hosts: list[Any], *, factor: int, tokens: int, kind: Any = Murmur3Token) -> Metadata:
    chance = random.Random(4)
    values = sorted(chance.randrange(-(2**63), 2**63) for _ in range(tokens))
    ring = [kind(value) for value in values] if kind is Murmur3Token else [kind(bytes([at])) for at in range(tokens)]
    metadata = Metadata()
    token_map = TokenMap(kind, {token: hosts[at % len(hosts)] for at, token in enumerate(ring)}, ring, metadata)
    _replicate(token_map, hosts, factor)
    metadata.token_map = token_map
    return metadata


def _replicate(token_map: Any, hosts: list[Any], factor: int, keyspace: str = "ks") -> None:
    token_map.tokens_to_hosts_by_ks[keyspace] = {
        token: [hosts[(at + step) % len(hosts)] for step in range(factor)] for at, token in enumerate(token_map.ring)
    }


class Orders:
    """Ours and the driver's order of the nodes, on the same metadata."""

    def __init__(self, metadata: Metadata, hosts: list[Any], *, shuffled: bool = False) -> None:
        cluster = SimpleNamespace(metadata=metadata, endpoints_resolved=[])
        self.health = SimpleNamespace(sick=frozenset(), order=lambda home, remote: (home, *remote))
        self.ours = NodeOrder(self.health, "dc1")  # type: ignore[arg-type]
        self.ours._home.shuffle_replicas = shuffled  # True is scylla-driver's default
        self.driver = TokenAwarePolicy(DCAwareRoundRobinPolicy("dc1"))
        self.driver.shuffle_replicas = shuffled
        for policy in (self.ours, self.driver):
            policy.populate(cluster, hosts)

    def agree(self) -> int:
        """How many nodes are found for many keys, the same ones by both."""
        found = set()
        for number in range(-300, 300):
            query = SimpleStatement("SELECT", keyspace="ks")
            query.routing_key = [number.to_bytes(4, "big", signed=True)]
            found.add(self.ours.nearest(query))
            assert self.ours.nearest(query) is next(iter(self.driver.make_query_plan("ks", query)))
        return len(found)


def test_the_node_found_is_the_first_of_the_drivers_plan() -> None:
    hosts = _hosts(5)
    metadata = _known(hosts, factor=3, tokens=40)
    orders = Orders(metadata, hosts)
    assert orders.agree() == 5
    hosts[0].set_down()
    assert orders.agree() == 4
    hosts[1].set_location_info("dc2", "rack")
    assert orders.agree() == 3


def test_what_the_driver_learns_anew_is_learnt_anew() -> None:
    hosts = _hosts(3)
    metadata = _known(hosts, factor=1, tokens=12)
    orders = Orders(metadata, hosts)
    assert orders.agree() == 3
    _replicate(metadata.token_map, hosts[1:], 1)  # the keyspace is replicated otherwise
    assert orders.agree() == 2
    metadata.token_map = _known(hosts, factor=1, tokens=7).token_map  # the ring is another
    assert orders.agree() == 3


def test_a_sick_node_is_not_the_first_and_none_is_where_all_are() -> None:
    hosts = _hosts(3)
    orders = Orders(_known(hosts, factor=3, tokens=12), hosts)
    query = SimpleStatement("SELECT", keyspace="ks")
    query.routing_key = [b"key"]
    first = orders.ours.nearest(query)
    orders.health.sick = frozenset({first})
    second = orders.ours.nearest(query)
    assert second not in {first, None}
    orders.health.sick = frozenset(hosts)
    assert orders.ours.nearest(query) is None


def test_replicas_that_the_driver_shuffles_stay_shuffled() -> None:
    hosts = _hosts(3)
    orders = Orders(_known(hosts, factor=3, tokens=12), hosts, shuffled=True)
    query = SimpleStatement("SELECT", keyspace="ks")
    query.routing_key = [b"key"]
    assert {orders.ours.nearest(query) for _ in range(200)} == set(hosts)


def test_what_is_not_known_here_is_left_to_the_driver() -> None:
    hosts = _hosts(3)
    assert Ring(_known(hosts, factor=1, tokens=12)).replicas("nowhere", b"key") == []
    assert Ring(Metadata()).replicas("ks", b"key") == []
    assert Ring(_known(hosts, factor=1, tokens=12, kind=BytesToken)).replicas("ks", b"key") == []
    orders = Orders(_known(hosts, factor=1, tokens=12), hosts)
    keyless = SimpleStatement("SELECT", keyspace="ks")
    assert {orders.ours.nearest(keyless) for _ in range(6)} == set(hosts)  # in turn
