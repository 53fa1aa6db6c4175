"""The driver against the fake cluster, with protocol versions 4 and 5: handshake, metadata, statements, pages."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import pytest
from cassandra import AlreadyExists, ConsistencyLevel, InvalidRequest
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import Cluster, NoHostAvailable
from cassandra.protocol import ConfigurationException, SyntaxException
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, SimpleStatement

from undaunted.testing.cql import FakeCassandra, FakeCassandraError


def test_the_driver_knows_the_ring(session, fake):
    cluster = session.cluster
    assert cluster.protocol_version == fake.nodes[0].member.protocol
    hosts = {host.address: host for host in cluster.metadata.all_hosts()}
    assert sorted(hosts) == sorted(fake.contact_points)
    assert {host.datacenter for host in hosts.values()} == {"dc1"}
    assert {host.release_version for host in hosts.values()} == {"5.0.8"}
    assert cluster.metadata.partitioner == "org.apache.cassandra.dht.Murmur3Partitioner"
    assert len(cluster.metadata.token_map.ring) == 3
    replicas = cluster.metadata.get_replicas("ks", b"\0\0\0\1")
    assert sorted(host.address for host in replicas) == sorted(fake.contact_points)


def test_a_newer_version_is_negotiated_down(fake, connect):
    cluster = Cluster(fake.contact_points, port=fake.port)
    try:
        cluster.connect()
        assert cluster.protocol_version == fake.nodes[0].member.protocol
    finally:
        cluster.shutdown()


def test_several_datacenters_share_the_ring(connect):
    with FakeCassandra(datacenters={"east": 3, "west": 2}) as fake:
        fake.create_keyspace("ks", replication_factor=2)
        metadata = connect(fake).cluster.metadata
        places = {host.address: host.datacenter for host in metadata.all_hosts()}
        assert [places[address] for address in fake.contact_points] == ["east"] * 3 + ["west"] * 2
        for key in range(20):
            replicas = metadata.get_replicas("ks", key.to_bytes(4, "big"))
            assert sorted(host.datacenter for host in replicas) == ["east", "east", "west", "west"]


def test_a_replication_names_datacenters_that_are_there(connect):
    with FakeCassandra(datacenters={"east": 1, "west": 1}) as fake:
        session = connect(fake)
        create = "CREATE KEYSPACE {} WITH replication = {{'class': 'NetworkTopologyStrategy', {}}}"
        session.execute(create.format("a", "'replication_factor': 1"))
        session.execute(create.format("b", "'replication_factor': 1, 'east': 3"))
        session.execute(
            "ALTER KEYSPACE system_auth WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 2}"
        )
        keyspaces = session.cluster.metadata.keyspaces
        assert keyspaces["a"].replication_strategy.dc_replication_factors == {"east": 1, "west": 1}
        assert keyspaces["b"].replication_strategy.dc_replication_factors == {"east": 3, "west": 1}
        assert keyspaces["system_auth"].replication_strategy.replication_factor == 2
        with pytest.raises(ConfigurationException, match=r"\{south\}"):
            session.execute(create.format("c", "'south': 1"))


def test_metadata_of_the_schema(session):
    session.execute("CREATE TYPE ks.address (street text, lines list<text>)")
    session.execute(
        "CREATE TABLE ks.orders (shop text, day date, number int, total decimal, where_to frozen<address>, note text "
        "static, PRIMARY KEY ((shop, day), number)) WITH CLUSTERING ORDER BY (number DESC) AND comment = 'it''s'"
    )
    session.execute("CREATE INDEX by_total ON ks.orders (total)")
    table = session.cluster.metadata.keyspaces["ks"].tables["orders"]
    assert [column.name for column in table.partition_key] == ["shop", "day"]
    assert [(column.name, column.is_reversed) for column in table.clustering_key] == [("number", True)]
    assert {name: column.cql_type for name, column in table.columns.items()} == {
        "shop": "text",
        "day": "date",
        "number": "int",
        "total": "decimal",
        "where_to": "frozen<address>",
        "note": "text",
    }
    assert table.columns["note"].is_static
    assert table.options["comment"] == "it's"
    assert table.indexes["by_total"].index_options == {"target": "total"}
    assert session.cluster.metadata.keyspaces["ks"].user_types["address"].field_names == ["street", "lines"]
    session.execute("ALTER TABLE ks.orders ADD extra int")
    assert "extra" in session.cluster.metadata.keyspaces["ks"].tables["orders"].columns
    session.execute("DROP TABLE ks.orders")
    assert "orders" not in session.cluster.metadata.keyspaces["ks"].tables


def test_another_client_hears_of_a_change_of_the_schema(session, fake, connect, wait_for):
    other = connect(fake, schema_event_refresh_window=0)
    session.execute("CREATE TABLE ks.later (k int PRIMARY KEY)")
    wait_for(lambda: "later" in other.cluster.metadata.keyspaces["ks"].tables)


TYPES = {
    "ascii": "plain",
    "bigint": 2**40,
    "blob": b"\x00\xff",
    "boolean": True,
    "date": dt.date(2024, 2, 29),
    "decimal": decimal.Decimal("-1.50"),
    "double": 1.25,
    "float": 0.5,
    "inet": "10.1.2.3",
    "int": -7,
    "smallint": 300,
    "text": "it's ☃",
    "time": dt.time(23, 59, 59, 999999),
    "timestamp": dt.datetime(2024, 2, 29, 12, 30, 0, 123000),  # noqa: DTZ001
    "timeuuid": uuid.uuid1(),
    "tinyint": -3,
    "uuid": uuid.uuid4(),
    "varint": -(2**90),
    "list<int>": [3, 1, 3],
    "set<text>": {"b", "a"},
    "map<text, int>": {"b": 2, "a": 1},
    "frozen<map<int, frozen<list<text>>>>": {1: ["x"]},
    "tuple<int, text>": (1, "x"),
}


def plain(value):
    """What the driver gives, as the plain thing that was put in."""
    for name in ("date", "time"):
        convert = getattr(value, name, None)
        if convert is not None and type(value).__module__ == "cassandra.util":
            return convert() if callable(convert) else convert
    kind = type(value).__name__
    if kind == "SortedSet":
        return set(value)
    if kind.startswith("OrderedMap"):
        return {key: list(item) if isinstance(item, list) else item for key, item in value.items()}
    return value


def test_values_survive_bound_and_written(fake, connect):
    fake.create_keyspace("ks")
    session = connect(fake, schema_metadata_enabled=False)
    for number, (kind, value) in enumerate(TYPES.items()):
        fake.execute(f"CREATE TABLE ks.v{number} (k int PRIMARY KEY, v {kind})")
        insert = session.prepare(f"INSERT INTO ks.v{number} (k, v) VALUES (?, ?)")
        session.execute(insert, (1, value))
        session.execute(insert, (2, None))
        select = session.prepare(f"SELECT v FROM ks.v{number} WHERE k = ?")
        assert plain(session.execute(select, (1,)).one().v) == value, kind
        assert session.execute(select, (2,)).one().v is None, kind
        if not kind.startswith("tuple"):  # the driver's encoder writes a tuple as a list
            session.execute(f"INSERT INTO ks.v{number} (k, v) VALUES (%s, %s)", (3, value))
            assert plain(session.execute(select, (3,)).one().v) == value, kind


def test_prepared_statements(session, fake):
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    assert insert.routing_key_indexes == [0]
    assert [column.name for column in insert.column_metadata] == ["k", "v"]
    session.execute(insert, (1, "x"))
    session.execute(insert, (1, UNSET_VALUE))
    assert fake.execute("SELECT v FROM ks.t") == [{"v": "x"}]
    several = session.prepare("SELECT k FROM t WHERE k IN ? LIMIT ?")
    assert [row.k for row in session.execute(several, ([3, 1], 5))] == [1]
    session.execute(session.prepare("UPDATE hits SET n = n + ? WHERE page = ?"), (4, "home"))
    session.execute(session.prepare("UPDATE t USING TTL ? AND TIMESTAMP ? SET v = ? WHERE k = ?"), (50, 2**55, "y", 1))
    assert fake.execute("SELECT v, writetime(v) AS at FROM ks.t") == [{"v": "y", "at": 2**55}]


def test_a_statement_that_a_node_has_forgotten_is_prepared_again(session, fake):
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    fake.forget_prepared()
    for key in range(3):
        session.execute(insert, (key, "x"))
    assert len(fake.execute("SELECT * FROM ks.t")) == 3
    assert any(request.opcode == "PREPARE" for request in fake.requests)


def test_a_prepared_select_follows_a_change_of_its_table(session):
    select = session.prepare("SELECT * FROM t")
    session.execute("INSERT INTO t (k, v) VALUES (1, 'x')")
    assert session.execute(select).one() == (1, "x")
    session.execute("ALTER TABLE ks.t ADD a int")
    if session.cluster.protocol_version >= 5:  # version 4 cannot tell a client that it knows too little
        assert session.execute(select).one() == (1, None, "x")


@pytest.mark.parametrize("kind", [BatchType.LOGGED, BatchType.UNLOGGED])
def test_batches(session, fake, kind):
    batch = BatchStatement(batch_type=kind, consistency_level=ConsistencyLevel.QUORUM)
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    batch.add(insert, (1, "a"))
    batch.add(SimpleStatement("INSERT INTO t (k, v) VALUES (2, 'b')"))
    session.execute(batch)
    assert fake.execute("SELECT k, v FROM ks.t") == [{"k": 1, "v": "a"}, {"k": 2, "v": "b"}]
    arrived = fake.requests[-1]
    assert (arrived.opcode, arrived.consistency) == ("BATCH", "QUORUM")
    assert arrived.text.startswith(f"BEGIN {kind.name} BATCH INSERT INTO t (k, v) VALUES (?, ?); INSERT")
    assert fake.executed[-1].timestamp == arrived.timestamp


def test_pages(session, fake):
    for key in range(23):
        fake.execute(f"INSERT INTO ks.t (k, v) VALUES ({key}, 'x')")
    fake.clear_journal()
    rows = list(session.execute(SimpleStatement("SELECT k FROM t", fetch_size=5)))
    assert sorted(row.k for row in rows) == list(range(23))
    assert [(request.page, request.page_size) for request in fake.requests] == [(page, 5) for page in range(1, 6)]
    state = session.execute(SimpleStatement("SELECT k FROM t", fetch_size=20)).paging_state
    rest = session.execute(SimpleStatement("SELECT k FROM t", fetch_size=20), paging_state=state)
    assert len(rest.current_rows) == 3
    assert rest.paging_state is None


def test_the_journal_says_how_it_was_asked(session, fake):
    fake.clear_journal()
    statement = SimpleStatement(
        "INSERT INTO t (k, v) VALUES (1, 'x') IF NOT EXISTS",
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
    )
    assert session.execute(statement).was_applied
    assert not session.execute(statement).was_applied
    first, second = fake.requests
    assert (first.consistency, first.serial_consistency) == ("LOCAL_QUORUM", "LOCAL_SERIAL")
    assert first.timestamp is not None
    assert first.keyspace == "ks"
    assert first.number < second.number
    assert [each.applied for each in fake.executed] == [True, False]
    assert [each.request for each in fake.executed] == [first, second]
    assert not any("system" in request.text for request in fake.requests)
    fake.clear_journal()
    assert fake.traffic == fake.requests == fake.executed == ()


def test_the_timestamp_of_the_client_decides(session, fake):
    newer = SimpleStatement("INSERT INTO t (k, v) VALUES (1, 'new')")
    future = session.execute_async(newer)
    future.result()
    sent = fake.executed[-1]
    assert sent.timestamp == sent.request.timestamp
    stale = sent.timestamp - 10
    session.execute(f"INSERT INTO t (k, v) VALUES (1, 'old') USING TIMESTAMP {stale}")
    assert session.execute("SELECT v FROM t WHERE k = 1").one().v == "new"


def test_errors_of_statements(session):
    with pytest.raises(InvalidRequest, match="table nosuch does not exist"):
        session.execute("SELECT * FROM nosuch")
    with pytest.raises(SyntaxException, match="no viable alternative"):
        session.execute("SELEC")
    with pytest.raises(AlreadyExists) as raised:
        session.execute("CREATE TABLE ks.t (k int PRIMARY KEY)")
    assert (raised.value.keyspace, raised.value.table) == ("ks", "t")
    with pytest.raises(InvalidRequest, match="Invalid amount of bind variables"):
        session.execute("SELECT * FROM t WHERE k = ?")


def test_use_holds_for_all_connections_of_a_session(session, fake):
    fake.create_keyspace("other")
    fake.execute("CREATE TABLE other.o (k int PRIMARY KEY)")
    session.execute("USE other")
    for _ in range(6):
        session.execute("SELECT * FROM o")
    assert {request.node for request in fake.requests if request.text == "SELECT * FROM o"} == {1, 2, 3}


def test_only_who_knows_the_password_comes_in(connect):
    with FakeCassandra(1, user="ann", password="secret") as fake:
        auth = PlainTextAuthProvider("ann", "secret")
        assert connect(fake, auth_provider=auth).execute("SELECT key FROM system.local").one().key == "local"
        with pytest.raises(NoHostAvailable, match="incorrect"):
            connect(fake, auth_provider=PlainTextAuthProvider("ann", "guess"))
        with pytest.raises(NoHostAvailable, match=r"requires authentication|AuthenticationFailed"):
            connect(fake)
    with pytest.raises(FakeCassandraError, match="go together"):
        FakeCassandra(1, user="ann")


def test_large_values_and_many_requests_at_once(session, fake):
    big = "x" * 300_000
    session.execute("INSERT INTO t (k, v) VALUES (%s, %s)", (1, big))
    assert session.execute("SELECT v FROM t WHERE k = 1").one().v == big
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    futures = [session.execute_async(insert, (key, str(key))) for key in range(500)]
    for future in futures:
        future.result()
    assert fake.execute("SELECT count(*) FROM ks.t") == [{"count": 500}]
