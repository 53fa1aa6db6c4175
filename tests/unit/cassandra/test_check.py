"""`undaunted check` for Cassandra, on the fake cluster: it says what applications would meet, and changes nothing."""

from __future__ import annotations

import socket
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cluster import Cluster
from click.testing import CliRunner

from undaunted.cassandra import check as cassandra_check
from undaunted.cassandra.check import check
from undaunted.cassandra.provision import access, survey
from undaunted.cli.group import undaunted
from undaunted.config import load
from undaunted.testing.cql import FakeCassandra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHOP = "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'}"


@pytest.fixture
def fake() -> Iterator[FakeCassandra]:
    with FakeCassandra() as made:
        made.execute(SHOP)
        yield made


def settings_of(fake: FakeCassandra, **more: Any) -> Any:
    declared = {
        "backend": "cassandra",
        "nodes": [f"{address}:{fake.port}" for address in fake.contact_points],
        "keyspace": "shop",
        "local_datacenter": "dc1",
        **more,
    }
    given = {name: value for name, value in declared.items() if value is not None}
    return load({"clusters": {"catalog": given}}, environ={"PASSWORD": "right", "WRONG": "wrong"}).settings.clusters[
        "catalog"
    ]


def found(fake: FakeCassandra, **more: Any) -> list[tuple[str, str]]:
    problems = check(settings_of(fake, **more))
    return [(problem.path.removeprefix("clusters.catalog."), problem.message) for problem in problems]


def test_all_is_well(fake: FakeCassandra) -> None:
    assert found(fake) == []
    assert [each.text for each in fake.executed] == [], "a check changes nothing"


@pytest.mark.parametrize(
    ("more", "path", "said"),
    [
        ({"keyspace": "shops"}, "keyspace", "there is no keyspace 'shops'; did you mean 'shop'? Run `undaunted"),
        ({"local_datacenter": "DC1"}, "local_datacenter", "no datacenter 'DC1'; did you mean 'dc1'? The nodes stand"),
        ({"remote_datacenters": {"dc7": {}}}, "remote_datacenters.dc7", "there is no datacenter 'dc7'"),
        ({"consistency": {"read": "ALL"}}, "consistency", "ALL (reads) needs all of them, so no node may fail"),
        (
            {"provision": {"keyspaces": {"shop": {"factor": 2}}}},
            "provision.keyspaces.shop",
            "is not yet so on the nodes (dc1 3 -> 2)",
        ),
        ({"provision": {"keyspaces": {"audit": {}}}}, "provision.keyspaces.audit", "there is no keyspace 'audit'"),
    ],
)
def test_a_setting_that_the_nodes_contradict(fake: FakeCassandra, more: Any, path: str, said: str) -> None:
    [(where, message)] = found(fake, **more)
    assert where == path
    assert said in message


@pytest.mark.parametrize(
    ("replication", "said"),
    [
        ("'NetworkTopologyStrategy', 'dc1': '1'", ["one replica in dc1"]),
        ("'NetworkTopologyStrategy', 'dc1': '2'", ["2 replicas in dc1 and LOCAL_QUORUM"]),
        ("'NetworkTopologyStrategy', 'dc1': '5'", ["where 3 nodes stand"]),
        ("'SimpleStrategy', 'replication_factor': '3'", []),
    ],
)
def test_a_keyspace_that_no_fault_may_meet(replication: str, said: list[str]) -> None:
    with FakeCassandra() as fake:
        fake.execute(f"CREATE KEYSPACE shop WITH replication = {{'class': {replication}}}")
        messages = [message for _, message in found(fake)]
    assert len(messages) == len(said)
    assert all(part in message for part, message in zip(said, messages, strict=True))


def test_two_datacenters() -> None:
    with FakeCassandra(datacenters={"dc1": 3, "dc2": 1}) as fake:
        fake.execute(SHOP)
        assert found(fake) == []
        [(path, message)] = found(fake, local_datacenter=None)
        assert path == "local_datacenter"
        assert "is not set, and the nodes stand in dc1, dc2" in message
        [(path, message)] = found(fake, remote_datacenters={"dc2": {}})
        assert path == "remote_datacenters.dc2"
        assert "has no replica in dc2" in message
        [(path, message)] = found(fake, local_datacenter="dc2")
        assert "has no replica in dc2, the local datacenter" in message


def test_nodes_that_give_no_answer(fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "greet", partial(access.greet, timeout_s=0.3))
    fake.kill(2)
    fake.freeze(3)
    second, third = fake.contact_points[1:]
    assert [message for _, message in found(fake)] == [
        f"{second}:9042 refuses connections, so nothing listens there. Start the node, or correct its address.",
        f"{third}:9042 accepts connections and gives no answer within 0.3 s. Start the node, or correct its address.",
    ]
    first = f"{fake.contact_points[0]}:9042"
    others = found(fake, nodes=[first])
    assert len(others) == 2
    assert others[0][1].startswith(f"the cluster has a node {second}:9042 in dc1, which applications here use too")
    fake.kill(1)
    assert len(found(fake)) == 4
    assert found(fake)[-1] == ("nodes", "no node answers, so applications cannot use the cluster.")


def test_a_name_that_cannot_be_looked_up(fake: FakeCassandra) -> None:
    nodes = [f"{fake.contact_points[0]}:{fake.port}", "nowhere.invalid"]
    [(path, message)] = found(fake, nodes=nodes)
    assert (path, message.partition(" ")[2]) == (
        "nodes",
        "has a name that cannot be looked up here. Start the node, or correct its address.",
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answers, but not as Cassandra does"),
        (b"220", "answers, but not as Cassandra does"),
        (b"", "closes the connection"),
    ],
)
def test_another_protocol_answers(fake: FakeCassandra, answer: bytes, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(64)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        other = f"127.0.0.1:{listener.getsockname()[1]}"
        [(path, message)] = found(fake, nodes=[f"{fake.contact_points[0]}:{fake.port}", other])
        thread.join(10)
    assert path == "nodes"
    assert message == f"{other} {said}. Start the node, or correct its address."


def test_credentials_are_tried_once() -> None:
    with FakeCassandra(user="app", password="right") as fake:
        fake.execute(SHOP)
        right = {"username": "app", "password": {"env": "PASSWORD"}}
        [(path, message)] = found(fake, credentials=right)
        assert path == "credentials"
        assert "keyspace system_auth has one replica" in message
        fake.execute(
            "ALTER KEYSPACE system_auth WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}"
        )
        assert found(fake, credentials=right) == []
        fake.clear_journal()
        [(path, message)] = found(fake, credentials={"username": "app", "password": {"env": "WRONG"}})
        assert (path, message) == (
            "credentials",
            "the nodes refuse the login of user 'app'. Correct username and password.",
        )
        logins = [each for each in fake.traffic if each.opcode == "AUTH_RESPONSE"]
        assert len(logins) == (1 if hasattr(Cluster, "application_name") else 2), "scylla-driver tries twice by itself"
        [(path, message)] = found(fake)
        assert (path, message) == (
            "credentials",
            "the nodes refuse a connection without a login. Correct username and password.",
        )


def test_nodes_of_two_clusters(fake: FakeCassandra) -> None:
    with FakeCassandra(nodes=1, cluster_name="other") as other:
        nodes = [f"{fake.contact_points[0]}:{fake.port}", f"{other.contact_points[0]}:{other.port}"]
        [(path, message)] = found(fake, nodes=nodes)
    assert path == "nodes"
    assert f"{nodes[1]} to 'other'" in message


def test_versions_and_schemas_that_differ(fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cassandra_check, "survey", partial(survey, patience_s=0.3))
    fake.nodes[1].member.release_version = "4.1.3"
    [(path, message)] = found(fake)
    assert path == "nodes"
    assert f"4.1.3 on {fake.contact_points[1]}:9042; 5.0.8 on " in message
    fake.nodes[1].member.release_version = "5.0.8"
    before = fake.nodes[2].member.schema_version
    fake.execute("CREATE TABLE shop.late (id int PRIMARY KEY)")
    fake.nodes[2].member.schema_version = before
    [(path, message)] = found(fake)
    assert "the nodes have 2 versions of the schema" in message


@pytest.mark.parametrize(("ahead_s", "said"), [(-30.0, "30.0 s ahead of"), (30.0, "30.0 s behind"), (0.2, None)])
def test_clocks(fake: FakeCassandra, ahead_s: float, said: str | None) -> None:
    problems = check(settings_of(fake), wall_s=lambda: time.time() + ahead_s)
    if said is None:
        assert problems == []
        return
    assert len(problems) == 3
    for problem in problems:
        assert said.replace("30.0 s", "") in problem.message
        assert "29.9 s" in problem.message or "30.0 s" in problem.message


def test_the_command(fake: FakeCassandra, tmp_path: Path) -> None:
    file = tmp_path / "undaunted.toml"
    text = f'[clusters.catalog]\nbackend = "cassandra"\nnodes = ["{fake.contact_points[0]}"]\nkeyspace = "KS"\n'
    file.write_text(text.replace("KS", "shop"), encoding="utf-8")
    result = CliRunner().invoke(undaunted, ["check", "--file", str(file)])
    assert (result.exit_code, result.output) == (0, "1 cluster checked: all is well.\n")
    file.write_text(text.replace("KS", "basket"), encoding="utf-8")
    result = CliRunner().invoke(undaunted, ["check", "--file", str(file), "catalog"])
    assert result.exit_code == 1
    assert "clusters.catalog.keyspace: there is no keyspace 'basket'" in result.output
