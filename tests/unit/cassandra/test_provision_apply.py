"""`undaunted provision` for Cassandra on the fake cluster: what is read, what is done, and what may come in between."""

from __future__ import annotations

import json
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cluster import Cluster
from click.testing import CliRunner

from undaunted.cassandra.provision import Access, ProvisionError, access, apply, plan, survey, wanted_of
from undaunted.cassandra.provision.greet import greet
from undaunted.cassandra.provision.state import NETWORK, Keyspace
from undaunted.cli import backends
from undaunted.cli.group import undaunted
from undaunted.config import load
from undaunted.testing.cql import ConfigError, FakeCassandra, Invalid, Overloaded, ServerError, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAME = "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'}"
OTHER = "CREATE KEYSPACE shop WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '2'}"


@pytest.fixture
def fake() -> Iterator[FakeCassandra]:
    with FakeCassandra() as made:
        yield made


def settings_of(fake: FakeCassandra, keyspaces: Any = None, **more: Any) -> Any:
    declared = {
        "backend": "cassandra",
        "nodes": [f"{address}:{fake.port}" for address in fake.contact_points],
        "keyspace": "shop",
        "local_datacenter": "dc1",
        "provision": {"keyspaces": keyspaces or {}},
        **more,
    }
    loaded = load({"clusters": {"catalog": declared}}, environ={"PASSWORD": "right", "WRONG": "wrong"})
    return loaded.settings.clusters["catalog"]


def run(settings: Any, *, before: Any = None, force: bool = False, **options: Any) -> Any:
    """Read, plan and apply; `before` happens after the plan was made."""
    with Access(settings) as opened:
        state = survey(settings.nodes, opened)
        made = plan(wanted_of(settings), state, force=force)
        if before is not None:
            before()
        apply(made, opened, state, **options)
    return made


def replication(fake: FakeCassandra, name: str = "shop") -> dict[str, str]:
    keyspace = fake._shared.database.schema.keyspaces[name]
    found = dict(keyspace.replication)
    return {**found, "class": found["class"].rpartition(".")[2], "durable": str(keyspace.durable_writes)}


# -- what is read ------------------------------------------------------------------------------------


def test_the_state_is_read_and_nothing_changed() -> None:
    with FakeCassandra(datacenters={"dc1": 2, "dc2": 1}) as fake:
        fake.execute("CREATE KEYSPACE one WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 2}")
        fake.execute(
            "CREATE KEYSPACE two WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 2, 'dc2': '3/1'} "
            "AND durable_writes = false"
        )
        settings = settings_of(fake)
        with Access(settings) as opened:
            state = survey(settings.nodes[:1], opened)
        assert fake.executed == ()
    assert [node.datacenter for node in state.nodes] == ["dc1", "dc1", "dc2"]
    assert [node.address for node in state.nodes] == list(settings.nodes)
    assert {node.version for node in state.nodes} == {"5.0.8"}
    assert len(state.schemas()) == 1
    assert (state.home, state.datacenters, state.racks) == ("dc1", ("dc1", "dc2"), 1)
    assert state.keyspaces["one"] == Keyspace(name="one", strategy="SimpleStrategy", factors={"": 2})
    assert state.keyspaces["two"] == Keyspace(
        name="two", strategy=NETWORK, factors={"dc1": 2}, durable_writes=False, is_plain=False
    )


def test_nodes_of_cassandra_3_have_an_older_table(fake: FakeCassandra) -> None:
    missing = Invalid("unconfigured table peers_v2")
    fake.script(lambda request: "peers_v2" in request.text, opcode="QUERY", times=None).error(missing)
    settings = settings_of(fake)
    with Access(settings) as opened:
        state = survey(settings.nodes, opened)
    assert [node.address for node in state.nodes] == list(settings.nodes)


def test_a_node_that_the_settings_name_otherwise_is_the_same_one(
    fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = socket.getaddrinfo
    names = {f"n{number}.example.com": address for number, address in enumerate(fake.contact_points, 1)}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: plain(names.get(host, host), *rest, **more))
    settings = settings_of(fake, nodes=list(names))
    with Access(settings) as opened:
        state = survey(settings.nodes, opened)
    assert [node.address for node in state.nodes] == [f"{name}:9042" for name in names]
    assert {node.datacenter for node in state.nodes} == {"dc1"}


def test_the_next_node_is_asked_where_the_first_fails(fake: FakeCassandra) -> None:
    fake.script(opcode="STARTUP", node=1, times=None).error(Overloaded("not now"))
    settings = settings_of(fake)
    with Access(settings) as opened:
        state = survey(settings.nodes, opened)
    assert len(state.keyspaces) > 1
    assert "does not let the driver in" in state.nodes[0].reason


# -- what is done ------------------------------------------------------------------------------------


def test_keyspaces_are_made_and_altered_and_then_nothing_is_left(fake: FakeCassandra) -> None:
    told: list[tuple[int, str]] = []
    settings = settings_of(fake, {"shop": {"factor": 2}, "Audit": {"strategy": "SimpleStrategy", "factor": 1}})
    run(settings, tell=lambda place, step: told.append((place, str(step))))
    assert [place for place, _ in told] == [0, 1]
    assert replication(fake) == {"class": NETWORK, "dc1": "2", "durable": "True"}
    assert replication(fake, "Audit") == {"class": "SimpleStrategy", "replication_factor": "1", "durable": "True"}
    again = run(settings)
    assert again.steps == ()
    [step] = run(settings_of(fake, {"shop": {"factor": 3, "durable_writes": False}})).steps
    assert str(step) == "alter the keyspace shop: dc1 2 -> 3, durable_writes true -> false"
    assert replication(fake) == {"class": NETWORK, "dc1": "3", "durable": "False"}
    assert [each.text.split()[0] for each in fake.executed] == ["CREATE", "CREATE", "ALTER"]


def test_a_plan_with_refusals_is_not_applied(fake: FakeCassandra) -> None:
    fake.execute(SAME)
    with pytest.raises(ValueError, match="a plan with refusals is not applied: keyspace shop would go"):
        run(settings_of(fake, {"shop": {"factor": 1}}))


# -- what may come in between ------------------------------------------------------------------------


def test_what_somebody_else_has_done_already_is_passed_over(fake: FakeCassandra) -> None:
    run(settings_of(fake), before=lambda: fake.execute(SAME))
    assert fake.executed == ()


def test_what_somebody_else_has_done_otherwise_is_told(fake: FakeCassandra) -> None:
    with pytest.raises(ProvisionError, match="The keyspace shop was made meanwhile, not as it is wanted"):
        run(settings_of(fake), before=lambda: fake.execute(OTHER))
    settings = settings_of(fake, {"shop": {"factor": 3}})
    altered = OTHER.replace("CREATE", "ALTER").replace("'2'", "'5'")
    with pytest.raises(ProvisionError, match="The keyspace shop was altered meanwhile"):
        run(settings, before=lambda: fake.execute(altered))
    fake.execute(altered.replace("'5'", "'2'"))
    with pytest.raises(ProvisionError, match="The keyspace shop is gone meanwhile"):
        run(settings, before=lambda: fake.execute("DROP KEYSPACE shop"))
    assert fake.executed == ()


@pytest.mark.parametrize("fault", ["lose_reply", "drop"])
@pytest.mark.parametrize("verb", ["CREATE", "ALTER"])
def test_a_step_whose_answer_is_lost_is_taken_once_more_elsewhere(
    fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch, fault: str, verb: str
) -> None:
    monkeypatch.setattr(access, "REQUEST_TIMEOUT_S", 0.5)
    if verb == "ALTER":
        fake.execute(OTHER)
    getattr(fake.script(f"{verb} KEYSPACE"), fault)()
    run(settings_of(fake, {"shop": {"factor": 3}}))
    assert replication(fake)["dc1"] == "3"
    assert run(settings_of(fake, {"shop": {"factor": 3}})).steps == ()


def test_a_node_that_dies_meanwhile_is_not_needed(fake: FakeCassandra) -> None:
    run(settings_of(fake), before=lambda: fake.kill(1))
    assert replication(fake)["dc1"] == "3"


def test_a_node_that_cannot_do_it_now_is_passed_over(fake: FakeCassandra) -> None:
    fake.script("CREATE KEYSPACE", node=1, times=None).error(Overloaded("Server is shutting down"))
    fake.script("CREATE KEYSPACE", node=2, times=None).error(ServerError("out of luck"))
    run(settings_of(fake))
    assert [each.node for each in fake.executed] == [3]
    fake.execute("DROP KEYSPACE shop")
    fake.script("CREATE KEYSPACE", node=3, times=None).error(ServerError("no luck either"))
    with pytest.raises(ProvisionError, match=r"cannot do it now \(no luck either\)\); run this again"):
        run(settings_of(fake))


def test_all_nodes_die_meanwhile(fake: FakeCassandra) -> None:
    with pytest.raises(ProvisionError, match=r"No node can be asked any more \(.*\); run this again"):
        run(settings_of(fake), before=fake.kill)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Invalid("Guardrail minimum_keyspace_rf violated"), "They say: Guardrail minimum_keyspace_rf violated."),
        (ConfigError("Unrecognized strategy option {dc1}"), "They say: Unrecognized strategy option {dc1}."),
        (Unauthorized("User app has no CREATE permission"), "may not do this (User app has no CREATE permission)"),
    ],
)
def test_what_the_nodes_refuse_is_told_in_their_words(fake: FakeCassandra, error: Any, said: str) -> None:
    fake.script("CREATE KEYSPACE").error(error)
    with pytest.raises(ProvisionError) as caught:
        run(settings_of(fake))
    assert said in str(caught.value)
    assert str(caught.value).count(". ") <= 1


def test_nodes_that_do_not_come_to_agree(fake: FakeCassandra) -> None:
    late = fake.nodes[2].member
    before = late.schema_version

    def stays_behind(request: Any) -> bool:
        late.schema_version = before
        return False

    class Clock:
        now_s = 0.0

        def monotonic(self) -> float:
            self.now_s += 1.0
            return self.now_s

    behind = fake.script(stays_behind, opcode="QUERY", times=None).drop()
    with pytest.raises(ProvisionError, match="After 5 s the nodes still have 2 versions of the schema") as caught:
        run(settings_of(fake), timeout_s=5.0, clock=Clock(), sleep=lambda _: None)
    assert "The step was taken (create the keyspace shop" in str(caught.value)
    behind.cancel()
    late.schema_version = fake.nodes[0].member.schema_version
    assert run(settings_of(fake)).steps == ()


def test_the_schema_of_a_node_that_is_down_is_not_waited_for(fake: FakeCassandra) -> None:
    fake.kill(3)
    run(settings_of(fake), timeout_s=5.0)
    assert fake.nodes[2].member.schema_version != fake.nodes[0].member.schema_version


# -- settings that cannot be used --------------------------------------------------------------------


def test_a_wrong_password_is_tried_once() -> None:
    with FakeCassandra(user="app", password="right") as fake:
        wrong = settings_of(fake, credentials={"username": "app", "password": {"env": "WRONG"}})
        with Access(wrong) as opened:
            state = survey(wrong.nodes, opened)
        assert state.denied is not None
        assert "the nodes refuse the login of user 'app'" in state.denied
        logins = [each for each in fake.traffic if each.opcode == "AUTH_RESPONSE"]
        assert len(logins) == (1 if hasattr(Cluster, "application_name") else 2), "scylla-driver tries twice by itself"
        run(settings_of(fake, credentials={"username": "app", "password": {"env": "PASSWORD"}}))
        assert replication(fake)["dc1"] == "3"


def test_connections_are_closed(fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = []
    plain = Cluster.shutdown
    monkeypatch.setattr(Cluster, "shutdown", lambda self: (closed.append(self), plain(self)))
    run(settings_of(fake))
    assert len(closed) == 1


def test_tls_where_the_nodes_speak_plainly(fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "greet", partial(greet, timeout_s=0.3))
    settings = settings_of(fake, tls={"verify": "none"})
    with Access(settings) as opened:
        state = survey(settings.nodes, opened)
    assert {"tls" in node.reason for node in state.nodes} == {True}


def test_a_listener_that_is_never_served_is_frozen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        found = greet(address, timeout_s=0.2)
        assert found is not None
        assert (found.is_frozen, found.reason) == (True, "accepts connections and gives no answer within 0.2 s")
    gone = greet(address, timeout_s=0.2)
    assert gone is not None
    assert (gone.is_frozen, gone.reason) == (False, "refuses connections, so nothing listens there")


# -- the command -------------------------------------------------------------------------------------


@pytest.fixture
def command(fake: FakeCassandra, tmp_path: Path) -> Any:
    file = tmp_path / "undaunted.toml"
    nodes = json.dumps([f"{address}:{fake.port}" for address in fake.contact_points])

    def call(text: str, *arguments: str) -> tuple[int, str]:
        file.write_text(f'[clusters.catalog]\nbackend = "cassandra"\nnodes = {nodes}\n{text}\n', encoding="utf-8")
        result = CliRunner().invoke(undaunted, ["provision", "--file", str(file), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        return result.exit_code, result.output

    return call


def test_it_shows_its_plan_first(fake: FakeCassandra, command: Any) -> None:
    text = 'keyspace = "shop"'
    assert command(text) == (
        1,
        (
            "catalog: datacenter dc1\n  1. create the keyspace shop: NetworkTopologyStrategy, dc1 3\n"
            "Nothing was changed. Run it again with --apply to take these steps.\n"
        ),
    )
    assert fake.executed == ()
    code, said = command(text, "--apply")
    assert (code, said.splitlines()[-1]) == (0, "  Done.")
    assert command(text, "--apply") == (0, "catalog: datacenter dc1\n  Nothing to do.\n")


def test_it_tells_what_is_to_be_run_and_needs_force(fake: FakeCassandra, command: Any) -> None:
    fake.execute(SAME)
    text = "[clusters.catalog.provision.keyspaces.shop]\nfactor = 2"
    code, said = command(text, "--apply")
    assert code == 2
    assert "refused: keyspace shop would go from 3 replicas to 2 in dc1" in said
    code, said = command(text, "--apply", "--force", "catalog")
    assert code == 0
    assert said.splitlines()[-1].startswith("  now: Run `nodetool cleanup shop` on every node of dc1")


def test_it_prints_json(fake: FakeCassandra, command: Any) -> None:
    fake.execute(OTHER)
    code, said = command("[clusters.catalog.provision.keyspaces.shop]\nfactor = 3", "--json", "--apply")
    told = json.loads(said)
    [cluster] = told["clusters"]
    assert (code, told["exit_code"], cluster["applied"], cluster["datacenters"]) == (0, 0, 1, ["dc1"])
    [step] = cluster["steps"]
    assert (step["kind"], step["keyspace"]) == ("alter-keyspace", "shop")
    assert step["cql"].startswith('ALTER KEYSPACE "shop" WITH replication = ')
    assert "nodetool repair --full shop" in cluster["afterwards"][0]


def test_a_step_that_fails_is_told(fake: FakeCassandra, command: Any) -> None:
    fake.script("CREATE KEYSPACE").error(Invalid("no"))
    code, said = command('keyspace = "shop"', "--apply")
    assert code == 2
    assert (
        "catalog: The nodes refuse to create the keyspace shop: NetworkTopologyStrategy, dc1 3. They say: no." in said
    )


def test_without_a_keyspace_there_is_nothing_to_provision(command: Any) -> None:
    code, said = command("")
    assert code == 2
    assert "clusters.catalog names no keyspace" in said


def test_no_node_answers(fake: FakeCassandra, command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "greet", partial(greet, timeout_s=0.3))
    fake.kill()
    code, said = command('keyspace = "shop"', "--apply")
    assert code == 2
    assert "refused: No node of clusters.catalog.nodes can be asked" in said


def test_a_driver_that_is_missing(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.NODES_CAN_BE_ASKED, "cassandra", ("no_such_driver",))
    code, said = command('keyspace = "shop"')
    assert (code, said) == (3, "cassandra needs no_such_driver: pip install 'undaunted[cassandra]'.\n")
