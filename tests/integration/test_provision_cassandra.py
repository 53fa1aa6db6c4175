"""`undaunted provision`, `undaunted check` and `sync` against real Cassandra; the first two by the command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cqlengine import columns
from cassandra.cqlengine.connection import udt_by_keyspace
from cassandra.cqlengine.usertype import UserType
from click.testing import CliRunner

import undaunted
from undaunted.cassandra import Model, sync
from undaunted.cli.group import undaunted as command
from undaunted.lab import CassandraLab, cql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

LIVENESS_S = 90.0
LOCAL_ONE = 0x000A
"""On the wire: a replica in the datacenter of the node that is asked."""
ROWS = 50


class Provisioning:
    """A settings file for the cluster ``catalog`` on a lab, and the commands that read it."""

    def __init__(self, lab: CassandraLab, folder: Path) -> None:
        self.lab = lab
        self._file = folder / "undaunted.toml"
        self.want({})

    def want(self, keyspaces: dict[str, Any], **more: Any) -> None:
        declared = {**self.lab.settings_for("catalog")["clusters"]["catalog"], **more}
        declared["provision"] = {"keyspaces": keyspaces}
        lines = [f"{name} = {literal(value)}" for name, value in declared.items()]
        self._file.write_text("[clusters.catalog]\n" + "\n".join(lines) + "\n", encoding="utf-8")

    def run(self, *arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(command, ["provision", "--json", "--file", str(self._file), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        told: dict[str, Any] = json.loads(result.stdout)
        assert told["exit_code"] == result.exit_code
        return told | told["clusters"][0] | {"exit_code": result.exit_code}

    def apply(self, *arguments: str) -> dict[str, Any]:
        """Plan, apply, and see that nothing is left to do; what applying told."""
        planned = self.run(*arguments)
        assert planned["exit_code"] == 1, planned
        done = self.run("--apply", *arguments)
        assert done["exit_code"] == 0, done
        assert done["applied"] == len(done["steps"]) > 0
        again = self.run("--apply")
        assert (again["exit_code"], again["steps"], again["refusals"], again["afterwards"]) == (0, [], [], []), again
        return done

    def check(self) -> list[str]:
        result = CliRunner().invoke(command, ["check", "--json", "--file", str(self._file)])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return [f"{problem['path']}: {problem['message']}" for problem in json.loads(result.stdout)["problems"]]

    def operate(self, sentences: list[str]) -> list[str]:
        """Do as the plan says: run each `nodetool` on every node of the datacenters that it names."""
        ran: list[str] = []
        for sentence in sentences:
            found = re.search(r"`nodetool ([^`]+)` on every node(?: of ([\w, ]+?))?[:,]", sentence)
            assert found is not None, sentence
            homes = found[2].split(", ") if found[2] else self.lab.datacenters
            for node in self.lab.nodes:
                if node.datacenter in homes:
                    self.lab.nodetool(node, *found[1].split())
                    ran.append(f"{node.name} {found[1]}")
        return ran


def literal(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {literal(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


def ask(lab: CassandraLab, node: Any, text: str, consistency: int = cql.ALL) -> list[dict[str, Any]]:
    with lab.connect(node) as connection:
        return list(connection.query(text, consistency=consistency))


def replication(lab: CassandraLab, name: str) -> str:
    """What the server has written down, as `DESCRIBE` tells it."""
    with lab.cluster() as cluster:
        cluster.connect()
        found = cluster.metadata.keyspaces.get(name)
        return "" if found is None else found.as_cql_query().partition("replication = ")[2]


@pytest.fixture
def provisioning(healthy_cassandra_lab: CassandraLab, tmp_path: Path) -> Iterator[Provisioning]:
    yield Provisioning(healthy_cassandra_lab, tmp_path)
    healthy_cassandra_lab.heal()
    for name in ("made", "kept", "meanwhile", "models"):
        ask(healthy_cassandra_lab, "n1", f"DROP KEYSPACE IF EXISTS {name}", cql.ONE)
    healthy_cassandra_lab.wait_healthy()


@pytest.mark.slow
def test_a_keyspace_is_made_raised_and_lowered(provisioning: Provisioning) -> None:
    lab = provisioning.lab
    provisioning.want({"made": {"factor": 1}}, keyspace="made")
    planned = provisioning.run()
    assert (planned["exit_code"], [step["kind"] for step in planned["steps"]]) == (1, ["create-keyspace"])
    assert any("one replica in dc1" in warning for warning in planned["warnings"])
    assert replication(lab, "made") == "", "a plan alone has changed something"
    provisioning.apply()
    assert "'dc1': '1'" in replication(lab, "made")
    ask(lab, "n1", "CREATE TABLE made.rows (id int PRIMARY KEY)")
    lab.wait_healthy()
    with lab.connect("n1") as connection:
        for number in range(ROWS):
            connection.query(f"INSERT INTO made.rows (id) VALUES ({number})")

    provisioning.want({"made": {"factor": 3}}, keyspace="made")
    done = provisioning.apply()
    assert [step["text"] for step in done["steps"]] == ["alter the keyspace made: dc1 1 -> 3"]
    assert any("may miss a row" in warning and "Raise it to 2 first" in warning for warning in done["warnings"])
    ran = provisioning.operate(done["afterwards"])
    assert ran == [f"n{number} repair --full made" for number in (1, 2, 3)]
    assert provisioning.check() == []

    provisioning.want({"made": {"factor": 2}}, keyspace="made")
    refused = provisioning.run("--apply")
    assert refused["exit_code"] == 2
    assert "would go from 3 replicas to 2 in dc1" in refused["refusals"][0]
    assert "'dc1': '3'" in replication(lab, "made")
    done = provisioning.apply("--force")
    assert provisioning.operate(done["afterwards"]) == [f"n{number} cleanup made" for number in (1, 2, 3)]
    [problem] = provisioning.check()
    assert problem.startswith("clusters.catalog.consistency: keyspace made has 2 replicas in dc1 and LOCAL_QUORUM")
    assert len(ask(lab, "n2", "SELECT id FROM made.rows")) == ROWS


def test_a_simple_keyspace_becomes_one_that_knows_datacenters(provisioning: Provisioning) -> None:
    lab = provisioning.lab
    provisioning.want({"kept": {"strategy": "SimpleStrategy", "factor": 3, "durable_writes": False}})
    provisioning.apply()
    assert "durable_writes = false" in replication(lab, "kept")
    provisioning.want({"kept": {"factor": {"dc1": 3}, "durable_writes": True}})
    done = provisioning.apply()
    assert done["afterwards"] == [], "in one datacenter of one rack no replica moves"
    assert "NetworkTopologyStrategy" in replication(lab, "kept")
    assert "durable_writes = true" in replication(lab, "kept")
    provisioning.want({"kept": {"factor": {"dc1": 3, "dc9": 3}}})
    refused = provisioning.run("--apply")
    assert (refused["exit_code"], len(refused["refusals"])) == (2, 1)
    assert "names dc9, and the nodes stand in dc1" in refused["refusals"][0]


@pytest.mark.slow
def test_a_node_that_is_frozen_or_down(provisioning: Provisioning) -> None:
    lab = provisioning.lab
    provisioning.want({"meanwhile": {}})
    lab.freeze("n3")
    refused = provisioning.run("--apply")
    assert refused["exit_code"] == 2
    [refusal] = refused["refusals"]
    assert f"No answer comes from {lab.node('n3').address}" in refusal
    assert replication(lab, "meanwhile") == ""
    lab.thaw("n3")
    lab.wait_healthy()
    lab.kill("n3")
    done = provisioning.run("--apply")
    assert (done["exit_code"], done["applied"], done["error"]) == (2, 1, None), done
    assert [one["node"] for one in done["unreachable"]] == [lab.node("n3").address]
    assert any("refuses connections" in problem for problem in provisioning.check())
    lab.start("n3")
    lab.wait_healthy()
    assert provisioning.run()["exit_code"] == 0
    there = ask(lab, "n3", "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name='meanwhile'", cql.ONE)
    assert len(there) == 1, "the node that was down has not heard of it"


class Street(UserType):
    name = columns.Text()


class Shop(Model):
    __undaunted__ = {"cluster": "catalog"}
    number = columns.Integer(primary_key=True)
    where = columns.UserDefinedType(Street)
    kind = columns.Text(index=True)


class Visits(Model):
    __undaunted__ = {"cluster": "catalog"}
    number = columns.Integer(primary_key=True)
    count = columns.Counter()


udt_by_keyspace.clear()  # cqlengine remembers them for the whole process, and so for other tests


def test_tables_of_all_models_in_one_call(provisioning: Provisioning) -> None:
    provisioning.want({}, keyspace="models")
    provisioning.apply()
    undaunted.configure(provisioning.lab.settings_for("catalog", keyspace="models"))
    try:
        done = sync([Shop, Visits], progress=False)
        assert [(one.kind, one.name, one.outcome) for one in done] == [
            ("type", "models.street", "made"),
            ("table", "models.shop", "made"),
            ("table", "models.visits", "made"),
        ]
        Shop.create(number=1, where=Street(name="Main"), kind="books")
        Visits.objects(number=1).update(count=1)
        assert Shop.objects(kind="books").get().where.name == "Main"
        assert {one.outcome for one in sync([Shop, Visits], progress=False)} == {"unchanged"}
    finally:
        undaunted.close()
        udt_by_keyspace.clear()
    assert provisioning.check() == []


@pytest.mark.slow
def test_a_second_datacenter(tmp_path: Path) -> None:
    with CassandraLab(nodes=1, datacenters=2) as lab:
        lab.wait_healthy(LIVENESS_S)
        provisioning = Provisioning(lab, tmp_path)
        provisioning.want({"made": {"factor": {"dc1": 1}}}, keyspace="made")
        provisioning.apply()
        ask(lab, "n1", "CREATE TABLE made.rows (id int PRIMARY KEY)")
        lab.wait_healthy(LIVENESS_S)
        with lab.connect("n1") as connection:
            for number in range(ROWS):
                connection.query(f"INSERT INTO made.rows (id) VALUES ({number})", consistency=cql.ONE)

        provisioning.want({"made": {"factor": 1}, "system_auth": {"factor": {"dc1": 1, "dc2": 1}}}, keyspace="made")
        done = provisioning.apply()
        assert [step["keyspace"] for step in done["steps"]] == ["made", "system_auth"]
        assert any("nodes may refuse logins" in warning or "moves replicas" in warning for warning in done["warnings"])
        seen = len(ask(lab, "n2", "SELECT id FROM made.rows", LOCAL_ONE))
        assert seen < ROWS, "the new datacenter has the rows by itself, so the advice is needless"
        ran = provisioning.operate(done["afterwards"])
        assert ran[0] == "n2 rebuild --keyspace made -- dc1"
        assert len(ask(lab, "n2", "SELECT id FROM made.rows", LOCAL_ONE)) == ROWS
        assert all("one replica in" in problem for problem in provisioning.check())


@pytest.mark.slow
def test_a_login_that_is_refused(tmp_path: Path) -> None:
    with CassandraLab(nodes=1, auth=("admin", "correct horse")) as lab:
        provisioning = Provisioning(lab, tmp_path)
        wrong = tmp_path / "wrong"
        wrong.write_text("battery staple", encoding="utf-8")
        provisioning.want({"made": {}}, credentials={"username": "admin", "password": {"file": str(wrong)}})
        refused = provisioning.run("--apply")
        assert refused["exit_code"] == 2
        assert "the nodes refuse the login of user 'admin'" in refused["refusals"][0]
        assert provisioning.check() == [
            "clusters.catalog.credentials: the nodes refuse the login of user 'admin'. Correct username and password."
        ]
