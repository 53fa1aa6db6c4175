"""`undaunted config init`: what it takes, what it writes, and when it writes nothing."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from undaunted import cli
from undaunted.cli.config.given import given
from undaunted.config import load
from undaunted.testing.cql import FakeCassandra

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "127.0.0.1:9"  # the discard service, which runs nowhere


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDAUNTED_CONFIG", raising=False)
    return tmp_path


def init(*arguments: str) -> int:
    return cli.run(["config", "init", *arguments])


def written(path: Path, **environ: str) -> Any:
    return load(path, environ=environ).settings.clusters


@pytest.mark.parametrize(
    ("text", "name", "backend", "settings"),
    [
        ("o=mongodb://h", "o", "mongodb", {"nodes": ["h:27017"]}),
        ("mongodb://h:1,i", "orders", "mongodb", {"nodes": ["h:1", "i:27017"]}),
        (
            "o-1=mongodb://me%40x@h/shop?replicaSet=rs&authSource=users&tls=true",
            "o-1",
            "mongodb",
            {
                "nodes": ["h:27017"],
                "replica_set": "rs",
                "database": "shop",
                "credentials": {"username": "me@x", "source": "users", "password": {"env": "O_1_PASSWORD"}},
                "tls": {"enabled": True},
            },
        ),
        ("o=mongodb+srv://db.example.com/shop", "o", "mongodb", {"url": "mongodb+srv://db.example.com"}),
        ("cassandra://[::1]/shop", "catalog", "cassandra", {"nodes": ["[::1]:9042"], "keyspace": "shop"}),
        (
            "postgres://me@h:1,i/shop?sslmode=require",
            "ledger",
            "sqlalchemy",
            {"url": "postgresql+psycopg://me@/shop?sslmode=require", "nodes": ["h:1", "i:5432"]},
        ),
        (
            "postgres://me@h/my%2Fshop?application_name=a%26b",
            "ledger",
            "sqlalchemy",
            {"url": "postgresql+psycopg://me@/my%2Fshop?application_name=a%26b"},
        ),
        (
            "mongodb://me@h/shop?authSource=a@b",
            "orders",
            "mongodb",
            {"credentials": {"username": "me", "source": "a@b", "password": {"env": "ORDERS_PASSWORD"}}},
        ),
    ],
)
def test_what_a_url_says(text: str, name: str, backend: str, settings: dict[str, Any]) -> None:
    found = given(text)
    assert (found.name, found.backend) == (name, backend)
    assert {key: found.settings[key] for key in settings} == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("orders", "is not a URL"),
        ("orders=mysql://h/x", "the scheme 'mysql' is not known; there are mongodb"),
        ("1=mongodb://h", "begins with a letter"),
        ("o=mongodb://h?w=0", "write w into the file afterwards"),
        ("o=mongodb://", "has no host"),
        ("o=mongodb://h:port", "no usable port"),
        ("c=cassandra://h?x=1", "has no options"),
        ("l=postgresql://h", "names no database"),
        ("o=mongodb://me:hunter2@h", "has a password in it, which others can see; leave it out, and give it as O_PASS"),
        ("l=postgresql://me:hunter2@h/x", "PGPASSWORD or ~/.pgpass"),
        ("l=postgresql://h/x?password=hunter2", "PGPASSWORD or ~/.pgpass"),
    ],
)
def test_what_cannot_be_taken_is_said_without_what_may_be_a_password(
    text: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init(text) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "hunter2" not in told
    assert "Traceback" not in told
    assert list(folder.iterdir()) == []


def test_what_is_written_can_be_read_also_with_every_comment_taken_for_a_setting(folder: Path) -> None:
    urls = ["orders=mongodb://me@h1:1,h2/shop", "catalog=cassandra://h", "ledger=postgresql://me@h/x?sslmode=require"]
    assert init("--no-ask", *urls) == 0
    path = folder / "undaunted.toml"
    found = written(path, ORDERS_PASSWORD="geheim")
    assert found["orders"].nodes == ("h1:1", "h2:27017")
    assert found["orders"].credentials.password.reveal() == "geheim"
    lines = path.read_text().splitlines()
    meant = [
        line.removeprefix("# ") if line.startswith(("# [", "# retry.")) or " = " in line.partition("#  ")[0] else line
        for line in lines
        if "`" not in line and "{{" not in line and not line.startswith("# A password")
    ]
    path.write_text("\n".join(meant))
    found = written(path, ORDERS_PASSWORD="a", CATALOG_PASSWORD="b")
    assert {cluster.required for cluster in found.values()} == {False}
    assert found["catalog"].keyspace == "shop"
    assert all(len(line) <= 120 for line in lines)


def test_a_file_that_is_there_is_kept_unless_it_may_go(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "undaunted.toml"
    path.write_text("retry.attempts = 2")
    assert init("--no-ask", "mongodb://h") == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "retry.attempts = 2"
    assert init("--no-ask", "--force", "mongodb://h") == 0
    assert "orders" in written(path)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("folder", "is a folder"),
        ("nowhere/x.toml", "in a folder that is not there"),
        ("gone.toml", "cannot be written"),
    ],
)
def test_a_file_that_cannot_be_written_is_told(
    output: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "folder").mkdir()
    (folder / "gone.toml").symlink_to(folder / "nowhere" / "gone.toml")
    assert init("--no-ask", "--force", "mongodb://h", "--output", output) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_characters_of_every_kind_are_written_so_that_they_can_be_read(folder: Path) -> None:
    assert init("--no-ask", 'mongodb://h/sh\u00f6p"\U0001f600') == 0
    assert written(folder / "undaunted.toml")["orders"].database == 'sh\u00f6p"\U0001f600'


def test_two_clusters_of_one_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init("--no-ask", "mongodb://h", "mongodb://i") == 2
    assert "two clusters are called 'orders'" in capsys.readouterr().err


def test_standard_output_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init("--no-ask", "o=mongodb://me@h", "--output", "-") == 0
    text = capsys.readouterr().out
    assert "[clusters.o]" in text
    assert init("--no-ask", "o=mongodb://me@h", "--output", "-", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["variables"], told["text"]) == (None, ["O_PASSWORD"], text)
    assert told["clusters"][0]["settings"]["nodes"] == ["h:27017"]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("url", [f"mongodb://{NOBODY}", f"cassandra://{NOBODY}", f"postgresql://{NOBODY}/x"])
def test_nobody_answers(url: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(f"c={url}") == 2
    told = capsys.readouterr().err
    assert f"clusters.c.nodes: {NOBODY}" in told
    assert "Nothing was written; --no-ask writes down what is given." in told
    assert list(folder.iterdir()) == []


def test_nobody_answers_in_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(f"c=cassandra://{NOBODY}", "--json") == 2
    told = json.loads(capsys.readouterr().out)
    assert told["file"] is None
    assert NOBODY in told["problems"][0]["message"]
    assert list(folder.iterdir()) == []


def test_nobody_to_ask_whom_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert init("--json") == 2
    assert "Name each cluster by the URL of one of its nodes" in capsys.readouterr().err


def test_a_cassandra_tells_its_nodes_its_datacenter_and_its_keyspace(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeCassandra(datacenters={"east": 2, "west": 2}) as fake:
        fake.execute("CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'east': '2'}")
        assert init(f"cassandra://{fake.contact_points[0]}:{fake.port}") == 0
        assert [each.text for each in fake.executed] == [], "it only looks"
        text = (folder / "undaunted.toml").read_text()
        cluster = written(folder / "undaunted.toml")["catalog"]
        east = {f"{node.address}:{fake.port}" for node in fake.nodes[:2]}
        assert (set(cluster.nodes), cluster.local_datacenter, cluster.keyspace) == (east, "east", "shop")
        assert "# remote_datacenters = { west = {  } }" in text
        assert cli.run(["check"]) in {0, 1}, "what was written can be asked for at once"
    capsys.readouterr()


def test_a_cassandra_that_demands_a_login(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeCassandra(nodes=1, user="me", password="right") as fake:
        node = f"{fake.contact_points[0]}:{fake.port}"
        assert init(f"cassandra://me@{node}") == 2
        assert "Set CATALOG_PASSWORD" in capsys.readouterr().err
        monkeypatch.setenv("CATALOG_PASSWORD", "wrong")
        assert init(f"cassandra://me@{node}") == 2
        told = capsys.readouterr().err
        assert "clusters.catalog.credentials" in told
        assert "wrong" not in told
        monkeypatch.setenv("CATALOG_PASSWORD", "right")
        assert init(f"cassandra://me@{node}") == 0
        assert "Set CATALOG_PASSWORD in the environment" in capsys.readouterr().out
    assert "right" not in (folder / "undaunted.toml").read_text()


def test_a_person_is_asked(folder: Path) -> None:
    with FakeCassandra(nodes=1) as fake:
        answers = ["cassandra", "goods", f"{fake.contact_points[0]}:{fake.port}", "", "", "n"]
        above, below = pty.openpty()
        try:
            os.write(above, ("\n".join(answers) + "\n").encode())
            code = "from undaunted.cli import main; main()"
            argv = [sys.executable, "-c", code, "config", "init"]
            done = subprocess.run(argv, stdin=below, capture_output=True, text=True, timeout=60, check=False)
        finally:
            os.close(above)
            os.close(below)
    assert done.returncode == 0, done.stderr
    assert written(folder / "undaunted.toml")["goods"].backend == "cassandra"
