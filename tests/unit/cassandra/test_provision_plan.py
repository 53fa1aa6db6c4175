"""The planner of `undaunted provision` for Cassandra: pure, so every rule is a row here."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.cassandra.provision import plan, wanted_of
from undaunted.cassandra.provision.rules import needs, quorum
from undaunted.cassandra.provision.state import (
    EVERYWHERE,
    NETWORK,
    SIMPLE,
    Keyspace,
    Node,
    State,
    Use,
    Wanted,
    WantedKeyspace,
)
from undaunted.config import load


def keyspace(name: str = "shop", **factors: int) -> Keyspace:
    return Keyspace(name=name, factors=factors)


def simple(factor: int, name: str = "shop") -> Keyspace:
    return Keyspace(name=name, strategy=SIMPLE, factors={EVERYWHERE: factor})


def state(*keyspaces: Keyspace, racks: int = 1, extra: tuple[Node, ...] = (), **datacenters: int) -> State:
    """Nodes that all answer and agree; three of them in dc1 unless it is said otherwise."""
    nodes = [
        Node(address=f"{home}-{number}:9042", datacenter=home, rack=f"r{number % racks}", version="5.0.8", schema="a")
        for home, count in (datacenters or {"dc1": 3}).items()
        for number in range(count)
    ]
    return State(nodes=(*nodes, *extra), keyspaces={one.name: one for one in keyspaces}, home=nodes[0].datacenter)


def wanted(*keyspaces: WantedKeyspace, **use: Any) -> Wanted:
    return Wanted(cluster="catalog", keyspaces=keyspaces, use=Use(**({"home": "dc1"} | use)))


def shop(factor: Any = None, **more: Any) -> WantedKeyspace:
    return WantedKeyspace(name="shop", factor=factor, **more)


def texts(things: Any) -> list[str]:
    return [str(one) for one in things]


# -- what the settings ask for -----------------------------------------------------------------------


def wanted_from(**cluster: Any) -> Wanted:
    settings: Any = load(
        {"clusters": {"catalog": {"backend": "cassandra", "nodes": ["a"], **cluster}}}, environ={}
    ).settings.clusters["catalog"]
    return wanted_of(settings)


def test_without_keyspaces_the_clusters_own_is_wanted() -> None:
    assert wanted_from(keyspace="shop").keyspaces == (WantedKeyspace(name="shop"),)
    assert wanted_from().keyspaces == ()


def test_what_the_settings_say_is_wanted() -> None:
    found = wanted_from(
        keyspace="shop",
        local_datacenter="dc1",
        remote_datacenters={"dc2": {}},
        consistency={"read": "ONE", "write": "QUORUM", "serial": "SERIAL"},
        provision={
            "keyspaces": {
                "audit": {"strategy": "SimpleStrategy", "factor": 2, "durable_writes": False},
                "shop": {"factor": {"dc2": 2, "dc1": 3}},
            }
        },
    )
    assert found == Wanted(
        cluster="catalog",
        keyspaces=(
            WantedKeyspace(name="audit", strategy=SIMPLE, factor=2, durable_writes=False),
            WantedKeyspace(name="shop", factor={"dc1": 3, "dc2": 2}),
        ),
        use=Use(keyspace="shop", home="dc1", remote=("dc2",), read="ONE", write="QUORUM", serial="SERIAL"),
    )


# -- steps -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "found", "said", "cql"),
    [
        (
            shop(),
            state(),
            "create the keyspace shop: NetworkTopologyStrategy, dc1 3",
            (
                "CREATE KEYSPACE \"shop\" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'} AND "
                "durable_writes = true"
            ),
        ),
        (
            shop(2, strategy=SIMPLE, durable_writes=False),
            state(),
            "create the keyspace shop: SimpleStrategy, 2, without durable writes",
            (
                "CREATE KEYSPACE \"shop\" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '2'} "
                "AND durable_writes = false"
            ),
        ),
        (
            shop({"dc1": 3, "it's": 2}),
            state(keyspace(dc1=3), **{"dc1": 3, "it's": 2}),
            "alter the keyspace shop: it's none -> 2",
            (
                "ALTER KEYSPACE \"shop\" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3', "
                "'it''s': '2'} AND durable_writes = true"
            ),
        ),
        (
            shop(3, strategy=NETWORK),
            state(simple(3)),
            "alter the keyspace shop: SimpleStrategy, 3 -> NetworkTopologyStrategy, dc1 3",
            (
                "ALTER KEYSPACE \"shop\" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'} AND "
                "durable_writes = true"
            ),
        ),
        (
            shop(durable_writes=False),
            state(keyspace(dc1=3)),
            "alter the keyspace shop: durable_writes true -> false",
            (
                "ALTER KEYSPACE \"shop\" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'} AND "
                "durable_writes = false"
            ),
        ),
    ],
)
def test_a_step_and_its_statement(wish: WantedKeyspace, found: State, said: str, cql: str) -> None:
    made = plan(wanted(wish), found)
    assert made.refusals == ()
    [step] = made.steps
    assert (str(step), step.cql) == (said, cql)


def test_one_number_means_every_datacenter() -> None:
    [step] = plan(wanted(shop(2)), state(dc1=3, dc2=2)).steps
    assert step.to.factors == {"dc1": 2, "dc2": 2}


@pytest.mark.parametrize("found", [keyspace(dc1=5), simple(2), Keyspace(name="shop", durable_writes=False)])
def test_what_the_settings_leave_open_stays(found: Keyspace) -> None:
    made = plan(wanted(shop()), state(found))
    assert (made.steps, made.refusals) == ((), ())


def test_a_table_of_datacenters_asks_for_the_strategy_that_knows_them() -> None:
    [step] = plan(wanted(shop({"dc1": 3})), state(simple(3))).steps
    assert step.to.strategy == NETWORK


names = st.sampled_from(["dc1", "dc2", "dc3"])
factors = st.dictionaries(names, st.integers(1, 6), min_size=1)


@given(
    factor=st.none() | st.integers(1, 6) | factors,
    strategy=st.sampled_from([None, NETWORK]),
    durable=st.sampled_from([None, True, False]),
    was=st.none() | factors,
    was_simple=st.none() | st.integers(1, 6),
    home=st.sampled_from(["dc1", "dc2", None]),
    read=st.sampled_from(["ONE", "LOCAL_ONE", "QUORUM", "LOCAL_QUORUM", "ALL", "THREE"]),
    write=st.sampled_from(["ANY", "ONE", "EACH_QUORUM", "QUORUM", "LOCAL_QUORUM", "ALL"]),
)
def test_a_second_run_finds_nothing_to_do(
    factor: Any, strategy: Any, durable: Any, was: Any, was_simple: Any, home: Any, read: Any, write: Any
) -> None:
    before = [simple(was_simple)] if was_simple else [keyspace(**was)] if was else []
    wish = wanted(shop(factor, strategy=strategy, durable_writes=durable), home=home, read=read, write=write)
    counts = {"dc1": 3, "dc2": 2, "dc3": 1}
    forced = plan(wish, state(*before, **counts), force=True)
    assert forced.refusals == ()
    after = [step.to for step in forced.steps] or before
    again = plan(wish, state(*after, **counts))
    assert (again.steps, again.refusals, again.afterwards) == ((), (), ())
    unforced = plan(wish, state(*before, **counts))
    assert bool(unforced.refusals) != (unforced.steps == forced.steps)
    for step in unforced.steps:
        assert step.to.total >= (before[0].total if before else 0)


# -- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "found", "said"),
    [
        (shop(2), state(keyspace(dc1=3)), "go from 3 replicas to 2 in dc1"),
        (shop({"dc1": 3}), state(keyspace(dc1=3, dc2=2), dc1=3, dc2=3), "take all 2 replicas from dc2"),
        (shop({"dc1": 3}), state(keyspace(dc1=3, dc2=1), dc1=3, dc2=3), "take the replica from dc2"),
        (shop(1), state(simple(2)), "go from 2 replicas to 1"),
        (shop({"dc1": 1}), state(simple(2)), "go from 2 replicas to 1"),
        (shop({"dc1": 3}), state(simple(3), dc1=3, dc2=3), "leave dc2 without a replica"),
        (shop(3, strategy=SIMPLE), state(keyspace(dc1=3, dc2=3), dc1=3, dc2=3), "go from 6 replicas to 3"),
    ],
)
def test_replicas_are_taken_away_with_force_only(wish: WantedKeyspace, found: State, said: str) -> None:
    made = plan(wanted(wish), found)
    assert (made.steps, made.afterwards) == ((), ())
    [refusal] = made.refusals
    assert said in refusal
    assert refusal.endswith("then give --force.")
    forced = plan(wanted(wish), found, force=True)
    assert (forced.refusals, len(forced.steps)) == ((), 1)
    assert any("nodetool cleanup shop" in sentence for sentence in forced.afterwards)


@pytest.mark.parametrize(
    ("wish", "found", "said"),
    [
        (wanted(), state(), "names no keyspace"),
        (wanted(shop({"dc1": 3, "DC2": 3})), state(dc1=3, dc2=3), "factor names DC2, and the nodes stand in dc1, dc2"),
        (
            wanted(shop(3)),
            state(Keyspace(name="shop", strategy="EverywhereStrategy")),
            "has EverywhereStrategy, which is left alone",
        ),
        (
            wanted(shop(3)),
            state(Keyspace(name="shop", factors={"dc1": 2}, is_plain=False)),
            "has transient replicas, which is left alone",
        ),
        (
            wanted(shop()),
            State(nodes=(Node(address="a:9042", reason="refuses connections, so nothing listens there"),)),
            "No node of clusters.catalog.nodes can be asked (a:9042 refuses connections",
        ),
        (wanted(shop()), State(denied="the login is refused"), "the login is refused"),
        (
            wanted(shop()),
            state(extra=(Node(address="f:9042", datacenter="dc1", schema="a", reason="says nothing", is_frozen=True),)),
            "No answer comes from f:9042, though connections are taken",
        ),
        (
            wanted(shop()),
            state(extra=(Node(address="f:9042", datacenter="dc1", schema="b"),)),
            "The nodes have 2 versions of the schema",
        ),
    ],
)
def test_one_sentence_tells_what_stands_in_the_way(wish: Wanted, found: State, said: str) -> None:
    made = plan(wish, found, force=True)
    assert made.steps == ()
    [refusal] = made.refusals
    assert said in refusal


def test_where_nothing_is_to_be_done_a_frozen_node_is_only_told() -> None:
    frozen = Node(address="f:9042", datacenter="dc1", schema="b", reason="says nothing", is_frozen=True)
    made = plan(wanted(shop()), state(keyspace(dc1=3), extra=(frozen,)))
    assert (made.refusals, made.unreachable) == ((), (("f:9042", "says nothing"),))


def test_a_node_that_is_down_does_not_hold_up_the_plan() -> None:
    down = Node(address="d:9042", datacenter="dc1", schema="old", reason="refuses connections")
    made = plan(wanted(shop()), state(extra=(down,)))
    assert (len(made.steps), made.refusals, made.unreachable) == (1, (), (("d:9042", "refuses connections"),))


# -- what is warned of -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "found", "said"),
    [
        (wanted(shop(1)), state(), ["one replica in dc1"]),
        (wanted(shop(1)), state(dc1=1), ["one replica in dc1"]),
        (
            wanted(shop(2)),
            state(),
            ["2 replicas in dc1 and LOCAL_QUORUM (reads and writes), LOCAL_SERIAL (conditional"],
        ),
        (wanted(shop(2), read="ONE", write="ONE", serial="SERIAL"), state(), ["SERIAL (conditional writes) needs all"]),
        (wanted(shop(3), read="ALL"), state(), ["ALL (reads) needs all of them, so no node may fail. Choose a quorum"]),
        (wanted(shop(2), write="THREE"), state(), ["THREE needs 3 replicas", "has 2 replicas"]),
        (
            wanted(shop(3, strategy=SIMPLE)),
            state(dc1=3, dc2=3),
            ["SimpleStrategy puts replicas into any datacenter (dc1, dc2)"],
        ),
        (wanted(shop(3)), state(dc1=2), ["3 replicas in dc1, where 2 nodes stand, so one is always missing"]),
        (wanted(shop(3)), state(dc1=1), ["where 1 node stands, so a majority of them cannot answer"]),
        (wanted(shop(4, strategy=SIMPLE)), state(), ["has 4 replicas, where 3 nodes stand"]),
        (wanted(shop({"dc2": 3})), state(dc1=3, dc2=3), ["has no replica in dc1, the local datacenter"]),
        (
            wanted(shop({"dc1": 3}), remote=("dc2",)),
            state(dc1=3, dc2=3),
            ["has no replica in dc2, so nothing can be served there"],
        ),
        (wanted(shop(durable_writes=False)), state(), ["durable_writes = false"]),
        (wanted(shop(), home="DC1"), state(), ["local_datacenter names DC1, and the nodes stand in dc1"]),
        (wanted(shop(), remote=("dc7",)), state(), ["remote_datacenters names dc7"]),
        (wanted(shop(), keyspace="other"), state(), ["keyspace is 'other', which is not there"]),
        (wanted(shop(), keyspace="other"), state(keyspace("other", dc1=3)), []),
        (wanted(shop()), state(), []),
        (wanted(shop(), read="QUORUM", write="EACH_QUORUM", serial="SERIAL"), state(dc1=3, dc2=3), []),
        (wanted(WantedKeyspace(name="system_auth", factor=2)), state(), []),
    ],
)
def test_what_is_unwise_is_told_in_a_sentence(wish: Wanted, found: State, said: list[str]) -> None:
    warnings = plan(wish, found).warnings
    assert len(warnings) == len(said), warnings
    for part in said:
        assert any(part in warning for warning in warnings), warnings
    assert all(warning.endswith((".", "there.")) and warning.count(". ") <= 1 for warning in warnings)


@pytest.mark.parametrize(
    ("level", "there", "where", "needed", "among"),
    [
        ("ONE", {"dc1": 3, "dc2": 2}, EVERYWHERE, 1, 5),
        ("LOCAL_ONE", {"dc1": 3, "dc2": 2}, "dc1", 1, 3),
        ("TWO", {"dc1": 3, "dc2": 2}, EVERYWHERE, 2, 5),
        ("LOCAL_QUORUM", {"dc1": 3, "dc2": 2}, "dc1", 2, 3),
        ("QUORUM", {"dc1": 3, "dc2": 2}, EVERYWHERE, 3, 5),
        ("SERIAL", {"dc1": 3, "dc2": 3}, EVERYWHERE, 4, 6),
        ("LOCAL_SERIAL", {"dc1": 1, "dc2": 3}, "dc1", 1, 1),
        ("ALL", {"dc1": 3, "dc2": 2}, EVERYWHERE, 5, 5),
    ],
)
def test_what_a_consistency_needs(level: str, there: dict[str, int], where: str, needed: int, among: int) -> None:
    assert needs(level, keyspace(**there), "dc1") == [(where, needed, among)]


def test_each_quorum_needs_one_in_each_datacenter_and_local_levels_all_of_a_simple_keyspace() -> None:
    assert needs("EACH_QUORUM", keyspace(dc1=3, dc2=2), "dc1") == [("dc1", 2, 3), ("dc2", 2, 2)]
    assert needs("LOCAL_QUORUM", simple(3), "dc1") == [(EVERYWHERE, 2, 3)]


# -- what is to be run afterwards --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "found", "commands"),
    [
        (shop(3), state(keyspace(dc1=2)), ["repair --full shop` on every node of dc1"]),
        (
            shop({"dc1": 3, "dc2": 3}),
            state(keyspace(dc1=3), dc1=3, dc2=3),
            ["rebuild --keyspace shop -- dc1` on every node of dc2"],
        ),
        (
            shop({"dc1": 3, "dc2": 3}),
            state(keyspace(dc1=2), dc1=3, dc2=3),
            ["rebuild --keyspace shop -- dc1` on every node of dc2", "repair --full shop` on every node of dc1"],
        ),
        (
            shop({"dc2": 3}),
            state(keyspace(dc1=3), dc1=3, dc2=3),
            ["repair --full shop` on every node of dc2", "cleanup shop` on every node of dc1"],
        ),
        (shop(3), state(simple(2)), ["repair --full shop` on every node, one"]),
        (shop(3, strategy=NETWORK), state(simple(3)), []),
        (
            shop(3, strategy=NETWORK),
            state(simple(3), racks=3),
            ["repair --full shop` on every node of dc1", "cleanup shop` on every node:"],
        ),
        (shop(1), state(keyspace(dc1=3)), ["cleanup shop` on every node of dc1"]),
        (shop(durable_writes=False), state(keyspace(dc1=3)), []),
    ],
)
def test_the_repair_that_a_change_needs(wish: WantedKeyspace, found: State, commands: list[str]) -> None:
    made = plan(wanted(wish), found, force=True)
    assert len(made.steps) == 1
    assert len(made.afterwards) == len(commands), made.afterwards
    for sentence, command in zip(made.afterwards, commands, strict=True):
        assert f"`nodetool {command}" in sentence


def test_a_new_keyspace_needs_no_repair() -> None:
    assert plan(wanted(shop()), state()).afterwards == ()


@pytest.mark.parametrize(
    ("before", "after", "remedy"),
    [
        (1, 2, None),
        (2, 3, None),
        (3, 4, None),
        (1, 3, "Raise it to 2 first"),
        (3, 5, "Raise it to 4 first"),
        (2, 4, None),
        (1, 5, "Raise it to 2 first"),
    ],
)
def test_a_read_that_may_miss_what_was_acknowledged_is_told(before: int, after: int, remedy: str | None) -> None:
    warnings = plan(wanted(shop(after)), state(keyspace(dc1=before), dc1=6)).warnings
    missed = [warning for warning in warnings if "may miss a row" in warning]
    assert (quorum(before) + quorum(after) <= after) == bool(missed) == bool(remedy)
    if remedy:
        assert remedy in missed[0]


def test_reads_at_one_may_always_miss_it() -> None:
    warnings = plan(wanted(shop(3), read="ONE", write="ONE"), state(keyspace(dc1=2))).warnings
    assert any("a read at ONE may miss a row that was acknowledged at ONE" in warning for warning in warnings)
    assert not any("first" in warning for warning in warnings)
