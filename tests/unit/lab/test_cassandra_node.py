"""How a Cassandra node is run: its files, its command line, its address."""

from __future__ import annotations

import errno
import itertools
import json
import stat
from pathlib import Path

import pytest

from undaunted.lab import LabError, LabNode, archive, cassandra_node, jvm, nodetool
from undaunted.lab.addresses import choose_network
from undaunted.lab.java import Java

JAVA = Java(program=Path("/opt/java"), major=17, told="17.0.1")
NODE = LabNode(None, name="n2", host="127.0.9.2", port=9042, datacenter="dc1")


def settings_of(text):
    """Each line is a name and JSON, which is YAML too."""
    return {name: json.loads(value) for name, value in (line.split(": ", 1) for line in text.splitlines())}


def yaml(**options):
    return settings_of(
        cassandra_node.yaml(
            NODE,
            root=Path("/ram/n2"),
            cluster="shop",
            seeds=["127.0.9.1", "127.0.9.2"],
            own_token=5,
            options=options,
        )
    )


def test_a_node_listens_on_its_own_address_only():
    found = yaml()
    assert found["listen_address"] == found["rpc_address"] == "127.0.9.2"
    assert found["native_transport_port"] == 9042
    assert found["seed_provider"][0]["parameters"] == [{"seeds": "127.0.9.1,127.0.9.2"}]
    assert found["initial_token"] == "5"
    assert {value for name, value in found.items() if name.endswith("_directory")} == {
        "/ram/n2/commitlog",
        "/ram/n2/hints",
        "/ram/n2/saved_caches",
        "/ram/n2/cdc_raw",
    }


def test_options_win():
    assert yaml(commitlog_sync="periodic", auto_snapshot=True)["auto_snapshot"] is True


@pytest.mark.parametrize(("count", "datacenters"), [(1, 1), (3, 1), (3, 2), (6, 2), (4, 3)])
def test_tokens_are_in_range_even_and_never_twice(count, datacenters):
    tokens = [cassandra_node.token(place, count, dc) for dc in range(datacenters) for place in range(count)]
    assert len(set(tokens)) == count * datacenters
    assert all(-(2**63) <= token < 2**63 for token in tokens)
    gaps = {(b - a) for a, b in itertools.pairwise(tokens[:count])}
    assert gaps <= {2**64 // count}


def test_the_command_line(tmp_path):
    jars = [tmp_path / "a.jar", tmp_path / "b.jar"]
    argv = cassandra_node.arguments(JAVA, root=tmp_path, class_path=jars, more=["-Dmine=1"], copies=3)
    assert argv[0] == "/opt/java"
    assert argv[-1] == "org.apache.cassandra.service.CassandraDaemon"
    assert argv[argv.index("-cp") + 1] == f"{jars[0]}:{jars[1]}"
    assert "-Dmine=1" in argv
    assert f"-Dcassandra.config=file://{tmp_path}/cassandra.yaml" in argv
    assert "-Dcassandra.system_auth.default_rf=3" in argv
    assert "-XX:+UseSerialGC" in argv
    assert set(jvm.opens()) <= set(argv)


def test_the_files_of_a_node(tmp_path):
    cassandra_node.configure(tmp_path / "n1", text="a: 1\n", datacenter="dc2")
    assert (tmp_path / "n1" / "cassandra.yaml").read_text() == "a: 1\n"
    assert (tmp_path / "n1" / "rackdc.properties").read_text() == "dc=dc2\nrack=rack1\n"
    assert "ConsoleAppender" in (tmp_path / "n1" / "logback.xml").read_text()


def test_jmx_lets_nobody_in_without_the_password_of_the_lab(tmp_path):
    nodetool.write_secrets(tmp_path)
    words = nodetool.listen_command(NODE, tmp_path).split()
    assert f'config.file="{tmp_path}/jmx.properties"' in words
    assert "jmxremote.host=127.0.9.2" in words
    settings = (tmp_path / "jmx.properties").read_text().splitlines()
    assert "com.sun.management.jmxremote.authenticate=true" in settings
    assert f"com.sun.management.jmxremote.password.file={tmp_path}/jmx.password" in settings
    user, password = (tmp_path / "jmx.password").read_text().split()
    assert len(password) == 48
    assert (tmp_path / "jmx.access").read_text() == f"{user} readwrite\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert not any(password in word for word in words)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'no such host' >&2; exit 2", "n2 did not do nodetool info: no such host"),
        ("sleep 5", "nodetool info gave no answer from n2 within 0.2 s"),
    ],
)
def test_a_nodetool_that_fails(tmp_path, script, message):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    found = Java(program=java, major=17, told="")
    with pytest.raises(LabError, match=message):
        nodetool.run(
            found, NODE, ["info"], place=tmp_path, more=[], class_path=[], timeout_s=0.2 if "sleep" in script else 30
        )


# -------------------------------------------------------------------- archive


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes an archive with fake servers; what comes out: the steps, and the archive that is found then."""
    monkeypatch.setenv("UNDAUNTED_CACHE", str(tmp_path / "cache"))
    room = tmp_path / "room"
    room.mkdir()
    jar = tmp_path / "a.jar"
    jar.write_text("jar")

    def dump(argv):
        (found,) = [option for option in argv if option.startswith("-XX:SharedArchiveFile=")]
        Path(found.partition("=")[2]).write_text("classes")

    def make(run=lambda _options: None, dump=dump, java=JAVA):
        steps = []
        archive.make_archive(java, class_path=[jar], room=room, run=run, dump=dump, progress=steps.append)
        assert list(room.iterdir()) == []
        return steps, archive.find_archive(java, class_path=[jar])

    return make


def test_an_archive_is_made_once_for_each_java(made):
    steps, first = made()
    assert steps == ["making a class archive, once"]
    assert first.read_text() == "classes"
    assert made() == ([], first)
    _, other = made(java=Java(program=Path("/opt/java"), major=17, told="17.0.2"))
    assert other != first
    assert archive.use(first) == [f"-XX:SharedArchiveFile={first}", "-Xshare:auto"]
    assert archive.use(None) == []


@pytest.mark.parametrize("error", [LabError("n1 ended with status 1\n  log"), OSError(errno.ENOSPC, "No space left")])
def test_without_an_archive_everything_goes_on(made, error):
    def fail(_options):
        raise error

    steps, found = made(run=fail)
    assert found is None
    assert steps[1].startswith("no class archive could be made, so every start takes longer: ")
    assert "\n" not in steps[1]


# ------------------------------------------------------------------ addresses


def test_a_network_that_another_lab_claimed_is_passed_over():
    claimed = []

    def claim(host, port):
        claimed.append((host, port))
        return errno.EADDRINUSE if len(claimed) < 3 else None

    hosts = choose_network(3, ports=[9042], claim=claim)
    assert len(claimed) == 3
    assert hosts[0] == claimed[-1][0]
    assert [host.rpartition(".")[2] for host in hosts] == ["1", "2", "3"]
    assert len({host.rpartition(".")[0] for host in hosts}) == 1


def test_no_network_left():
    with pytest.raises(LabError, match=r"None of the networks .* is free; end another lab first"):
        choose_network(3, ports=[9042], claim=lambda _host, _port: errno.EADDRINUSE)


def test_a_network_where_a_stranger_listens_is_passed_over(monkeypatch):
    seen = []

    def is_free(port, host):
        seen.append(host)
        return len({each.rpartition(".")[0] for each in seen}) > 1

    monkeypatch.setattr("undaunted.lab.addresses.is_free", is_free)
    assert choose_network(2, ports=[9042, 7000], claim=lambda _host, _port: None)[0] != seen[0]


def test_a_machine_with_one_loopback_address_is_told():
    with pytest.raises(
        LabError, match=r"^A lab of Cassandra needs loopback addresses such as 127\.0\.\d+\.1, and this"
    ):
        choose_network(1, ports=[9042], claim=lambda _host, _port: errno.EADDRNOTAVAIL)
