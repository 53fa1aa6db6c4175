"""Settings that do not fit the nodes: each mistake is told in a sentence that names the setting and the remedy."""

from __future__ import annotations

import json
import logging
import socket
import time
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from click.testing import CliRunner
from mongoengine import OperationError
from pymongo.errors import OperationFailure

import undaunted
from undaunted.cli.group import undaunted as command
from undaunted.config import load
from undaunted.lab import MongoLab
from undaunted.mongodb import CredentialsRefused, Document, fields, seams
from undaunted.mongodb.check import check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

PASSWORD = "correct-horse"


class BadInputOrder(Document):
    __undaunted__ = {"cluster": "orders"}
    number = fields.IntField()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    undaunted.close()


@pytest.fixture(scope="module")
def locked_lab() -> Iterator[MongoLab]:
    """A replica set of one that demands a login."""
    with MongoLab(nodes=1, auth=("shop", PASSWORD)) as lab:
        yield lab


def problems_of(settings: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in check(load(settings).settings.clusters["orders"])]


def cluster(**changes: Any) -> dict[str, Any]:
    return {"clusters": {"orders": {"backend": "mongodb", "database": "shop", **changes}}}


def test_a_set_that_fits_has_no_problem(healthy_mongo_lab: MongoLab) -> None:
    assert problems_of(healthy_mongo_lab.settings_for("orders")) == []


def test_an_unreachable_node(healthy_mongo_lab: MongoLab) -> None:
    settings = healthy_mongo_lab.settings_for("orders")
    settings["clusters"]["orders"]["nodes"].append("127.0.0.1:1")
    (told,) = problems_of(settings)
    assert told.startswith("clusters.orders.nodes: 127.0.0.1:1 refuses connections")
    assert "Start the node, or correct its address." in told


def test_a_node_whose_name_cannot_be_looked_up(healthy_mongo_lab: MongoLab) -> None:
    settings = healthy_mongo_lab.settings_for("orders")
    settings["clusters"]["orders"]["nodes"].append("no-such-host.invalid:27017")
    (told,) = problems_of(settings)
    assert "no-such-host.invalid:27017 has a name that cannot be looked up here" in told


@pytest.mark.parametrize("beside", ["nodes", "url"])
def test_a_replica_set_name_that_does_not_match(healthy_mongo_lab: MongoLab, beside: str) -> None:
    settings = healthy_mongo_lab.settings_for("orders")
    orders = settings["clusters"]["orders"]
    orders["replica_set"] = "rs1"
    if beside == "url":
        orders["url"] = "mongodb://" + ",".join(orders.pop("nodes"))
    told = problems_of(settings)
    assert len(told) == 3
    assert all(one.startswith("clusters.orders.replica_set: is 'rs1', but 127.0.0.1:") for one in told)
    undaunted.configure(settings)
    with pytest.raises(undaunted.DeadlineExceeded) as caught, undaunted.deadline("2s"):
        BadInputOrder.objects.count()
    assert "clusters.orders.replica_set is 'rs1'" in str(caught.value)


def test_an_unreachable_cluster_is_told_by_the_error_itself() -> None:
    undaunted.configure(cluster(nodes=["127.0.0.1:1", "127.0.0.1:2"]))
    began = time.monotonic()
    with pytest.raises(undaunted.DeadlineExceeded) as caught, undaunted.deadline("1s"):
        BadInputOrder.objects.count()
    assert time.monotonic() - began < 3
    assert "127.0.0.1:1 refuses connections" in str(caught.value)
    assert isinstance(caught.value, pymongo.errors.NetworkTimeout)


def test_a_member_whose_own_name_cannot_be_looked_up(
    healthy_mongo_lab: MongoLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lookup is scripted: a set on loopback takes no member with another name."""
    lost = healthy_mongo_lab.nodes[2].address
    real = socket.getaddrinfo

    def lookup(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if f"{host}:{port}" == lost:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, port, *args, **kwargs)

    settings = healthy_mongo_lab.settings_for("orders")
    settings["clusters"]["orders"]["nodes"].remove(lost)
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    (told,) = problems_of(settings)
    assert f"calls a member '{lost}', a name that cannot be looked up here" in told


def test_a_standalone_server() -> None:
    with MongoLab(nodes=1, replica_set=None) as lab:
        (told,) = problems_of(cluster(nodes=[lab.nodes[0].address]))
        assert "is a standalone server, which has no other node to fail over to" in told
        undaunted.configure(cluster(nodes=[lab.nodes[0].address]))
        assert BadInputOrder(number=1).save().number == 1, "it works, as far as one server can"
        assert BadInputOrder.objects(number=1).update(inc__number=1) == 1


def test_nodes_that_wait_for_a_set() -> None:
    with MongoLab(nodes=1, initiate=False) as lab:
        (told,) = problems_of(cluster(nodes=[lab.nodes[0].address]))
        assert "waits to be taken into a replica set. Run `undaunted provision`." in told


def test_a_wrong_password_is_told_and_tried_once(
    locked_lab: MongoLab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wrong-horse")
    settings = locked_lab.settings_for("orders")
    settings["clusters"]["orders"]["credentials"]["password"] = {"file": str(wrong)}
    assert problems_of(locked_lab.settings_for("orders")) == []
    (told,) = problems_of(settings)
    assert told.startswith("clusters.orders.credentials: ")
    assert "refuses the login of 'shop'" in told
    undaunted.configure(settings)
    events: list[Any] = []
    undaunted.subscribe(events.append)
    before = failed_logins(locked_lab)
    with caplog.at_level(logging.DEBUG), pytest.raises((CredentialsRefused, OperationError)) as caught:
        BadInputOrder.objects(number=1).first()
    assert isinstance(caught.value, undaunted.ConfigurationError)
    assert isinstance(caught.value, OperationFailure)
    assert caught.value.code == 18
    assert len(caught.value.attempts) <= 1
    assert failed_logins(locked_lab) - before == 1
    status = json.dumps(undaunted.status())
    for text in (str(caught.value), repr(caught.value), caplog.text, status, repr(events), str(told)):
        assert "wrong-horse" not in text
        assert PASSWORD not in text


def failed_logins(lab: MongoLab) -> int:
    with pymongo.MongoClient(lab.uri) as client:
        counts = client.admin.command("serverStatus")["security"]["authentication"]["mechanisms"]["SCRAM-SHA-256"]
        return int(counts["authenticate"]["received"] - counts["authenticate"]["successful"])


def test_a_driver_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pymongo, "version_tuple", (4, 16, 0))
    monkeypatch.setattr(pymongo, "version", "4.16.0")
    with pytest.raises(undaunted.ConfigurationError, match=r"pymongo 4\.16\.0 is too old\. Install pymongo 4\.17"):
        seams.check_driver()


def test_an_option_that_the_driver_refuses() -> None:
    undaunted.configure(cluster(nodes=["127.0.0.1:1"], options={"maxIdleTimeMS": "many"}))
    with pytest.raises(Exception, match=r"clusters.orders.*pymongo refuses"):
        BadInputOrder.objects.count()


def test_an_alias_that_the_application_has_taken(healthy_mongo_lab: MongoLab) -> None:
    import mongoengine

    mongoengine.register_connection("orders", host="mongodb://127.0.0.1:1", uuidRepresentation="standard")
    try:
        with pytest.raises(undaunted.ConfigurationError, match="alias 'orders' already"):
            undaunted.configure(healthy_mongo_lab.settings_for("orders"))
    finally:
        mongoengine.disconnect("orders")


def test_the_command_line(healthy_mongo_lab: MongoLab, tmp_path: Path) -> None:
    file = tmp_path / "undaunted.toml"
    nodes = json.dumps(healthy_mongo_lab.settings_for("orders")["clusters"]["orders"]["nodes"])
    file.write_text(f'[clusters.orders]\nbackend = "mongodb"\nnodes = {nodes}\n')
    run = CliRunner().invoke(command, ["check", "--file", str(file)])
    assert (run.exit_code, run.output) == (0, "1 cluster checked: all is well.\n")
    file.write_text('[clusters.orders]\nbackend = "mongodb"\nnodes = ["127.0.0.1:1"]\n')
    run = CliRunner().invoke(command, ["check", "--file", str(file), "--json"])
    assert run.exit_code == 2
    assert {problem["path"] for problem in json.loads(run.output)["problems"]} == {"clusters.orders.nodes"}
    file.write_text('[clusters.orders]\nbackend = "mongo"\n')
    assert CliRunner().invoke(command, ["check", "--file", str(file)]).exit_code == 3
