"""Nodes that are killed, started, frozen and thawed; datacenters; events; forked children; the end."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import sys
import threading

import pytest
from cassandra import ConsistencyLevel as Level
from cassandra import OperationTimedOut, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import ConstantReconnectionPolicy
from cassandra.query import SimpleStatement

from undaunted.testing.cql import FakeCassandra, FakeCassandraError

INSERT = "INSERT INTO ks.t (k, v) VALUES (1, 'late')"


@pytest.fixture
def fake():
    with FakeCassandra() as made:
        yield made


def dial(fake: FakeCassandra, node: int) -> socket.socket:
    return socket.create_connection((fake.nodes[node - 1].address, fake.port), 10)


def test_a_killed_node_refuses_and_cuts_and_keeps_its_address(fake):
    with dial(fake, 2) as client:
        fake.kill(2)
        with contextlib.suppress(ConnectionResetError):  # where the node had not yet accepted it
            assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        dial(fake, 2)
    assert [node.state for node in fake.nodes] == ["up", "down", "up"]
    fake.kill(2)
    fake.start(2)
    fake.start(2)
    dial(fake, 2).close()


def test_the_driver_goes_on_with_the_others_and_comes_back(fake, connect, wait_for):
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    session = connect(fake, reconnection_policy=ConstantReconnectionPolicy(0.05, max_attempts=None))
    hosts = {host.address: host for host in session.cluster.metadata.all_hosts()}
    fake.kill(2)

    def noticed() -> bool:
        """The driver looks at a connection that was closed only when it is to use it."""
        with contextlib.suppress(ConnectionException, NoHostAvailable):
            session.execute(INSERT)
        return not hosts[fake.nodes[1].address].is_up

    wait_for(noticed)
    fake.clear_journal()
    for _ in range(4):
        session.execute(INSERT)
    assert {request.node for request in fake.requests} == {1, 3}
    fake.start(2)
    wait_for(lambda: len(session.get_pool_state()) == 3)
    fake.clear_journal()
    for _ in range(3):
        session.execute(INSERT)
    assert {request.node for request in fake.requests} == {1, 2, 3}


def test_a_frozen_node_accepts_and_is_silent_and_executes_all_of_it_once_thawed(fake, connect, wait_for):
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    fake.execute("CREATE TABLE ks.hits (page text PRIMARY KEY, n counter)")
    session = connect(fake, only=1)
    fake.freeze(1)
    dial(fake, 1).close()
    for _ in range(3):
        with pytest.raises(OperationTimedOut):
            session.execute("UPDATE ks.hits SET n = n + 1 WHERE page = 'home'", timeout=0.05)
    assert fake.execute("SELECT n FROM ks.hits") == []
    assert fake.executed == ()
    session.cluster.shutdown()  # nobody waits for an answer any more
    fake.thaw(1)
    wait_for(lambda: len(fake.executed) == 3)
    assert fake.execute("SELECT n FROM ks.hits") == [{"n": 3}]
    assert [each.node for each in fake.executed] == [1, 1, 1]


def test_a_late_write_of_a_thawed_node_loses_against_a_newer_one(fake, connect, wait_for):
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    frozen, other = connect(fake, only=1), connect(fake, only=2)
    fake.freeze(1)
    with pytest.raises(OperationTimedOut):
        frozen.execute(INSERT, timeout=0.05)
    other.execute("INSERT INTO ks.t (k, v) VALUES (1, 'newer')")
    fake.thaw(1)
    wait_for(lambda: len(fake.executed) == 2)
    late = fake.executed[1]
    assert (late.text, late.applied) == (INSERT, True)
    assert late.timestamp < fake.executed[0].timestamp
    assert fake.execute("SELECT v FROM ks.t") == [{"v": "newer"}]


def test_a_frozen_node_that_is_killed_executes_nothing(fake, connect):
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    session = connect(fake, only=1)
    fake.freeze(1)
    with pytest.raises(OperationTimedOut):
        session.execute(INSERT, timeout=0.05)
    fake.kill(1)
    fake.start(1)
    dial(fake, 1).close()
    assert fake.execute("SELECT * FROM ks.t") == []
    assert fake.executed == ()


def test_a_delayed_answer_waits_for_the_thaw_and_dies_with_a_kill(session, fake):
    for number, end in ((1, fake.thaw), (2, fake.kill)):
        fake.clear_journal()
        script = fake.script("late").delay(0.05)
        future = session.execute_async(INSERT)
        node = script.wait()[0].node
        fake.freeze(node)
        threading.Event().wait(0.15)
        assert fake.executed == ()
        end(node)
        threading.Event().wait(0.1)
        assert len(fake.executed) == (1 if number == 1 else 0)
        if number == 2:
            fake.start(node)
        del future


def test_too_few_replicas_are_unavailable(fake, connect):
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    session = connect(fake, only=1)
    fake.kill(2, 3)

    def ask(level: int, text: str = "SELECT v FROM ks.t WHERE k = 1") -> None:
        session.execute(SimpleStatement(text, consistency_level=level))

    for level in (Level.ONE, Level.LOCAL_ONE):
        ask(level)
    for level, required in ((Level.QUORUM, 2), (Level.LOCAL_QUORUM, 2), (Level.ALL, 3), (Level.TWO, 2)):
        with pytest.raises(Unavailable) as raised:
            ask(level)
        assert (raised.value.required_replicas, raised.value.alive_replicas) == (required, 1)
        assert raised.value.consistency == level
    with pytest.raises(Unavailable) as raised:
        ask(Level.ONE, INSERT + " IF NOT EXISTS")
    assert raised.value.consistency == Level.SERIAL


def test_replicas_of_a_partition_decide_and_not_the_number_of_nodes(connect):
    with FakeCassandra(4) as fake:
        fake.create_keyspace("ks", replication_factor=1)
        fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
        session = connect(fake, only=1)
        held = {
            key: session.cluster.metadata.get_replicas("ks", key.to_bytes(4, "big"))[0].address for key in range(40)
        }
        fake.kill(2)
        for key, address in held.items():
            statement = SimpleStatement(f"INSERT INTO ks.t (k) VALUES ({key})", consistency_level=Level.ONE)
            if address == fake.nodes[1].address:
                with pytest.raises(Unavailable):
                    session.execute(statement)
            else:
                session.execute(statement)
        with pytest.raises(Unavailable):
            session.execute("SELECT * FROM ks.t")
        assert len(set(held.values())) == 4


def test_replicas_may_be_left_unchecked(connect):
    with FakeCassandra(3, check_replicas=False) as fake:
        fake.create_keyspace("ks")
        fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
        session = connect(fake, only=1)
        fake.kill(2, 3)
        session.execute(SimpleStatement(INSERT, consistency_level=Level.ALL))


def test_a_datacenter_goes_down_and_comes_back(connect):
    with FakeCassandra(datacenters={"east": 2, "west": 3}) as fake:
        fake.create_keyspace("ks")
        fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
        session = connect(fake, only=3)
        fake.kill("east")
        assert [node.state for node in fake.nodes] == ["down"] * 2 + ["up"] * 3
        session.execute(SimpleStatement(INSERT, consistency_level=Level.LOCAL_QUORUM))
        for level in (Level.EACH_QUORUM, Level.ALL):
            with pytest.raises(Unavailable):
                session.execute(SimpleStatement(INSERT, consistency_level=level))
        fake.start("east")
        session.execute(SimpleStatement(INSERT, consistency_level=Level.EACH_QUORUM))


def test_all_nodes_down_and_up_again(session, fake):
    fake.kill()
    with pytest.raises((NoHostAvailable, ConnectionException)):
        session.execute("SELECT * FROM ks.t")
    with FakeCassandra() as second:  # keeps off the addresses of the first, though nobody listens there
        assert not set(second.contact_points) & set(fake.contact_points)
    fake.start()
    assert {node.state for node in fake.nodes} == {"up"}


def test_clients_are_told_of_ups_and_downs(fake):
    with dial(fake, 1) as client:
        client.sendall(struct.pack(">BBhBi", 4, 0, 0, 1, 0x16) + b"\0\1\0\x0bCQL_VERSION\0\x053.0.0")
        assert client.recv(9)[4] == 2
        names = b"\0\1\0\x0dSTATUS_CHANGE"
        client.sendall(struct.pack(">BBhBi", 4, 0, 0, 0x0B, len(names)) + names)
        assert client.recv(9)[4] == 2
        fake.kill(2, announce=True)
        fake.start(2)
        fake.disable_binary(3)
        client.settimeout(10)
        events = b""
        while len(events) < 3 * 9 + 2 * len(event("DOWN", fake, 2)) + len(event("UP", fake, 2)):
            events += client.recv(4096)
    bodies = [event("DOWN", fake, 2), event("UP", fake, 2), event("DOWN", fake, 3)]
    assert events == b"".join(struct.pack(">BBhBi", 0x84, 0, -1, 0x0C, len(body)) + body for body in bodies)


def event(change: str, fake: FakeCassandra, node: int) -> bytes:
    address = socket.inet_aton(fake.nodes[node - 1].address)
    told = change.encode()
    return (
        b"\0\x0dSTATUS_CHANGE" + struct.pack(">H", len(told)) + told + b"\x04" + address + struct.pack(">i", fake.port)
    )


def test_a_node_without_its_binary_protocol_is_still_a_replica(connect):
    with FakeCassandra() as fake:
        fake.create_keyspace("ks")
        fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
        session = connect(fake, only=1)
        fake.disable_binary(2, 3)
        with pytest.raises(ConnectionRefusedError):
            dial(fake, 2)
        session.execute(SimpleStatement(INSERT, consistency_level=Level.ALL))
        fake.start(2, 3)
        dial(fake, 2).close()


def test_nodes_that_were_away_learn_of_the_schema_when_they_are_back(fake):
    before = fake.nodes[1].member.schema_version
    fake.freeze(2)
    fake.create_keyspace("ks")
    assert fake.nodes[1].member.schema_version == before
    assert fake.nodes[0].member.schema_version == fake.nodes[2].member.schema_version != before
    fake.thaw(2)
    assert fake.nodes[1].member.schema_version == fake.nodes[0].member.schema_version


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda fake: fake.kill(4), r"4 is no node \(1 to 3\) and no datacenter"),
        (lambda fake: fake.freeze("dc9"), "'dc9' is no node"),
        (lambda fake: (fake.kill(1), fake.freeze(1)), "node 1 is down; only one that is up can be frozen"),
        (lambda fake: (fake.freeze(1), fake.start(1)), "node 1 is frozen; thaw it"),
    ],
)
def test_what_cannot_be_done_to_nodes(fake, wrong, said):
    with pytest.raises(FakeCassandraError, match=said):
        wrong(fake)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 0}, "1 to 250 nodes"),
        ({"nodes": 2, "datacenters": {"a": 1}}, "leave nodes out"),
        ({"protocol": 3}, "not 3"),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(FakeCassandraError, match=said):
        FakeCassandra(**options)


def test_a_port_that_is_taken_everywhere_is_named():
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(FakeCassandraError, match=f"are free on port {port}.*give another port="):
            FakeCassandra(port=port)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_holds_no_port_open_and_cannot_use_the_cluster(fake):
    if not hasattr(os, "fork"):
        pytest.fail("this platform has no fork, and the test proves nothing")
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            here.close()
            try:
                fake.execute("SELECT * FROM nosuch")
            except FakeCassandraError:
                fake.close()
                status = 0
            there.sendall(b"!")
            there.recv(1)
        finally:
            os._exit(status)
    there.close()
    try:
        assert here.recv(1) == b"!"
        fake.kill(1)
        with pytest.raises(ConnectionRefusedError):
            dial(fake, 1)
        dial(fake, 2).close()
    finally:
        here.close()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_end_leaves_no_thread_and_no_port(connect):
    threads = threading.active_count()
    fake = FakeCassandra()
    session = connect(fake)
    fake.script("system.local", opcode="QUERY", times=None).hang()
    future = session.execute_async("SELECT * FROM system.local")
    fake.freeze(2)
    fake.close()
    fake.close()
    for node in fake.nodes:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((node.address, fake.port), 10)
    with pytest.raises(FakeCassandraError, match="closed"):
        fake.execute("SELECT * FROM t")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fake")]
    assert threads
    del future


def test_a_connection_that_is_just_being_accepted_is_closed_too(monkeypatch):
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    for turn in range(60):
        with FakeCassandra(1) as fake:
            clients = [dial(fake, 1) for _ in range(1 + turn % 3)]
            if turn % 2:
                fake.kill(1)
        for client in clients:
            with client, contextlib.suppress(ConnectionResetError):
                assert client.recv(1) == b""
    gc.collect()
    assert unraisable == []


def test_a_fault_of_the_fake_itself_reaches_the_test(connect):
    def wrong(_request):
        raise KeyError("a mistake in the test's predicate")

    fake = FakeCassandra(1)
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY)")
    session = connect(fake)
    fake.script(wrong).drop()
    session.execute("SELECT * FROM ks.t")
    with pytest.raises(FakeCassandraError, match=r"1 times something went wrong.*KeyError") as raised:
        fake.close()
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_fault_outside_of_any_statement_reaches_the_test_too(monkeypatch, wait_for):
    fake = FakeCassandra(1)
    monkeypatch.setattr(fake.nodes[0]._answers, "read", lambda *_: 1 / 0)
    with dial(fake, 1) as client:
        client.sendall(struct.pack(">BBhBi", 4, 0, 0, 5, 0))
        wait_for(fake._shared.failures)
    with pytest.raises(FakeCassandraError, match="ZeroDivisionError"):
        fake.close()


def test_a_failing_test_keeps_its_own_error():
    with pytest.raises(ZeroDivisionError), FakeCassandra(1) as fake:
        fake._shared.failed(ValueError("hidden by what the test itself raises"))
        raise ZeroDivisionError


def test_the_fixtures_of_the_plugin(fake_cassandra, make_fake_cassandra):
    assert len(fake_cassandra.nodes) == 3
    small = make_fake_cassandra(1, protocol=4)
    assert small.nodes[0].member.protocol == 4
    assert repr(small) == f"<FakeCassandra {small.nodes[0].address}:up>"


def test_settings_that_declare_it(make_fake_cassandra):
    fake = make_fake_cassandra(datacenters={"north": 2, "south": 1})
    addresses = [f"{address}:9042" for address in fake.contact_points]
    assert fake.settings_for("catalog", keyspace="shop", timeout="200ms") == {
        "clusters": {
            "catalog": {
                "backend": "cassandra",
                "nodes": addresses[:2],
                "local_datacenter": "north",
                "keyspace": "shop",
                "timeout": "200ms",
            }
        }
    }
    assert fake.settings_for("c", datacenter="south")["clusters"]["c"] == {
        "backend": "cassandra",
        "nodes": addresses[2:],
        "local_datacenter": "south",
    }
    with pytest.raises(FakeCassandraError, match="west"):
        fake.settings_for("c", datacenter="west")
