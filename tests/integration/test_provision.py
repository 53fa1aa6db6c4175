"""`undaunted provision` against real servers, through the command line."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from undaunted.cli.group import undaunted
from undaunted.lab import LabNode, MongoLab

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.integration

TIMEOUT_S = 90.0


class Provisioning:
    """A settings file for the cluster ``orders``, and the command that reads it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "undaunted.toml"
        self._credentials = ""

    def login(self, username: str, password_file: str) -> None:
        password = f'{{ file = "{password_file}" }}'
        login = f'username = "{username}", source = "admin", password = {password}'
        self._credentials = f"credentials = {{ {login} }}\n"

    def want(self, *nodes: LabNode | str, replica_set: str = "lab", **members: tuple[LabNode, str]) -> None:
        addresses = [node if isinstance(node, str) else node.address for node in nodes]
        text = (
            f'[clusters.orders]\nbackend = "mongodb"\nnodes = {json.dumps(addresses)}\nreplica_set = "{replica_set}"\n'
        )
        text += self._credentials + "[clusters.orders.provision.members]\n"
        text += "".join(f'"{node.address}" = {table}\n' for node, table in members.values())
        self._file.write_text(text, encoding="utf-8")

    def run(self, *arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(undaunted, ["provision", "--json", "--file", str(self._file), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        told: dict[str, Any] = json.loads(result.stdout)
        assert told["exit_code"] == result.exit_code
        return told | told["clusters"][0] | {"exit_code": result.exit_code}

    def said(self, *arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(undaunted, ["provision", "--file", str(self._file), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return result.exit_code, result.output

    def apply(self) -> list[str]:
        """Plan, apply, and see that nothing is left to do; the kinds of the steps."""
        planned = self.run()
        assert planned["exit_code"] == 1, planned
        done = self.run("--apply", f"--timeout={TIMEOUT_S}s")
        assert done["exit_code"] == 0, done
        assert done["applied"] == len(done["steps"]) > 0
        again = self.run("--apply")
        assert (again["exit_code"], again["steps"], again["refusals"]) == (0, [], []), again
        return [step["kind"] for step in done["steps"]]

    def refused(self) -> str:
        """Run it with --apply; the one sentence of why nothing was done."""
        told = self.run("--apply")
        assert told["exit_code"] == 2, told
        assert told["steps"] == []
        assert len(told["refusals"]) == 1, told["refusals"]
        return str(told["refusals"][0])


@pytest.fixture
def provisioning(tmp_path: Path) -> Provisioning:
    return Provisioning(tmp_path)


@pytest.fixture
def lab() -> Generator[Callable[..., MongoLab]]:
    """Labs of empty servers, of which the first so many are quickly made a set."""
    with ExitStack() as stack:

        def make(*, nodes: int, initiated: int = 0, **options: Any) -> MongoLab:
            made = stack.enter_context(MongoLab(nodes=nodes, initiate=False, **options))
            if initiated:
                initiate(made, made.nodes[:initiated])
            return made

        yield make


def initiate(lab: MongoLab, nodes: Sequence[LabNode]) -> None:
    members = [{"_id": place, "host": node.address} for place, node in enumerate(nodes)]
    settings = {"electionTimeoutMillis": 2000, "heartbeatIntervalMillis": 500}
    lab.command(nodes[0], {"replSetInitiate": {"_id": lab.replica_set, "members": members, "settings": settings}})
    eventually(lambda: sorted(lab.roles(nodes).values()) == sorted(["primary"] + ["secondary"] * (len(nodes) - 1)))


def eventually(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.05)


def config(lab: MongoLab, which: LabNode | str = "primary") -> dict[str, Any]:
    found: dict[str, Any] = lab.command(which, {"replSetGetConfig": 1})["config"]
    return found


def members(lab: MongoLab) -> dict[str, tuple[int, float]]:
    return {member["host"]: (member["votes"], member["priority"]) for member in config(lab)["members"]}


@pytest.mark.slow
def test_three_empty_servers_become_a_set(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=3)
    n1, n2, n3 = made.nodes
    provisioning.want(n1, n2, n3, a=(n2, "{ priority = 2 }"))
    code, said = provisioning.said()
    assert code == 1
    assert "initiate the replica set lab" in said
    assert "--apply" in said
    assert set(made.roles().values()) == {"unknown"}, "a plan alone has changed something"
    assert provisioning.apply() == ["initiate"]
    assert members(made) == {n1.address: (1, 1.0), n2.address: (1, 2.0), n3.address: (1, 1.0)}
    made.wait_healthy()
    with made.client() as client:
        client["shop"].get_collection("orders").insert_one({"_id": 1})


def test_a_member_is_added_and_the_primary_removed(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=4, initiated=3)
    n1, n2, n3, n4 = made.nodes
    with made.client() as client:
        client["shop"].get_collection("orders").insert_many([{"_id": number} for number in range(500)])
    provisioning.want(n1, n2, n3, n4)
    assert provisioning.apply() == ["add", "change"]
    assert members(made)[n4.address] == (1, 1.0)
    with made.client(n4) as client:
        assert client["shop"].get_collection("orders").count_documents({}) == 500

    leader = made.primary()
    rest = [node for node in made.nodes if node is not leader]
    provisioning.want(*rest)
    assert provisioning.apply() == ["step-down", "remove"]
    assert set(members(made)) == {node.address for node in rest}
    with made.client(made.primary()) as client:
        assert client["shop"].get_collection("orders").count_documents({}) == 500


def test_a_removed_member_comes_back(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=3, initiated=3)
    gone = next(node for node in made.nodes if node is not made.primary())
    provisioning.want(*(node for node in made.nodes if node is not gone))
    assert provisioning.apply() == ["remove"]
    eventually(lambda: made.role(gone) == "unknown")
    provisioning.want(*made.nodes)
    assert provisioning.apply() == ["add", "change"]


def test_an_arbiter_is_added(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=3, initiated=2)
    n1, n2, n3 = made.nodes
    provisioning.want(n1, n2, a=(n3, "{ arbiter = true }"))
    planned = provisioning.run()
    assert any('w: "majority"' in warning for warning in planned["warnings"]), planned["warnings"]
    assert provisioning.apply() == ["set-default-write-concern", "add"]
    assert made.role(n3) == "arbiter"
    concern = made.command("primary", {"getDefaultRWConcern": 1})
    assert (concern["defaultWriteConcern"]["w"], concern["defaultWriteConcernSource"]) == ("majority", "global")


def test_priority_votes_and_hidden_change_one_by_one(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=3, initiated=3)
    leader = made.primary()
    other, third = (node for node in made.nodes if node is not leader)
    before = config(made)["version"]
    provisioning.want(
        *made.nodes,
        a=(leader, "{ priority = 0 }"),
        b=(other, "{ priority = 5 }"),
        c=(third, "{ votes = 0, hidden = true }"),
    )
    assert provisioning.apply() == ["change", "change", "step-down", "change"]
    assert members(made) == {leader.address: (1, 0.0), other.address: (1, 5.0), third.address: (0, 0.0)}
    assert made.primary() is other
    assert config(made)["version"] >= before + 3


@pytest.mark.slow
def test_a_dead_member_is_replaced(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=4, initiated=3)
    dead = next(node for node in made.nodes[:3] if node is not made.primary())
    made.kill(dead)
    provisioning.want(*(node for node in made.nodes if node is not dead))
    eventually(lambda: unheard(made) == [dead.address])
    assert provisioning.apply() == ["remove", "add", "change"]
    assert dead.address not in members(made)


def unheard(lab: MongoLab) -> list[str]:
    status = lab.command("primary", {"replSetGetStatus": 1})
    return [member["name"] for member in status["members"] if not member["health"]]


@pytest.mark.slow
def test_a_member_that_is_down_is_told_and_nothing_breaks(
    lab: Callable[..., MongoLab], provisioning: Provisioning
) -> None:
    made = lab(nodes=3, initiated=3)
    leader = made.primary()
    down, other = (node for node in made.nodes if node is not leader)
    made.kill(down)
    eventually(lambda: unheard(made) == [down.address])
    version = config(made)["version"]
    provisioning.want(*made.nodes)
    told = provisioning.run("--apply")
    assert (told["exit_code"], told["steps"], told["refusals"]) == (2, [], [])
    assert told["unreachable"] == [{"node": down.address, "reason": "refuses connections, so nothing listens there"}]

    provisioning.want(leader, down)
    assert "that is no majority" in provisioning.refused()
    provisioning.want(*made.nodes, a=(other, "{ votes = 0 }"))
    assert "that is no majority" in provisioning.refused()
    provisioning.want(*made.nodes, a=(down, "{ priority = 3 }"))
    assert "is out of reach, so it is not changed" in provisioning.refused()
    assert config(made)["version"] == version


def test_what_would_break_is_refused(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=4, initiated=3)
    n1, n2, n3, n4 = made.nodes
    before = config(made)
    provisioning.want(n1)
    assert "take the vote of 2 of the 3 voting members" in provisioning.refused()
    provisioning.want(n1, n2, n3, replica_set="other")
    assert "belong to the replica set 'lab'" in provisioning.refused()
    provisioning.want(n1, n2, n3, a=(n3, "{ arbiter = true }"))
    assert "cannot become an arbiter in place" in provisioning.refused()
    provisioning.want(n1, n2, n3, f"localhost:{n2.port}")
    assert f"is known in the replica set as {n2.address}" in provisioning.refused()
    provisioning.want(n1, n2, n3, "127.0.0.1:1")
    assert "127.0.0.1:1 refuses connections" in provisioning.refused()

    initiate(made, [n4])
    provisioning.want(n1, n2, n3, n4)
    assert f"{n4.address} holds the configuration of another replica set" in provisioning.refused()
    with MongoLab(nodes=1, replica_set=None) as alone:
        provisioning.want(n1, n2, n3, alone.nodes[0])
        assert "is a standalone server" in provisioning.refused()
    with MongoLab(nodes=1, replica_set="elsewhere") as foreign:
        provisioning.want(n1, n2, n3, foreign.nodes[0])
        assert "belongs to the replica set 'elsewhere'" in provisioning.refused()
    with MongoLab(nodes=1, replica_set="elsewhere", initiate=False) as blank:
        provisioning.want(n1, n2, n3, blank.nodes[0])
        assert "was started for the replica set 'elsewhere'" in provisioning.refused()
    assert config(made) == before


def test_a_set_without_a_majority_is_left_alone(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=3, initiated=3)
    leader = made.primary()
    others = [node for node in made.nodes if node is not leader]
    for node in others:
        made.kill(node)
    eventually(lambda: made.role(leader) == "secondary")
    version = config(made, leader)["version"]
    provisioning.want(leader)
    told = provisioning.run("--apply")
    assert (told["exit_code"], told["steps"]) == (2, [])
    assert "has no primary (1 of 3 voting members are up)" in told["refusals"][0]
    assert config(made, leader)["version"] == version


def test_a_member_that_never_catches_up_ends_in_time(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=4, initiated=3)
    n4 = made.nodes[3]
    provisioning.want(*made.nodes)
    with made.fail_point("initialSyncHangBeforeCopyingDatabases", times=None, on=[n4]):
        told = provisioning.run("--apply", "--timeout=3s")
        assert told["exit_code"] == 2
        assert f"After 3 s {n4.address} is still catching up" in told["error"]
        assert members(made)[n4.address] == (0, 0.0), "it has a vote before it has the data"
    assert provisioning.apply() == ["change"]


def test_two_at_once_do_no_harm(lab: Callable[..., MongoLab], provisioning: Provisioning, tmp_path: Path) -> None:
    made = lab(nodes=4, initiated=3)
    provisioning.want(*made.nodes)
    results: list[dict[str, Any]] = []

    def work() -> None:
        from undaunted.config import load
        from undaunted.mongodb.provision import Access, apply, plan, survey, wanted_of

        settings = load(tmp_path / "undaunted.toml").settings.cluster("orders")
        with Access(settings) as access:  # type: ignore[arg-type]
            wanted = wanted_of(settings)  # type: ignore[arg-type]
            state = survey(wanted, access)
            made_plan = plan(wanted, state)
            barrier.wait(TIMEOUT_S)
            apply(made_plan, access, state, timeout_s=TIMEOUT_S)
            results.append({"steps": len(made_plan.steps)})

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert results == [{"steps": 2}, {"steps": 2}]
    assert provisioning.run()["exit_code"] == 0
    assert len(members(made)) == 4


@pytest.mark.slow
def test_a_set_that_demands_logins(lab: Callable[..., MongoLab], provisioning: Provisioning, tmp_path: Path) -> None:
    made = lab(nodes=2, arbiters=1, auth=("admin", "the secret word"))
    n1, n2, n3 = made.nodes
    secret = tmp_path / "password"
    secret.write_text("the secret word", encoding="utf-8")
    provisioning.login("admin", str(secret))
    provisioning.want(n1, n2, a=(n3, "{ arbiter = true }"))
    told = provisioning.run("--apply")
    assert told["exit_code"] == 2, told
    assert "has no user 'admin' yet" in told["error"]
    assert told["applied"] == 1
    made.command(
        "primary",
        {"createUser": "admin", "pwd": "the secret word", "roles": ["root"], "writeConcern": {"w": 2}},
    )
    assert provisioning.apply() == ["set-default-write-concern"]

    secret.write_text("a wrong word", encoding="utf-8")
    told = provisioning.run()
    assert told["exit_code"] == 2
    assert "refuses the login of 'admin'" in told["refusals"][0]
    assert "word" not in json.dumps(told)


def test_nodes_that_are_down_are_told_and_no_secret_is_shown(provisioning: Provisioning, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2", encoding="utf-8")
    provisioning.login("admin", str(secret))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there, and nobody else gets it meanwhile
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        provisioning.want(address)
        assert f"{address} refuses connections, so nothing listens there" in provisioning.refused()
        code, said = provisioning.said("--apply")
    assert code == 2
    assert "hunter2" not in said
    provisioning.want("no-such-host.invalid")
    assert "has a name that cannot be looked up here" in provisioning.refused()


def test_ctrl_c_leaves_what_the_next_run_finishes(
    lab: Callable[..., MongoLab], provisioning: Provisioning, tmp_path: Path
) -> None:
    made = lab(nodes=4, initiated=3)
    n4 = made.nodes[3]
    provisioning.want(*made.nodes)
    # A shell that starts tests in the background has them ignore SIGINT, and a child inherits that.
    restored = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{restored}; from undaunted.cli import main; main()"
    arguments = ["provision", "--apply", "--file", str(tmp_path / "undaunted.toml")]
    with made.fail_point("initialSyncHangBeforeCopyingDatabases", times=None, on=[n4]):
        with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=-1, stderr=-1, text=True) as running:
            try:
                eventually(lambda: n4.address in members(made))
                running.send_signal(signal.SIGINT)
                _, said = running.communicate(timeout=TIMEOUT_S)
            finally:
                running.kill()
        assert (running.returncode, said) == (130, "Interrupted. Run it again to see what is left to do.\n")
    assert provisioning.apply() == ["change"]


def test_a_lost_connection_is_looked_at_again(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=4, initiated=3)
    provisioning.want(*made.nodes)
    with made.fail_command(["replSetReconfig"], close_connection=True, app_name="undaunted provision") as lost:
        assert provisioning.apply() == ["add", "change"]
        assert lost.hits == 1
    assert len(members(made)) == 4


def test_a_frozen_member_is_told(lab: Callable[..., MongoLab], provisioning: Provisioning) -> None:
    made = lab(nodes=3, initiated=3)
    frozen = next(node for node in made.nodes if node is not made.primary())
    provisioning.want(*made.nodes)
    made.freeze(frozen)
    told = provisioning.run("--apply")
    assert (told["exit_code"], told["steps"], told["refusals"]) == (2, [], [])
    assert told["unreachable"][0]["node"] == frozen.address
    assert told["unreachable"][0]["reason"].startswith("gives no answer within 3 s")
    made.thaw(frozen)
    eventually(lambda: provisioning.run()["exit_code"] == 0)
