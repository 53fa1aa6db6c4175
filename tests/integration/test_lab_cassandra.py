"""The Cassandra lab on real servers: every verb, and that nothing outlives its starter."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import socket
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cassandra import AuthenticationFailed, ConsistencyLevel
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import NoHostAvailable
from tests.integration import labs
from tests.integration.labs import alive, lab_up, started, undaunted

from undaunted.lab import CassandraLab, LabError, State, cql, nodetool

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]

LIVENESS_S = 60.0
until = functools.partial(labs.until, timeout_s=LIVENESS_S)


@pytest.fixture
def lab(healthy_cassandra_lab):
    healthy_cassandra_lab.create_keyspace("shop")
    with healthy_cassandra_lab.connect("n1") as connection:
        connection.query("CREATE TABLE IF NOT EXISTS shop.orders (id int PRIMARY KEY, total int)")
    healthy_cassandra_lab.wait_healthy()
    return healthy_cassandra_lab


def insert(lab, node, order, *, consistency=cql.ALL):
    with lab.connect(node) as connection:
        connection.query(f"INSERT INTO shop.orders (id, total) VALUES ({order}, 1)", consistency=consistency)


def count(lab, node):
    with lab.connect(node) as connection:
        (row,) = connection.query("SELECT COUNT(*) AS found FROM shop.orders", consistency=cql.ALL)
    return int.from_bytes(row["found"], "big")


# ---------------------------------------------------------------------- start


def test_healthy_means_that_every_node_sees_every_other(lab):
    assert [node.name for node in lab.nodes] == ["n1", "n2", "n3"]
    assert {node.state for node in lab.nodes} == {"up"}
    assert lab.roles() == {"n1": "replica", "n2": "replica", "n3": "replica"}
    assert {node.datacenter for node in lab.nodes} == {"dc1"}
    for node in lab.nodes:
        with lab.connect(node) as connection:
            assert len(connection.query("SELECT peer FROM system.peers")) == 2
        insert(lab, node, 1)
    status = lab.nodetool("n1", "status")
    assert len(re.findall(r"^UN ", status, re.MULTILINE)) == 3


def test_the_plain_driver_reaches_it(lab):
    with lab.cluster() as cluster, cluster.connect("shop") as session:
        statement = session.prepare("INSERT INTO orders (id, total) VALUES (?, ?)")
        statement.consistency_level = ConsistencyLevel.ALL
        session.execute(statement, (2, 7))
    with lab.cluster("n3") as cluster, cluster.connect("shop") as session:
        assert session.execute("SELECT total FROM orders WHERE id = 2").one().total == 7
        assert {str(host.address) for host in cluster.metadata.all_hosts() if host.is_up} >= {lab.nodes[2].host}


def test_it_listens_on_addresses_of_its_own_only(lab):
    ours = {pid for node in lab.nodes for pid in sockets_of(node.pid)}
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in ours:
                listening.add(fields[1].rsplit(":", 1)[0])
    hosts = {socket.inet_aton(node.host)[::-1].hex().upper() for node in lab.nodes}
    mapped = {f"0000000000000000FFFF0000{host}" for host in hosts}
    assert listening
    assert listening <= hosts | mapped


def sockets_of(pid):
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found = re.fullmatch(r"socket:\[(\d+)\]", str(handle.readlink()))
            if found:
                yield found[1]


def test_its_data_is_on_the_ram_disk_and_its_commit_log_is_written_before_it_answers(lab):
    assert str(lab.log("n1")).startswith("/dev/shm/")
    text = (lab.log("n1").parent / "cassandra.yaml").read_text()
    assert 'commitlog_sync: "batch"' in text
    assert "phi_convict_threshold: 8\n" in text


def test_its_memory_is_not_pinned(lab):
    for node in lab.nodes:
        status = Path(f"/proc/{node.pid}/status").read_text()
        assert re.search(r"^VmLck:\s+0 kB$", status, re.MULTILINE)
        assert int(re.search(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)[1]) < 600_000


def test_jmx_asks_for_a_password(lab, tmp_path):
    assert (lab._place / "jmx.password").stat().st_mode & 0o777 == 0o600
    lab.nodetool("n1", "info")  # from now on the node listens for it
    nodetool.write_secrets(tmp_path)  # another password than the lab's
    with pytest.raises(LabError, match=r"n1 did not do nodetool info: .*Invalid username or password"):
        nodetool.run(
            lab._found_java(),
            lab.nodes[0],
            ["info"],
            place=tmp_path,
            more=[],
            class_path=lab._class_path,
            timeout_s=LIVENESS_S,
        )


# --------------------------------------------------------------------- faults


def test_kill_and_start(lab):
    insert(lab, "n1", 10)
    killed = lab.kill("n2")
    assert killed.state == State.DOWN == "down"
    assert killed.pid is None
    assert killed.role == "unknown"
    insert(lab, "n1", 11, consistency=0x0004)  # QUORUM
    with pytest.raises(LabError, match="n2 is down, so it cannot take SIGKILL"):
        lab.kill(killed)
    with pytest.raises(LabError, match="is not healthy after 0 s: n2 is down"):
        lab.wait_healthy(0)
    address = killed.address
    assert lab.start(killed) == [killed]
    assert killed.state == "up"
    assert killed.address == address
    lab.wait_healthy()
    with pytest.raises(LabError, match="n2 is up, so it cannot start"):
        lab.start(killed)


def test_no_write_that_was_acknowledged_is_lost_when_all_nodes_crash(lab):
    before = count(lab, "n1")
    for order in range(100, 200):
        insert(lab, "n1", order)
    for node in lab.nodes:
        lab.kill(node)
    lab.heal()
    assert count(lab, "n2") == before + 100


def test_freeze_and_thaw(lab):
    frozen = lab.freeze("n2")
    assert frozen.state == "frozen"
    assert frozen.pid is not None
    with socket.create_connection((frozen.host, frozen.port), 5) as hung:
        hung.settimeout(0.2)
        hung.sendall(b"\4\0\0\0\5\0\0\0\0")
        with pytest.raises(TimeoutError):
            hung.recv(1)
    with pytest.raises(LabError, match="n2 is frozen"):
        lab.freeze(frozen)
    assert lab.thaw(frozen) == [frozen]
    assert frozen.state == "up"
    lab.freeze(frozen)
    lab.kill(frozen)
    assert frozen.state == "down"


def test_slow_down_and_speed_up(lab):
    def took_s():
        started_s = time.monotonic()
        for _ in range(20):
            with lab.connect("n2") as connection:
                connection.query("SELECT release_version FROM system.local")
        return time.monotonic() - started_s

    slow = lab.slow_down("n2", pause="200ms", every="220ms")
    assert slow.state == State.SLOW == "slow"
    assert took_s() > 1.0
    with pytest.raises(LabError, match="is not healthy after 0 s: n2 is slow"):
        lab.wait_healthy(0)
    assert lab.speed_up() == [slow]
    assert slow.state == "up"
    with pytest.raises(LabError, match="n2 is up, so it cannot speed up"):
        lab.speed_up("n2")
    lab.slow_down("n2")
    lab.freeze("n2")
    assert slow.state == "frozen"
    lab.thaw("n2")
    assert slow.state == "up"
    lab.slow_down("n2")
    lab.kill("n2")
    assert slow.state == "down"


def test_disable_and_enable_binary(lab):
    closed = lab.disable_binary("n3")
    assert closed.state == "up"
    assert closed.role == "unknown"
    with pytest.raises(ConnectionRefusedError):
        lab.connect(closed)
    insert(lab, "n1", 20)  # at ALL: the other nodes see it up
    assert lab.enable_binary(closed) is closed
    assert closed.role == "replica"
    lab.disable_binary(closed)
    lab.heal()
    assert closed.role == "replica"


def test_clean_stop_and_restart(lab):
    before = lab.nodes[0].pid
    ended = lab.log("n1").read_text().count("Cassandra shutdown complete")
    stopped = lab.restart("n1")
    assert stopped is lab.nodes[0]
    assert stopped.pid not in {before, None}
    assert lab.log(stopped).read_text().count("Cassandra shutdown complete") == ended + 1


def test_a_rolling_restart_restarts_all(lab):
    before = [node.pid for node in lab.nodes]
    lab.rolling_restart()
    after = [node.pid for node in lab.nodes]
    assert not set(before) & set(after)
    assert all(after)
    assert lab.roles() == {"n1": "replica", "n2": "replica", "n3": "replica"}


def test_a_fault_needs_a_name(lab):
    for verb in (lab.kill, lab.freeze, lab.stop, lab.slow_down):
        with pytest.raises(LabError, match="are all alike; name one of n1, n2, n3"):
            verb()
    with pytest.raises(LabError, match="has no node 'primary'; name one of n1, n2, n3"):
        lab.kill("primary")
    with pytest.raises(LabError, match="has no datacenter 'dc2'; name one of dc1"):
        lab.nodes_of("dc2")


def test_a_forked_child_may_ask_and_does_not_close(lab):
    child = os.fork()
    if child == 0:
        try:
            lab.wait_healthy(30)
            status = 0 if lab.roles()["n1"] == "replica" and lab.close() is None else 1
        except BaseException:
            status = 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {str(state) for state in lab.states().values()} == {"up"}


def test_the_keyspace_of_settings_exists_everywhere(lab):
    lab.create_keyspace("MixedCase", replicas=2)
    lab.create_keyspace("MixedCase", replicas=2)
    declared = lab.settings_for("orders", keyspace="shop")["clusters"]["orders"]
    assert declared == {
        "backend": "cassandra",
        "nodes": [node.address for node in lab.nodes],
        "local_datacenter": "dc1",
        "keyspace": "shop",
    }
    with lab.connect("n3") as connection:
        found = connection.query("SELECT keyspace_name, replication FROM system_schema.keyspaces")
        (own,) = [row for row in found if row["keyspace_name"] == b"MixedCase"]
        assert b"dc1" in own["replication"]


# ------------------------------------------------------------- side by side


def test_labs_side_by_side_two_datacenters_and_users(lab):
    """One lab of each kind, beside the shared one: it would take a minute more to start one for each."""
    refused = []
    with (
        CassandraLab(nodes=1, datacenters=2, phi_convict_threshold=5, commitlog_sync="periodic") as far,
        CassandraLab(nodes=1, auth=("shop", "p'ss:w\"rd/1"), name="users") as users,
    ):
        hosts = [node.host for each in (lab, far, users) for node in each.nodes]
        assert len(set(hosts)) == 6
        assert [(node.name, node.datacenter) for node in far.nodes] == [("n1", "dc1"), ("n2", "dc2")]
        assert far.nodes_of("dc2") == [far.nodes[1]]
        assert far.settings_for("x", datacenter="dc2")["clusters"]["x"] == {
            "backend": "cassandra",
            "nodes": [far.nodes[1].address],
            "local_datacenter": "dc2",
        }
        with far.connect("n2") as connection:
            (row,) = connection.query("SELECT data_center FROM system.local")
            assert row["data_center"] == b"dc2"
            rows = connection.query("SELECT keyspace_name FROM system_schema.keyspaces")
            assert b"shop" not in {row["keyspace_name"] for row in rows}, "the labs share nothing"

        assert "p'ss" not in json.dumps(users.settings) + repr(users)
        credentials = users.settings["clusters"]["lab"]["credentials"]
        assert credentials["username"] == "shop"
        assert Path(credentials["password"]["file"]).read_text() == "p'ss:w\"rd/1"
        with users.cluster() as cluster, cluster.connect() as session:
            assert session.execute("SELECT release_version FROM system.local").one().release_version == "5.0.8"
        for wrong in (("shop", "wrong"), ("cassandra", "cassandra"), None):
            with (
                pytest.raises(cql.Refused) as caught,
                cql.Connection(users.nodes[0], credentials=wrong, timeout_s=5),
            ):
                pytest.fail(f"{wrong} was let in")
            refused.append(caught.value.code)
        assert refused == [0x0100] * 3
        liar = PlainTextAuthProvider("shop", "wrong")
        with users.cluster(auth_provider=liar) as cluster, pytest.raises(NoHostAvailable) as caught:
            cluster.connect()
        assert isinstance(next(iter(caught.value.errors.values())), AuthenticationFailed)
        with pytest.raises(LabError, match="A lab named 'users' is running"), CassandraLab(name="users"):
            pytest.fail("a second lab took the name of the first")
        users.kill("n1")
        users.heal()


def test_data_in_a_directory_of_ones_own_is_kept_and_no_archive_is_no_error(tmp_path, monkeypatch):
    steps = []
    monkeypatch.setattr("undaunted.lab.cassandra_servers.REHEARSAL", ["SELECT nonsense"])
    monkeypatch.setattr("undaunted.lab.archive._path", lambda *_: tmp_path / "cassandra-none.jsa")
    data = tmp_path / "data"
    lab = CassandraLab(nodes=1, directory=data, server_settings={"write_request_timeout": "1500ms"})
    with lab.open(progress=steps.append):
        assert lab.nodes[0].state == "up"
    assert any(step.startswith("no class archive could be made, so every start takes longer: re") for step in steps)
    assert "Cassandra shutdown complete" in (data / "n1" / "log").read_text()
    assert (data / "n1" / "data").is_dir()
    assert 'write_request_timeout: "1500ms"' in (data / "n1" / "cassandra.yaml").read_text()
    assert [path.name for path in data.iterdir() if path.name != ".undaunted-lock"] == ["n1"]


def test_a_server_that_dies_at_its_start_tells_why(home):
    with pytest.raises(LabError, match=r"n1 ended with status \d+ while it was starting\.\n(.|\n)*no_such_setting"):
        CassandraLab(nodes=1, server_settings={"no_such_setting": 1}).open()
    assert [path.name for path in home.iterdir()] == [".lock"]


# -------------------------------------------------------------------- orphans

STARTER = """
    import time
    from undaunted.lab import CassandraLab
    lab = CassandraLab(nodes=1, datacenters=2).open()
    lab.freeze("n1")
    print(*(node.pid for node in lab.nodes), lab._guardian.ask("status")["pid"], lab._root(lab.nodes[0]), flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def starter():
    with started() as run:

        def start():
            process = run(textwrap.dedent(STARTER))
            *pids, root = process.stdout.readline().split()
            return process, [int(pid) for pid in pids], Path(root).parent

        yield start


def test_nothing_outlives_a_starter_that_was_killed(starter, home):
    process, pids, data = starter()
    assert len(pids) == 3
    assert all(alive(pid) for pid in pids)
    assert data.exists()
    process.kill()
    until(lambda: not any(alive(pid) for pid in pids), timeout_s=10, what="the end of every server")
    until(lambda: [path.name for path in home.iterdir()] == [".lock"], what="the removal of the lab")
    assert not data.exists()


def test_nothing_outlives_a_guardian_that_was_killed(starter, home):
    _process, (*pids, guardian), data = starter()
    os.kill(guardian, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids), timeout_s=10, what="the end of every server")
    with pytest.raises(LabError, match="No lab named"):
        CassandraLab.attach(next(path.name for path in home.iterdir() if path.is_dir()))
    assert not data.exists(), "the next lab clears what a killed guardian left on the RAM disk"


# --------------------------------------------------------------- command line


def test_a_lab_from_one_terminal_obeys_another():
    with lab_up("cassandra", "--nodes", "1", "--datacenters", "2", ends_within_s=LIVENESS_S) as (_up, text):
        assert re.search(r"^  n2  127\.0\.\d+\.2:9042  \(dc2\)$", text, re.MULTILINE), text
        assert re.search(r"^Contact points: 127\.0\.\d+\.1:9042, 127", text, re.MULTILINE), text
        assert 'local_datacenter = "dc1"' in text
        report = json.loads(undaunted("lab", "status", "--json").stdout)
        assert [node["datacenter"] for node in report[0]["nodes"]] == ["dc1", "dc2"]
        assert undaunted("lab", "kill", "n2").stdout.endswith("is killed.\n")
        assert "is up" in undaunted("lab", "start", "n2").stdout
        assert "is frozen" in undaunted("lab", "freeze", "n2").stdout
        assert "goes on" in undaunted("lab", "thaw", "n2").stdout
        assert "is slow" in undaunted("lab", "slow-down", "n2", "--pause", "20ms").stdout
        assert re.search(r"n2 .*dc2.* slow ", undaunted("lab", "status").stdout)
        assert "is closed to clients" in undaunted("lab", "disable-binary", "n1").stdout
        undaunted("lab", "heal")
        for arguments, told in [
            (("primary",), "holds cassandra, whose nodes are all alike: it has no primary"),
            (("step-down", "n1"), "holds cassandra, whose nodes are all alike: it has no primary"),
            (("kill", "primary"), "has no node 'primary'; name one of n1, n2."),
            (("up", "cassandra", "--nodes", "7", "--datacenters", "2"), "one to twelve nodes"),
        ]:
            refused = undaunted("lab", *arguments, check=False)
            assert refused.returncode == 1
            assert told in refused.stderr
    assert undaunted("lab", "status").stdout == "No lab is running.\n"
