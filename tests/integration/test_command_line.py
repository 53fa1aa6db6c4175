"""`undaunted config init`, `check` and `status` on real servers, whole and with nodes that fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.labs import until

import undaunted
from undaunted import cli
from undaunted.config import load
from undaunted.lab import MongoLab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDAUNTED_CONFIG", raising=False)
    yield tmp_path
    undaunted.close()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    undaunted.close()  # each command line is a process of its own
    code = cli.run(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def status(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code, out, _ = run(capsys, "status", "--json")
    return code, json.loads(out)


def test_one_node_of_a_replica_set_tells_of_all(
    healthy_mongo_lab: MongoLab, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = healthy_mongo_lab
    with lab.client() as client:
        client.only.orders.insert_one({})
    code, out, err = run(capsys, "config", "init", f"mongodb://{lab.nodes[2].address}/only")
    assert (code, out, err) == (0, "Wrote undaunted.toml: orders.\nNext: undaunted check\n", "")
    cluster: Any = load(folder / "undaunted.toml").settings.clusters["orders"]
    assert set(cluster.nodes) == {node.address for node in lab.nodes}
    assert (cluster.replica_set, cluster.database) == ("lab", "only")
    assert run(capsys, "check")[:2] == (0, "1 cluster checked: all is well.\n")
    code, out, _ = run(capsys, "status")
    assert (code, out.splitlines()[0]) == (0, "orders  mongodb  ok  every node answers")
    assert sum(" primary " in line for line in out.splitlines()) == 1


def test_status_while_nodes_fail(healthy_mongo_lab: MongoLab, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = healthy_mongo_lab
    assert run(capsys, "config", "init", f"mongodb://{lab.nodes[0].address}")[0] == 0
    old = lab.primary()
    lab.kill(old)
    lab.wait_primary(other_than=old)
    code, told = status(capsys)
    (cluster,) = told["clusters"].values()
    roles = {node["address"]: node["role"] for node in cluster["nodes"]}
    assert (code, told["state"], told["ready"]) == (1, "degraded", True)
    assert (roles[old.address], roles[lab.primary().address]) == ("unknown", "primary")
    for node in lab.nodes:
        if node.state == "up":
            lab.freeze(node)
    code, told = status(capsys)
    assert (code, told["ready"]) == (2, False)
    lab.heal()
    assert status(capsys)[0] == 0


def test_a_node_that_does_not_answer_is_told_and_written_down(
    healthy_mongo_lab: MongoLab, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = healthy_mongo_lab
    asked, gone, _ = lab.nodes
    lab.kill(gone)
    code, _, err = run(capsys, "config", "init", f"mongodb://{asked.address}")
    assert (code, err) == (0, f"orders: {gone.address} refuses connections, so nothing listens there.\n")
    assert gone.address in (folder / "undaunted.toml").read_text()


def test_a_server_that_stands_alone_and_one_that_demands_a_login(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with MongoLab(nodes=1, replica_set=None) as lab:
        code, _, err = run(capsys, "config", "init", f"mongodb://{lab.nodes[0].address}")
        assert code == 0
        assert "is a standalone server, which has no other node to fail over to" in err
    with MongoLab(nodes=1, auth=("shop", "hunter2")) as lab:
        url = f"mongodb://{lab.nodes[0].address}"
        code, _, err = run(capsys, "config", "init", url, "--force")
        assert code == 0
        assert "demands a login" in (folder / "undaunted.toml").read_text()
        monkeypatch.setenv("ORDERS_PASSWORD", "hunter3")
        code, _, err = run(capsys, "config", "init", url.replace("//", "//shop@"), "--force")
        assert code == 2
        assert "refuses the login of 'shop'" in err
        monkeypatch.setenv("ORDERS_PASSWORD", "hunter2")
        assert run(capsys, "config", "init", url.replace("//", "//shop@"), "--force")[0] == 0
        assert run(capsys, "status")[0] == 0
    assert "hunter" not in (folder / "undaunted.toml").read_text()


def test_a_postgresql_and_its_roles(
    healthy_postgresql_lab: PostgresLab, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = healthy_postgresql_lab
    hosts = ",".join(node.address for node in lab.nodes)
    assert run(capsys, "config", "init", f"ledger=postgresql://lab@{hosts}/lab")[0] == 0
    cluster: Any = load(folder / "undaunted.toml").settings.clusters["ledger"]
    assert cluster.nodes == tuple(node.address for node in lab.nodes)
    assert f"{lab.primary().address} primary" in " ".join((folder / "undaunted.toml").read_text().split("\n# "))
    assert status(capsys)[0] == 0
    frozen = next(node for node in lab.nodes if lab.role(node) == "replica")  # an earlier test may have promoted any
    lab.freeze(frozen)
    code, told = status(capsys)
    roles = {node["address"]: node["role"] for node in told["clusters"]["ledger"]["nodes"]}
    assert (code, told["state"], roles.pop(frozen.address)) == (1, "degraded", "unknown")
    assert sorted(roles.values()) == ["primary", "replica"]
    lab.thaw(frozen)
    until(lambda: status(capsys)[0] == 0, what="the return of the standby")
    code, _, err = run(capsys, "config", "init", f"postgresql://lab@{lab.primary().address}/nowhere", "--output", "x")
    assert (code, "has no database of that name" in err) == (2, True)
