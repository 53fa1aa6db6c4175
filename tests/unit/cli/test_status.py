"""`undaunted status` on the fake Cassandra: what it shows, and how it exits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import undaunted
from undaunted import cli
from undaunted.cli.source import Source
from undaunted.testing.cql import FakeCassandra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def at_end() -> Iterator[None]:
    yield
    undaunted.close()


@pytest.fixture
def fake() -> Iterator[FakeCassandra]:
    with FakeCassandra() as made:
        made.execute("CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'}")
        yield made


def catalog(fake: FakeCassandra) -> dict[str, Any]:
    nodes = [f"{address}:{fake.port}" for address in fake.contact_points]
    return {"backend": "cassandra", "nodes": nodes, "keyspace": "shop", "local_datacenter": "dc1"}


def status(clusters: dict[str, Any], *arguments: str) -> int:
    undaunted.close()  # each command line is a process of its own
    source = Source(framework=lambda: {"clusters": clusters}, framework_name="UNDAUNTED")
    return cli.run(["status", *arguments], source=source)


def test_every_node_answers(fake: FakeCassandra, capsys: pytest.CaptureFixture[str]) -> None:
    assert status({"catalog": catalog(fake)}) == 0
    first, heading, *rows = capsys.readouterr().out.splitlines()
    assert first == "catalog  cassandra  ok  every node answers"
    assert heading.split() == ["node", "role", "datacenter", "breaker"], "columns that say nothing are left out"
    assert len(rows) == 3
    assert all(row.split()[1:3] == ["replica", "dc1"] for row in rows)


def test_a_node_is_gone(fake: FakeCassandra, capsys: pytest.CaptureFixture[str]) -> None:
    gone = fake.nodes[1]
    fake.kill(gone.number)
    assert status({"catalog": catalog(fake)}, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["ready"]) == ("degraded", True)
    found = {node["address"]: (node["role"], node["error"]) for node in told["clusters"]["catalog"]["nodes"]}
    assert found.pop(f"{gone.address}:{fake.port}") == ("unknown", "NoConnection")
    assert set(found.values()) == {("replica", None)}


def test_a_node_is_frozen(fake: FakeCassandra, capsys: pytest.CaptureFixture[str]) -> None:
    fake.freeze(2)
    try:
        assert status({"catalog": catalog(fake)}, "--json") == 1
    finally:
        fake.thaw(2)
    nodes = json.loads(capsys.readouterr().out)["clusters"]["catalog"]["nodes"]
    (frozen,) = [node for node in nodes if node["role"] == "unknown"]
    assert frozen["address"] == f"{fake.nodes[1].address}:{fake.port}"
    assert "gives no answer" in frozen["error"]


@pytest.mark.parametrize(("is_required", "code"), [(True, 2), (False, 1)])
def test_a_cluster_is_gone(
    fake: FakeCassandra, is_required: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = {"backend": "mongodb", "nodes": [NOBODY], "required": is_required}
    assert status({"catalog": catalog(fake), "orders": orders}) == code
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if line.startswith("orders")]
    assert line == "orders  mongodb  down  no node answers" + ("" if is_required else "  (optional)")
    assert status({"catalog": catalog(fake), "orders": orders}, "catalog") == 0
    assert "orders" not in capsys.readouterr().out


def test_one_database_behind_one_url_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = {"backend": "sqlalchemy", "url": "sqlite://"}
    assert status({"ledger": ledger}) == 0
    assert capsys.readouterr().out == "ledger  sqlalchemy  ok  it answers\n"


def test_one_database_behind_one_url_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    for url, said in {
        f"sqlite:///{tmp_path}/nowhere/ledger.db": "its folder is not there",
        f"sqlite:///{tmp_path}/text.db": "file is not a database",
        f"sqlite:///{tmp_path}": "unable to open database file",
        "mysql+pymysql://me@127.0.0.1:9/shop": "its driver is missing: pymysql",
    }.items():
        clusters = {"ledger": {"backend": "sqlalchemy", "url": url}}
        assert status(clusters) == 2
        assert said in capsys.readouterr().out
        assert cli.run(["check"], source=Source(framework=lambda told=clusters: {"clusters": told})) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    assert status({"ledger": {"backend": "sqlalchemy", "url": f"sqlite:///{tmp_path}/new.db"}}) == 0
    assert not (tmp_path / "new.db").exists(), "to ask changes nothing"


def test_what_is_wrong_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = {"backend": "sqlalchemy", "url": "sqlite://"}
    assert status({"ledger": ledger}, "--timeout", "soon") == 2
    assert "'soon' is not a duration" in capsys.readouterr().err
    assert status({"ledger": ledger}, "leger") == 3
    assert "there is no cluster 'leger'" in capsys.readouterr().err


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ORDERS_PASSWORD", "hunter2")
    login = {"username": "shop", "password": {"env": "ORDERS_PASSWORD"}}
    orders = {"backend": "mongodb", "nodes": [NOBODY], "credentials": login}
    for arguments in ([], ["--json"]):
        assert status({"orders": orders}, *arguments) == 2
        captured = capsys.readouterr()
        assert "hunter2" not in captured.out + captured.err
