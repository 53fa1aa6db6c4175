"""What the PostgreSQL lab does without a server: finding programs, writing files, reading answers, asking /proc."""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from undaunted.lab import LabError, postgres_node, postgres_program, postgres_wire, processes
from undaunted.lab.node import LabNode
from undaunted.lab.ports import LOOPBACK, choose
from undaunted.lab.postgres_user import Account, can_reach

US = Account("us", os.geteuid(), os.getegid(), is_other=False)
STRANGER = Account("stranger", 54_321, 54_321, is_other=True)


# -------------------------------------------------------------------- programs


def programs_in(directory, version="15.4", names=("postgres", "initdb", "pg_basebackup", "pg_rewind")):
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (directory / name).chmod(0o755)
    return directory


def test_programs_are_found_behind_a_link_on_path(tmp_path, monkeypatch):
    real = programs_in(tmp_path / "real")
    link = tmp_path / "bin"
    link.mkdir()
    (link / "postgres").symlink_to(real / "postgres")
    monkeypatch.setenv("PATH", f"{link}:/usr/bin:/bin")
    monkeypatch.delenv("UNDAUNTED_POSTGRES", raising=False)
    found = postgres_program.find(US)
    assert (found.directory, found.version) == (real, 15)
    assert found.path("initdb") == str(real / "initdb")


def test_what_is_too_old_or_not_whole_is_passed_over(tmp_path, monkeypatch):
    old = programs_in(tmp_path / "old", version="13.9")
    monkeypatch.setenv("PATH", str(old))
    monkeypatch.delenv("UNDAUNTED_POSTGRES", raising=False)
    assert postgres_program.find(US).version == 16, "that of the wheel"
    assert postgres_program.find(US, "wheel18").version == 18
    some = programs_in(tmp_path / "some", names=("postgres", "initdb"))
    for directory in (old, some, tmp_path / "none"):
        with pytest.raises(LabError, match=rf"to be those of {directory}, which has not all of postgres, .* or newer"):
            postgres_program.find(US, str(directory))
        monkeypatch.setenv("UNDAUNTED_POSTGRES", str(directory))
        with pytest.raises(LabError, match="which has not all of"):
            postgres_program.find(US)


def test_programs_that_are_named_must_be_in_reach(tmp_path):
    hidden = programs_in(tmp_path / "hidden")
    tmp_path.chmod(0o700)
    with pytest.raises(LabError, match=f"The user stranger cannot reach {hidden}, and PostgreSQL does not run as root"):
        postgres_program.find(STRANGER, str(hidden))


def test_reach(tmp_path):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    assert can_reach(place, US)
    assert can_reach(Path("/"), STRANGER)
    assert not can_reach(tmp_path / "nowhere", STRANGER)
    tmp_path.chmod(0o700)
    assert not can_reach(place, STRANGER)
    owner = Account("owner", os.geteuid(), os.getegid(), is_other=True)
    place.chmod(0o077)
    assert not can_reach(place, owner), "the rights of others are not the owner's"
    place.chmod(0o700)


# ----------------------------------------------------------------------- files


def test_values_are_quoted():
    assert postgres_node.quoted("it's a \\ path") == "'it''s a \\\\ path'"
    assert postgres_node.conninfo(host="@x", password="a'b\\c") == r"host='@x' password='a\'b\\c'"


def test_a_file_is_replaced_whole_and_ours_alone(tmp_path):
    path = tmp_path / "role.conf"
    for text in ("first", "second"):
        postgres_node.write(path, text, US)
        assert path.read_text() == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_timelines(tmp_path):
    log = tmp_path / "data" / "pg_wal"
    log.mkdir(parents=True)
    assert postgres_node.timeline(tmp_path) == 1
    assert postgres_node.fork(tmp_path) == 0
    (log / "00000002.history").write_text("1\t0/1B60000\tno recovery target specified\n")
    (log / "0000000A.history").write_text("1\t0/1B60000\tx\n\n2\t1/10\tno recovery target specified\n")
    assert postgres_node.timeline(tmp_path) == 10
    assert postgres_node.fork(tmp_path) == (1 << 32) + 16
    assert not postgres_node.is_standby(tmp_path)
    postgres_node.standby_signal(tmp_path).touch()
    assert postgres_node.is_standby(tmp_path)


# --------------------------------------------------------------------- answers


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


READY = message(b"Z", b"I")
COLUMNS = message(b"T", b"\0\2" + b"".join(name + b"\0" + bytes(18) for name in (b"a", b"b")))
ROW = message(b"D", b"\0\2" + struct.pack("!i", 1) + b"t" + struct.pack("!i", -1))
HELLO = message(b"R", bytes(4)) + message(b"S", b"in_hot_standby\0off\0") + READY


class Fake:
    """Listens as a node does, and says what it is to say, byte by byte."""

    def __init__(self, port, says):
        self.says = says
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(f"\0undaunted-lab/.s.PGSQL.{port}")
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        with connection:
            connection.recv(65_536)
            if self.says is None:
                connection.recv(1)  # until the other side gives up
                return
            for place in range(len(self.says)):
                connection.sendall(self.says[place : place + 1])

    def close(self):
        self.thread.join()
        self.listener.close()


@pytest.fixture
def fake():
    made = []

    def make(says):
        (port,) = choose(1, claim=lambda *_: None)
        made.append(Fake(port, says))
        return LabNode(None, name=f"n{len(made)}", host=LOOPBACK, port=port)

    yield make
    for each in made:
        each.close()


def test_all_are_asked_at_once_and_the_silent_do_not_count(fake):
    (free,) = choose(1, claim=lambda *_: None)
    nodes = [
        fake(HELLO + COLUMNS + ROW + ROW + message(b"C", b"SELECT 2\0") + READY),
        fake(message(b"E", b"SFATAL\0C57P03\0Mthe database system is starting up\0\0")),
        fake(HELLO + COLUMNS),
        fake(None),
        LabNode(None, name="absent", host=LOOPBACK, port=free),
    ]
    assert postgres_wire.ask(nodes, "SELECT", timeout_s=0.5) == {"n1": {"a": "t", "b": None}}


def test_what_a_node_does_not_do_is_told(fake):
    postgres_wire.execute(fake(HELLO + message(b"C", b"CHECKPOINT\0") + READY), "CHECKPOINT", timeout_s=5)
    refusal = HELLO + message(b"E", b"SERROR\0C42501\0Mmust not\0\0") + READY
    with pytest.raises(postgres_wire.Refused, match=r"^42501 must not$"):
        postgres_wire.execute(fake(refusal), "CHECKPOINT", timeout_s=5)
    with pytest.raises(ConnectionError, match="closed the connection"):
        postgres_wire.execute(fake(HELLO), "CHECKPOINT", timeout_s=5)
    with pytest.raises(TimeoutError, match=r"no answer within 0\.1 s"):
        postgres_wire.execute(fake(None), "CHECKPOINT", timeout_s=0.1)


# ------------------------------------------------------------------- processes


@pytest.fixture
def family(tmp_path):
    """A process, and a child of it that leads a session of its own."""
    code = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=sys.stdin, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    child = int(parent.stdout.readline())
    yield parent, child
    parent.stdin.close()
    parent.stdout.close()
    parent.wait()


def test_a_tree_is_stopped_continued_and_killed_as_a_whole(family, tmp_path):
    parent, child = family
    tree = processes.Tree(parent, str(tmp_path))
    assert processes.children_of(parent.pid) == [child]
    assert sorted(processes.working_in([str(tmp_path)])) == sorted([parent.pid, child])
    assert tree.describe()["state"] == "up"
    tree.signal(19)
    assert tree.describe()["state"] == "frozen"
    assert {processes.letter(parent.pid), processes.letter(child)} == {"T"}
    tree.signal(18)
    assert tree.describe()["state"] == "up"
    assert processes.letter(child) != "T"
    tree.signal(19)
    tree.signal(9)
    assert tree.describe()["state"] == "down"
    assert processes.working_in([str(tmp_path)]) == []
    tree.signal(18)  # nobody is left to take it


def test_a_tree_whose_first_process_ended_is_not_down_while_a_child_is_there(family, tmp_path):
    parent, child = family
    tree = processes.Tree(parent, str(tmp_path))
    os.kill(child, 19)
    os.kill(parent.pid, 9)
    parent.wait()
    assert tree.describe()["state"] == "up"
    tree.signal(9)
    assert tree.describe() == {"pid": parent.pid, "state": "down", "exit": -9}


def test_who_is_gone_has_no_children(family):
    parent, child = family
    os.kill(child, 9)
    parent.wait()
    assert processes.children_of(parent.pid) == []
    assert processes.letter(parent.pid) == ""
