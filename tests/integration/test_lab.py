"""The lab on real servers: every verb, and that nothing outlives its starter."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import OperationFailure
from tests.integration.labs import alive, lab_up, started, undaunted, until

from undaunted.lab import LabError, MongoLab, State
from undaunted.lab.ports import choose

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("home")]

LIVENESS_S = 30.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    before = os.environ.get("UNDAUNTED_LAB_HOME")
    os.environ["UNDAUNTED_LAB_HOME"] = str(tmp_path_factory.mktemp("shared"))
    lab = MongoLab().open()
    if before is None:
        del os.environ["UNDAUNTED_LAB_HOME"]
    yield lab
    lab.close()


@pytest.fixture
def lab(shared):
    shared.heal()
    return shared


# ---------------------------------------------------------------------- start


@pytest.mark.alone
def test_from_nothing_to_healthy_within_fifteen_seconds(home):
    started_s = time.monotonic()
    with MongoLab() as lab:
        took_s = time.monotonic() - started_s
        assert sorted(lab.roles().values()) == ["primary", "secondary", "secondary"]
        assert {node.state for node in lab.nodes} == {"up"}
        with MongoClient(lab.uri) as client:
            client.shop.get_collection("orders", write_concern=WriteConcern("majority")).insert_one({})
        pids = [node.pid for node in lab.nodes]
    assert took_s <= 15.0
    assert not any(alive(pid) for pid in pids)
    assert [path.name for path in home.iterdir()] == [".lock"], "the lab left something behind"


def test_it_listens_on_loopback_only(lab):
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            host, port = local.rsplit(":", 1)
            if state == "0A" and int(port, 16) in {node.port for node in lab.nodes}:
                listening.add(host)
    assert listening == {"0100007F"}


def test_several_labs_side_by_side(lab):
    with MongoLab(nodes=1, name="one") as one, MongoLab(nodes=1, name="two") as two:
        with MongoClient(one.uri) as client:
            client.shop.orders.insert_one({"_id": 1})
        with MongoClient(two.uri) as client:
            assert client.shop.orders.count_documents({}) == 0
        ports = [node.port for each in (lab, one, two) for node in each.nodes]
        assert len(set(ports)) == 5
        with pytest.raises(LabError, match="A lab named 'one' is running"), MongoLab(nodes=1, name="one"):
            pytest.fail("a second lab took the name of the first")
        assert one.primary().name == "n1"


def test_a_standalone_server():
    with MongoLab(nodes=1, replica_set=None) as lab:
        assert lab.nodes[0].role == "standalone"
        assert lab.primary() is lab.nodes[0]
        assert "replica_set" not in lab.settings["clusters"]["lab"]
        with MongoClient(lab.uri) as client:
            client.shop.orders.insert_one({"_id": 1})
            killed = lab.kill()
            lab.start(killed)
            assert client.shop.orders.count_documents({}) <= 1


def test_nodes_that_know_nothing_of_each_other():
    with MongoLab(initiate=False) as lab:
        assert set(lab.roles().values()) == {"unknown"}
        for node in lab.nodes:
            with lab.client(node) as client, pytest.raises(OperationFailure) as caught:
                client.admin.command("replSetGetStatus")
            assert caught.value.code == 94  # NotYetInitialized


def test_an_arbiter_votes_and_holds_nothing():
    with MongoLab(nodes=2, arbiters=1) as lab:
        assert lab.roles()["n3"] == "arbiter"
        assert lab.nodes[2].address not in lab.settings["clusters"]["lab"]["nodes"]
        killed = lab.kill("primary")
        lab.wait_primary(other_than=killed)


def test_users_with_passwords():
    with MongoLab(auth=("shop", "p@ss:word/1")) as lab:
        with MongoClient(lab.uri) as client:
            client.shop.orders.insert_one({"_id": 1})
        wrong = lab.uri.replace("p%40ss", "wrong")
        with MongoClient(wrong) as client, pytest.raises(OperationFailure) as caught:
            client.shop.orders.find_one()
        assert caught.value.code == 18
        bare = re.sub(r"//.*@", "//", lab.uri)
        with MongoClient(bare) as client, pytest.raises(OperationFailure):
            client.shop.orders.find_one()
        credentials = lab.settings["clusters"]["lab"]["credentials"]
        assert credentials["username"] == "shop"
        assert Path(credentials["password"]["file"]).read_text() == "p@ss:word/1"
        assert "p@ss" not in repr(lab)
        assert "p@ss" not in json.dumps(lab.settings)
        with lab.fail_command(["ping"], error_code=112) as point:
            with lab.client("primary") as client, pytest.raises(OperationFailure) as caught:
                client.admin.command("ping")
            assert caught.value.code == 112
            assert point.hits == 1
        killed = lab.kill("primary")
        lab.wait_primary(other_than=killed)
        lab.heal()


# --------------------------------------------------------------------- faults


def test_kill_and_start(lab):
    with MongoClient(lab.uri) as client:
        orders = client.shop.get_collection("kill", write_concern=WriteConcern("majority"))
        orders.insert_one({"_id": 1})
        killed = lab.kill("primary")
        assert killed.state == State.DOWN == "down"
        assert killed.pid is None
        assert killed.role == "unknown"
        seen_s = lab.wait_primary(other_than=killed)
        assert seen_s <= time.monotonic()
        assert lab.primary().name != killed.name
        assert orders.find_one({"_id": 1})
        with pytest.raises(LabError, match=f"{killed.name} is down"):
            lab.kill(killed)
        address = killed.address
        assert lab.start(killed) == [killed]
        assert killed.state == "up"
        assert killed.address == address
        lab.wait_healthy()
        assert killed.role == "secondary"
        with pytest.raises(LabError, match=f"{killed.name} is up, so it cannot start"):
            lab.start(killed)


def test_freeze_and_thaw(lab):
    frozen = lab.freeze("primary")
    assert frozen.state == "frozen"
    assert frozen.pid is not None
    lab.wait_primary(other_than=frozen)
    with socket.create_connection((frozen.host, frozen.port), 5) as hung:
        hung.settimeout(0.2)
        hung.sendall(b"\0" * 16)
        with pytest.raises(TimeoutError):
            hung.recv(1)
    with pytest.raises(LabError, match="is frozen"):
        lab.freeze(frozen)
    assert lab.thaw(frozen) == [frozen]
    assert frozen.state == "up"
    with pytest.raises(LabError, match="is up"):
        lab.thaw(frozen)
    lab.wait_healthy()


def test_a_frozen_node_can_be_killed(lab):
    node = lab.freeze("n2")
    lab.kill(node)
    assert node.state == "down"


def test_clean_stop(lab):
    stopped = lab.stop("primary")
    assert stopped.state == "down"
    lab.wait_primary(other_than=stopped)
    assert '"exitCode":0' in lab.log(stopped).read_text().splitlines()[-1]
    lab.start(stopped)
    lab.wait_healthy()


def test_step_down(lab):
    before = lab.primary()
    assert lab.step_down() is before
    lab.wait_primary(other_than=before)
    assert before.role == "secondary"
    with pytest.raises(LabError, match="did not do replSetStepDown: NotPrimaryError"):
        lab.step_down(before)


def test_a_rolling_restart_keeps_a_majority_and_restarts_all(lab):
    before = [node.pid for node in lab.nodes]
    lab.rolling_restart()
    after = [node.pid for node in lab.nodes]
    assert not set(before) & set(after)
    assert all(after)


def test_no_primary_without_a_majority(lab):
    lab.kill("n1")
    lab.kill("n2")
    until(lambda: lab.nodes[2].role == "secondary", what="n3 as secondary")
    with pytest.raises(LabError, match=r"has had no primary for 0\.2 s \(n1 down unknown, n2 down unknown, n3 up sec"):
        lab.primary("200ms")
    with pytest.raises(LabError, match="is not healthy after 0 s: n1 is down"):
        lab.wait_healthy(0)


def test_an_unknown_node_is_named(lab):
    with pytest.raises(LabError, match="has no node 'n9'; name one of n1, n2, n3, or 'primary'"):
        lab.kill("n9")


def test_the_fixtures_of_the_plugin(healthy_mongo_lab, fresh_mongo_lab, mongo_lab):
    assert healthy_mongo_lab is mongo_lab
    assert fresh_mongo_lab.uri != mongo_lab.uri
    for each in (mongo_lab, fresh_mongo_lab):
        assert sorted(each.roles().values()) == ["primary", "secondary", "secondary"]


# ---------------------------------------------------------------- fail points


def test_fail_command_strikes_as_often_as_told(lab):
    with MongoClient(lab.uri, retryReads=False) as client:
        client.shop.orders.find_one()
        with lab.fail_command(["find"], times=2, error_code=112) as point:
            for _ in range(2):
                with pytest.raises(OperationFailure) as caught:
                    client.shop.orders.find_one()
                assert caught.value.code == 112
            client.shop.orders.find_one()
            assert point.hits == 2
        assert point.hits == 2
        with lab.fail_command(["find"], times=None, close_connection=True, on="all", app_name="other"):
            client.shop.orders.find_one()
        client.shop.orders.find_one()


def test_fail_command_can_block(lab):
    with MongoClient(lab.uri) as client, lab.fail_command(["find"], block_ms=300):
        started_s = time.monotonic()
        client.shop.orders.find_one()
        assert time.monotonic() - started_s >= 0.3


def test_fail_command_with_a_write_concern_error_applies_the_write(lab):
    with MongoClient(lab.uri, retryWrites=False) as client:
        error = {"code": 64, "errmsg": "waited too long"}
        with lab.fail_command(["insert"], write_concern_error=error), pytest.raises(OperationFailure) as caught:
            client.shop.noted.insert_one({"_id": time.time()})
        assert caught.value.code == 64
        assert client.shop.noted.count_documents({}) == 1
        client.shop.noted.drop()


def test_a_lost_reply_is_a_write_that_was_applied(lab):
    with MongoClient(lab.uri, retryWrites=True) as client:
        client.shop.drop_collection("lost")
        with lab.lost_reply() as point:
            client.shop.lost.insert_one({})
        assert point.hits == 1
        assert client.shop.lost.count_documents({}) == 1, "the driver's re-run has the same number, so one effect"


def test_a_fail_point_on_a_frozen_node_is_not_forgotten(lab):
    with (
        pytest.raises(LabError, match="is frozen, so the fail point failCommand stays armed"),
        lab.fail_command(["find"], times=None, error_code=91) as point,
    ):
        lab.freeze(point.nodes[0])
    lab.thaw()
    point.disarm()


def test_a_fail_point_on_a_killed_node_is_gone(lab):
    with lab.fail_command(["find"], times=None, error_code=91) as point:
        lab.kill(point.nodes[0])
    lab.start(point.nodes[0])
    assert lab.command(point.nodes[0], {"getParameter": 1, "failpoint.failCommand": 1})["failpoint.failCommand"] == {
        "mode": 0,
        "data": {},
        "timesEntered": 0,
    }


# ------------------------------------------------------------------- in use


def test_a_port_in_use_is_one_sentence(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LabError, match=f"^Port {port} on 127.0.0.1 is in use; name another") as caught:
            MongoLab(nodes=1, ports=[port]).open()
    assert "\n" not in str(caught.value)
    assert [path.name for path in home.iterdir()] == [".lock"]


def test_a_port_of_a_node_that_is_down_is_kept(lab):
    with MongoLab(nodes=1, name="first") as first:
        first.kill("n1")
        with pytest.raises(LabError, match="belongs to another lab"):
            MongoLab(nodes=1, ports=[first.nodes[0].port]).open()


def test_a_port_taken_while_its_node_was_down(lab):
    with MongoLab(nodes=1, replica_set=None) as own:
        own.kill("n1")
        with socket.socket() as thief:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind((own.nodes[0].host, own.nodes[0].port))
            thief.listen()
            with pytest.raises(LabError, match="another process has taken its port"):
                own.start("n1")


def test_a_directory_in_use_or_not_empty_is_one_sentence(tmp_path):
    data = tmp_path / "data"
    with (
        MongoLab(nodes=1, directory=data),
        pytest.raises(LabError, match=f"^The directory {data} is in use by another lab; give another one.$"),
    ):
        MongoLab(nodes=1, directory=data).open()
    assert (data / "n1" / "data").is_dir(), "a directory of one's own is kept"
    assert '"exitCode":0' in (data / "n1" / "log").read_text().splitlines()[-1]
    with pytest.raises(LabError, match=rf"^The directory {data} is not empty \(n1\); give an empty or a new one.$"):
        MongoLab(nodes=1, directory=data).open()


def test_a_server_that_dies_at_its_start_tells_why(tmp_path, monkeypatch, home):
    program = tmp_path / "mongod"
    complaint = '{"s":"E","msg":"Failed to start","attr":{"error":"No space left on device"}}'
    program.write_text(
        f"#!/bin/sh\n[ $1 = --version ] && echo 'db version v6.0.5' && exit\necho '{complaint}'\nexit 100\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("UNDAUNTED_MONGOD", str(program))
    with pytest.raises(LabError, match=r"n1 ended with status 100 .* The disk is full; .*\n.*Failed to start"):
        MongoLab(nodes=1).open()
    assert [path.name for path in home.iterdir()] == [".lock"]


def test_a_real_server_that_may_write_no_file_tells_why(home):
    code = """
        import resource
        from undaunted.lab import LabError, MongoLab
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            MongoLab(nodes=1).open()
        except LabError as error:
            print(error)
    """
    told = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert re.search(r"n1 ended (by SIG|with status)", told.stdout), told
    assert len(told.stdout.splitlines()) > 1
    assert [path.name for path in home.iterdir()] == [".lock"]


# -------------------------------------------------------------------- orphans

STARTER = """
    import os, sys, time
    from undaunted.lab import MongoLab
    lab = MongoLab().open()
    {more}
    print(*(node.pid for node in lab.nodes), lab._guardian.ask("status")["pid"], flush=True)
    while True:
        time.sleep(3600)
"""
FREEZE = "lab.freeze('n1'), lab.freeze('n2')"
FORK = "children = [pid for pid in [os.fork()] if pid == 0 and [time.sleep(3600)] or pid]; print(*children, flush=True)"


@pytest.fixture
def starter():
    with started() as run:

        def start(more="pass"):
            code = textwrap.dedent(STARTER).format(more=more)
            return run(code)

        yield start


@pytest.mark.parametrize("more", ["pass", FREEZE], ids=["running", "frozen"])
def test_nothing_outlives_a_starter_that_was_killed(starter, home, more):
    process = starter(more)
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 4
    assert all(alive(pid) for pid in pids)
    process.kill()
    until(lambda: not any(alive(pid) for pid in pids), timeout_s=10, what="the end of every server")
    until(lambda: [path.name for path in home.iterdir()] == [".lock"], what="the removal of the data")


def test_a_forked_child_that_lives_on_keeps_nothing_alive(starter, home):
    process = starter(FORK)
    child = int(process.stdout.readline())
    try:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
        until(lambda: not any(alive(pid) for pid in pids), timeout_s=10, what="the end of every server")
        assert alive(child), "the child must live on, or this proves nothing"
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_starter_that_becomes_another_program(starter):
    process = starter(
        "import threading; threading.Timer(1, os.execv, (sys.executable, ['x', '-c', 'input()'])).start()"
    )
    pids = [int(pid) for pid in process.stdout.readline().split()]
    until(lambda: not any(alive(pid) for pid in pids), timeout_s=10, what="the end of every server")


def test_a_lab_opened_in_a_thread_outlives_the_thread(starter):
    process = starter(
        "import threading; lab.close(); t = threading.Thread(target=lab.open); t.start(); t.join(); time.sleep(1)"
    )
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert all(alive(pid) for pid in pids)


def test_no_server_outlives_a_guardian_that_was_killed(starter, home):
    process = starter(FREEZE)
    *pids, guardian = (int(pid) for pid in process.stdout.readline().split())
    os.kill(guardian, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids), timeout_s=10, what="the end of every server")
    with pytest.raises(LabError, match="No lab named"):
        MongoLab.attach(next(path.name for path in home.iterdir() if path.is_dir()))
    assert [path.name for path in home.iterdir()] == [".lock"], "the stale lab was not recognised"


def test_a_forked_child_may_ask_and_does_not_close(lab):
    child = os.fork()
    if child == 0:
        try:
            status = 0 if lab.primary().role == "primary" and lab.close() is None else 1
        except BaseException:
            status = 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {str(state) for state in lab.states().values()} == {"up"}


# --------------------------------------------------------------- command line


@pytest.mark.slow
def test_a_lab_from_one_terminal_obeys_another():
    with lab_up("mongodb") as (_up, text):
        assert re.search(r"^URI: mongodb://127\.0\.0\.1:\d+,.*replicaSet=lab$", text, re.MULTILINE), text
        assert "[clusters.lab]" in text
        report = json.loads(undaunted("lab", "status", "--json").stdout)
        assert [node["state"] for node in report[0]["nodes"]] == ["up"] * 3
        name = undaunted("lab", "primary").stdout.split()[0]
        assert re.search(r"is killed\.\nn\d .* is primary, \d", undaunted("lab", "kill", "primary").stdout)
        refused = undaunted("lab", "kill", name, check=False)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].startswith(f"Error: {name} is down")
        assert "is up" in undaunted("lab", "start", name).stdout
        undaunted("lab", "heal")
        assert "is primary" in undaunted("lab", "step-down", "primary").stdout
        assert "is frozen" in undaunted("lab", "freeze", name).stdout
        assert re.search(rf"{name}.*frozen", undaunted("lab", "status").stdout)
        assert "goes on" in undaunted("lab", "thaw", name).stdout
        assert "is stopped" in undaunted("lab", "stop", name).stdout
        undaunted("lab", "heal")
        undaunted("lab", "restart")
    assert undaunted("lab", "status").stdout == "No lab is running.\n"


def test_a_detached_lab_lives_until_down(home):
    undaunted("lab", "up", "mongodb", "--nodes", "1", "--detach")
    up = json.loads(undaunted("lab", "up", "mongodb", "--nodes", "1", "--detach", "--name", "second", "--json").stdout)
    assert (up["name"], up["backend"], len(up["nodes"])) == ("second", "mongodb", 1)
    assert up["settings"]["clusters"]["lab"]["nodes"] == [up["nodes"][0]["address"]]
    try:
        report = json.loads(undaunted("lab", "status", "--json").stdout)
        assert [entry["name"] for entry in report] == ["mongodb", "second"]
        pids = [node["pid"] for entry in report for node in entry["nodes"]]
        unclear = undaunted("lab", "primary", check=False)
        assert "Several labs are running: mongodb, second. Say which one with --name." in unclear.stderr
        again = undaunted("lab", "up", "mongodb", "--nodes", "1", check=False)
        assert "A lab named 'mongodb' is running" in again.stderr
        told = json.loads(undaunted("lab", "kill", "primary", "--name", "second", "--json").stdout)
        assert (told["node"]["name"], told["now"], told["primary"]) == ("n1", "killed", None)
        assert "no majority" in told["why"]
        told = json.loads(undaunted("lab", "start", "n1", "--name", "second", "--json").stdout)
        assert (told["nodes"][0]["name"], told["now"]) == ("n1", "is up")
        assert json.loads(undaunted("lab", "down", "--name", "second", "--json").stdout) == {"ended": ["second"]}
    finally:
        undaunted("lab", "down", "--all")
    assert not any(alive(pid) for pid in pids)
    assert [path.name for path in home.iterdir()] == [".lock"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_command_line_that_is_ended_ends_its_lab(number, home):
    with lab_up("mongodb", "--nodes", "1") as (up, _text):
        up.send_signal(number)
        up.wait(LIVENESS_S)
    until(lambda: [path.name for path in home.iterdir()] == [".lock"], what="the removal of the data")


def test_mistakes_on_the_command_line_are_sentences():
    for arguments, told in [
        (("lab", "primary"), "No lab is running; start one with `undaunted lab up mongodb`."),
        (("lab", "primary", "--name", "x"), "No lab named 'x' is running (running: none)"),
        (("lab", "up", "oracle"), "No such command 'oracle'"),
        (("lab", "up", "mongodb", "--election-timeout", "soon"), "'soon' is not a duration"),
        (
            ("lab", "up", "mongodb", "--port", str(choose(1, claim=lambda *_: None)[0])),
            "has 3 nodes, and 1 ports were named",
        ),
        (("lab", "down", "--all", "--name", "x"), "--all and --name"),
    ]:
        result = undaunted(*arguments, check=False)
        assert result.returncode in {1, 2}
        assert told in result.stderr
        assert "Traceback" not in result.stderr
