"""The planner of `undaunted provision`: pure, so every rule is a row or a property here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from undaunted.config import MongoDBSettings, load
from undaunted.mongodb.provision import plan, wanted_of
from undaunted.mongodb.provision.rules import majority
from undaunted.mongodb.provision.state import Kind, Member, Node, Placement, ReplicaSet, State, Wanted
from undaunted.mongodb.provision.steps import (
    Add,
    Change,
    Initiate,
    Remove,
    SetDefaultWriteConcern,
    StepDown,
    document_of,
    edited,
)

A, B, C, D, E = (f"{name}:27017" for name in "abcde")


def wanted(*members: Placement | str, name: str | None = "rs") -> Wanted:
    placed = tuple(Placement(address=member) if isinstance(member, str) else member for member in members)
    return Wanted(cluster="orders", name=name, members=placed)


def arbiter(address: str) -> Placement:
    return Placement(address=address, priority=0.0, arbiter=True)


def member(address: str, condition: str = "SECONDARY", **placed: Any) -> Member:
    return Member(address=address, condition=condition, **placed)


def existing(*members: Member | str, primary: str | None = A, **known: Any) -> ReplicaSet:
    seated = [member(one) if isinstance(one, str) else one for one in members]
    led = tuple(replace(one, condition="PRIMARY") if one.address == primary else one for one in seated)
    return ReplicaSet(name="rs", set_id="1", primary=primary, members=led, **known)


def state(current: ReplicaSet | None, *nodes: Node) -> State:
    """Every member answers as one; `nodes` say otherwise."""
    members = current.members if current is not None else ()
    found = {
        one.address: Node(address=one.address, kind=Kind.MEMBER, set_name="rs", set_id="1", known_as=one.address)
        for one in members
    }
    return State(nodes=found | {node.address: node for node in nodes}, current=current)


def blank(address: str, **said: Any) -> Node:
    return Node(address=address, kind=Kind.BLANK, **({"set_name": "rs", "holds_data": False} | said))


def silent(address: str) -> Node:
    return Node(address=address, kind=Kind.SILENT, reason="refuses connections, so nothing listens there")


def texts(*steps: object) -> list[str]:
    return [str(step) for step in steps]


# -- from nothing ------------------------------------------------------------------------------------


def test_empty_nodes_are_initiated_in_the_order_of_the_settings() -> None:
    wish = wanted(Placement(address=A, priority=0.0), B, C)
    found = plan(wish, state(None, blank(A), blank(B), blank(C)))
    assert found.steps == (Initiate(node=B, name="rs", members=wish.members),)
    assert (found.refusals, found.warnings, found.unreachable) == ((), (), ())


def test_an_arbiter_needs_a_default_write_concern() -> None:
    found = plan(wanted(A, B, arbiter(C)), state(None, blank(A), blank(B), blank(C)))
    assert found.steps[1:] == (SetDefaultWriteConcern(),)
    assert "2 of 3 voting members hold data" in found.warnings[0]


def test_the_name_comes_from_the_nodes_when_the_settings_say_none() -> None:
    wish = wanted(A, B, C, name=None)
    assert plan(wish, state(None, blank(A), blank(B), blank(C))).replica_set == "rs"
    unclear = plan(wish, state(None, blank(A), blank(B, set_name="rt"), blank(C)))
    assert unclear.refusals == (
        (
            "The name of the replica set is unclear: the nodes name several (rs, rt). Give it as "
            "clusters.orders.replica_set."
        ),
    )
    mute = plan(wish, state(None, *(blank(a, set_name=None, holds_data=None) for a in (A, B, C))))
    assert "no node tells one" in mute.refusals[0]


def test_a_node_with_data_begins_and_two_are_refused() -> None:
    found = plan(wanted(A, B, C), state(None, blank(A), blank(B, holds_data=True), blank(C)))
    assert found.steps[0].node == B
    assert found.warnings == (f"{B} holds data, which becomes the data of the set.",)
    both = plan(wanted(A, B, C), state(None, blank(A, holds_data=True), blank(B, holds_data=True), blank(C)))
    assert "one set cannot keep both" in both.refusals[0]
    barred = wanted(A, Placement(address=B, priority=0.0), C)
    assert (
        "bar it from being primary"
        in plan(barred, state(None, blank(A), blank(B, holds_data=True), blank(C))).refusals[0]
    )


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (silent(C), f"{C} refuses connections"),
        (Node(address=C, kind=Kind.STANDALONE), f"{C} is a standalone server; start it with --replSet rs"),
        (Node(address=C, kind=Kind.ROUTER), f"{C} is a mongos router"),
        (blank(C, set_name="other"), f"{C} was started for the replica set 'other', not for 'rs'"),
        (blank(C, set_id="9"), f"{C} holds the configuration of another replica set"),
        (Node(address=C, kind=Kind.MEMBER, set_name="other"), f"{C} belongs to the replica set 'other', not to 'rs'"),
        (
            Node(address=C, kind=Kind.MEMBER, set_name="rs", denied="refuses the login of 'x'."),
            f"{C} refuses the login",
        ),
    ],
)
def test_a_node_that_cannot_be_taken_is_refused(node: Node, said: str) -> None:
    for found in (
        plan(wanted(A, B, C), state(None, blank(A), blank(B), node)),
        plan(wanted(A, B, C), state(existing(A, B), node)),
    ):
        assert found.steps == ()
        assert len(found.refusals) == 1
        assert found.refusals[0].startswith(said)


def test_all_nodes_of_another_name_are_one_sentence() -> None:
    nodes = [Node(address=a, kind=Kind.MEMBER, set_name="real", set_id="2") for a in (A, B, C)]
    found = plan(wanted(A, B, C), state(None, *nodes))
    assert len(found.refusals) == 1
    assert "clusters.orders.replica_set is 'rs'" in found.refusals[0]
    assert "'real'" in found.refusals[0]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (wanted(*(f"n{i}:1" for i in range(8))), "names 8 voting members, and a replica set has 7 at most"),
        (
            wanted(*(Placement(address=f"n{i}:1", votes=int(i < 3), priority=float(i < 3)) for i in range(51))),
            "51 members",
        ),
        (wanted(Placement(address=A, priority=0.0), arbiter(B)), "no member that may become primary"),
    ],
)
def test_a_wish_that_no_set_can_fulfil_is_refused(wish: Wanted, said: str) -> None:
    found = plan(wish, state(None, *(blank(one.address) for one in wish.members)))
    assert found.steps == ()
    assert said in found.refusals[0]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (wanted(A), "One voting member"),
        (wanted(A, B), "2 voting members outlive the loss of 0, no more than 1 would"),
        (wanted(A, B, C, D), "4 voting members outlive the loss of 1, no more than 3 would"),
        (wanted(A, B, C, arbiter(D), arbiter(E)), "2 arbiters"),
        (wanted(A, B, arbiter(C)), "no write is confirmed by a majority"),
    ],
)
def test_what_is_unwise_is_a_warning(wish: Wanted, said: str) -> None:
    found = plan(wish, state(None, *(blank(one.address) for one in wish.members)))
    assert found.steps
    assert any(said in warning for warning in found.warnings)


def test_three_plain_members_and_a_spare_arbiter_have_the_warnings_they_deserve() -> None:
    assert plan(wanted(A, B, C), state(existing(A, B, C))).warnings == ()
    four_and_one = wanted(A, B, C, D, arbiter(E))
    found = plan(four_and_one, state(None, *(blank(one.address) for one in four_and_one.members)))
    assert found.warnings == ()


# -- a set that exists -------------------------------------------------------------------------------


def test_nothing_to_do() -> None:
    found = plan(wanted(A, B, C), state(existing(A, B, C)))
    assert (found.steps, found.refusals, found.warnings, found.unreachable) == ((), (), (), ())
    assert (found.primary, found.set_id) == (A, "1")


def test_a_newcomer_votes_only_when_it_has_caught_up() -> None:
    found = plan(wanted(A, B, C), state(existing(A, B), blank(C)))
    quiet = Placement(address=C, votes=0, priority=0.0)
    assert found.steps == (Add(member=quiet), Change(was=quiet, to=Placement(address=C)))
    assert texts(*found.steps) == [
        f"add {C} (votes 0, priority 0) and wait until it has caught up",
        f"change {C}: votes 0 -> 1, priority 0 -> 1",
    ]


def test_an_interrupted_addition_goes_on_where_it_was() -> None:
    current = existing(A, B, member(C, "STARTUP2", votes=0, priority=0.0))
    found = plan(wanted(A, B, C), state(current))
    assert [type(step) for step in found.steps] == [Change]


def test_the_primary_hands_over_before_it_leaves() -> None:
    found = plan(wanted(B, C, D), state(existing(A, B, C), blank(D)))
    assert [(type(step), step.node) for step in found.steps] == [(Add, D), (Change, D), (StepDown, A), (Remove, A)]


def test_the_primary_hands_over_before_it_is_barred() -> None:
    barred = Placement(address=A, priority=0.0)
    found = plan(wanted(barred, B, C), state(existing(A, B, C)))
    assert found.steps == (StepDown(node=A), Change(was=Placement(address=A), to=barred))


def test_nobody_to_hand_over_to_is_refused() -> None:
    current = existing(A, member(B, priority=0.0), member(C, "out of reach"))
    found = plan(wanted(Placement(address=A, priority=0.0), Placement(address=B, priority=0.0), C), state(current))
    assert found.steps == ()
    assert "no member that is up could be primary" in found.refusals[0]


def test_a_set_of_seven_lets_one_go_before_the_next_votes() -> None:
    seven = [f"n{i}:1" for i in range(7)]
    found = plan(wanted(*seven[:6], A), state(existing(*seven, primary="n0:1"), blank(A)))
    assert [(type(step), step.node) for step in found.steps] == [(Add, A), (Remove, "n6:1"), (Change, A)]


def test_a_dead_member_goes_first() -> None:
    found = plan(wanted(A, B, D), state(existing(A, B, member(C, "out of reach")), silent(C), blank(D)))
    assert [type(step) for step in found.steps] == [Remove, Add, Change]
    assert found.warnings == (f"{C} is out of reach and leaves the set all the same; keep it down, or empty it.",)
    assert found.unreachable == ()


def test_the_rest_that_is_up_must_be_a_majority() -> None:
    current = existing(A, B, member(C, "out of reach"))
    found = plan(wanted(A, C), state(current, silent(C)))
    assert found.steps == ()
    assert found.refusals == (
        (
            f"Cannot remove {B}: 1 of 2 voting members would be up ({C} is not), and that is no majority; "
            "start them first."
        ),
    )
    voteless = Placement(address=B, votes=0, priority=0.0)
    assert "that is no majority" in plan(wanted(A, voteless, C), state(current, silent(C))).refusals[0]


def test_most_voters_at_once_are_not_given_up() -> None:
    found = plan(wanted(A), state(existing(A, B, C)))
    assert found.refusals == (
        (
            f"The settings would take the vote of 2 of the 3 voting members in one go ({B}, {C}); name every member in "
            "clusters.orders.nodes, or go in smaller steps."
        ),
    )


def test_a_set_without_primary_is_left_alone() -> None:
    current = existing(A, member(B, "out of reach"), member(C, "out of reach"), primary=None)
    found = plan(wanted(A, B, C), state(current, silent(B), silent(C)))
    assert found.steps == ()
    assert "has no primary (1 of 3 voting members are up)" in found.refusals[0]
    assert "never forced" in found.refusals[0]


def test_a_member_that_is_down_is_told() -> None:
    current = existing(A, B, member(C, "out of reach"))
    found = plan(wanted(A, B, C), state(current, silent(C)))
    assert (found.steps, found.refusals) == ((), ())
    assert found.unreachable == ((C, "refuses connections, so nothing listens there"),)
    only_here = plan(wanted(A, B, C), state(existing(A, B, C), silent(C)))
    assert only_here.unreachable[0][1].endswith("; the set itself sees it as SECONDARY")
    only_there = plan(wanted(A, B, C), state(current))
    assert only_there.unreachable == ((C, "answers here, and the primary does not reach it"),)


@pytest.mark.parametrize(
    ("now", "to", "said"),
    [
        (member(C), arbiter(C), "holds data and cannot become an arbiter in place"),
        (member(C, "ARBITER", arbiter=True, priority=0.0), Placement(address=C), "is an arbiter and cannot become"),
        (member(C, priority=0.0, can_lead=False), Placement(address=C), "is delayed or has no indexes"),
        (member(C, "out of reach", priority=2.0), Placement(address=C), "is out of reach, so it is not changed"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(now: Member, to: Placement, said: str) -> None:
    found = plan(wanted(A, B, to), state(existing(A, B, now, has_chosen_concern=True)))
    assert found.steps == ()
    assert said in found.refusals[0]


def test_a_new_node_with_data_is_refused_and_an_unknown_one_warned_of() -> None:
    held = plan(wanted(A, B, C), state(existing(A, B), blank(C, holds_data=True)))
    assert "holds data, which would be replaced" in held.refusals[0]
    unknown = plan(wanted(A, B, C), state(existing(A, B), blank(C, holds_data=None)))
    assert any("did not tell whether it holds data" in warning for warning in unknown.warnings)
    back = plan(wanted(A, B, C), state(existing(A, B), blank(C, holds_data=True, set_id="1")))
    assert [type(step) for step in back.steps] == [Add, Change]


def test_two_sets_of_one_name_are_told_apart() -> None:
    other = Node(address=C, kind=Kind.MEMBER, set_name="rs", set_id="2", known_as=C)
    assert "another replica set" in plan(wanted(A, B, C), state(existing(A, B), other)).refusals[0]
    secretive = Node(address=C, kind=Kind.MEMBER, set_name="rs", known_as=C)
    assert "another replica set" in plan(wanted(A, B, C), state(existing(A, B), secretive)).refusals[0]


def test_one_node_under_two_names_is_refused() -> None:
    alias = Node(address=D, kind=Kind.MEMBER, set_name="rs", set_id="1", known_as=B)
    found = plan(wanted(A, C, D), state(existing(A, B, C), alias))
    assert f"{D} is known in the replica set as {B}" in found.refusals[0]


def test_a_write_concern_that_somebody_chose_stays() -> None:
    members = (A, B, member(C, "ARBITER", arbiter=True, priority=0.0))
    wish = wanted(A, B, arbiter(C))
    assert plan(wish, state(existing(*members, write_concern="1"))).steps == (SetDefaultWriteConcern(),)
    chosen = plan(wish, state(existing(*members, write_concern="1", has_chosen_concern=True)))
    assert chosen.steps == ()
    assert any("default write concern is w: 1" in warning for warning in chosen.warnings)
    assert plan(wish, state(existing(*members, write_concern=None))).steps == ()


# -- every way from one set to another ---------------------------------------------------------------

ADDRESSES = [f"n{i}:27017" for i in range(9)]


KINDS = ["plain", "plain", "plain", "first", "never", "voteless", "hidden"]


def placed(address: str, kind: str) -> Placement:
    priority = {"plain": 1.0, "first": 5.0}.get(kind, 0.0)
    return Placement(address=address, votes=int(kind != "voteless"), priority=priority, hidden=kind == "hidden")


@st.composite
def ways(draw: st.DrawFn) -> tuple[tuple[Placement, ...], tuple[Placement, ...], set[str]]:
    """A set that exists, one that is wanted and shares much with it, and who is down."""
    count = draw(st.integers(1, 7))
    before = [placed(address, draw(st.sampled_from(KINDS))) for address in ADDRESSES[:count]]
    before[0] = placed(ADDRESSES[0], "plain")
    # As many as the set can just bear, or none: between them nothing is at stake.
    down = set(ADDRESSES[1 : 1 + draw(st.sampled_from([0, (count - 1) // 2]))])
    fates = {one.address: draw(st.sampled_from(["stays"] * 5 + ["leaves"] * 2 + KINDS)) for one in before}
    after = [
        one if fate == "stays" or (fate != "leaves" and one.address in down) else placed(one.address, fate)
        for one in before
        if (fate := fates[one.address]) != "leaves"
    ]
    after += [
        placed(address, draw(st.sampled_from(KINDS))) for address in ADDRESSES[count : count + draw(st.integers(0, 2))]
    ]
    return tuple(before), tuple(after), down


@settings(max_examples=150)
@given(way=ways())
def test_every_step_keeps_a_majority_and_the_last_one_leads_to_the_wish(
    way: tuple[tuple[Placement, ...], tuple[Placement, ...], set[str]],
) -> None:
    before, after, down = way
    primary = ADDRESSES[0]
    document: dict[str, Any] = {"version": 1, "members": [document_of(one, i) for i, one in enumerate(before)]}
    if len(votes(document) - down) < majority(len(votes(document))):
        return
    current = set_of(document, down, primary)
    newcomers = [blank(one.address) for one in after if current.member(one.address) is None]
    found = plan(wanted(*after), state(current, *newcomers, *map(silent, down)))
    event("refused" if found.refusals else f"{min(len(found.steps), 4)} steps or more")
    if found.refusals:
        assert found.steps == ()
        return
    for step in found.steps:
        if isinstance(step, StepDown):
            assert step.node == primary
            others = (one for one in set_of(document, down, None).members if one.address != primary)
            primary = next(one.address for one in others if one.is_electable and one.is_up)
            continue
        assert isinstance(step, (Add, Change, Remove))
        barred = isinstance(step, Remove) or (isinstance(step, Change) and not step.to.is_electable)
        assert not (barred and step.node == primary), "the primary was not asked to hand over"
        new = edited(document, step)
        assert new is not None
        assert new["version"] == document["version"] + 1
        assert len(votes(document) ^ votes(new)) <= 1, "more than one voting member changed at once"
        assert len(votes(new)) <= 7
        assert len(votes(new) - down) >= majority(len(votes(new)))
        document = new
    done = set_of(document, down, primary)
    assert {one.address: one.placement for one in done.members} == {one.address: one for one in after}
    assert plan(wanted(*after), state(done)).steps == (), "a second run has something to do"


def votes(document: dict[str, Any]) -> set[str]:
    return {one["host"] for one in document["members"] if one["votes"]}


def set_of(document: dict[str, Any], down: set[str], primary: str | None) -> ReplicaSet:
    members = tuple(
        Member(
            address=one["host"],
            votes=one["votes"],
            priority=one["priority"],
            hidden=one["hidden"],
            condition="out of reach" if one["host"] in down else "PRIMARY" if one["host"] == primary else "SECONDARY",
        )
        for one in document["members"]
    )
    return ReplicaSet(name="rs", set_id="1", primary=primary, members=members)


# -- steps and settings ------------------------------------------------------------------------------


def test_what_the_settings_do_not_know_stays_in_the_configuration() -> None:
    config = {
        "_id": "rs",
        "version": 4,
        "members": [
            {"_id": 3, "host": "A:27017", "votes": 1, "priority": 1.0, "hidden": False, "tags": {"dc": "x"}},
            {"_id": 255, "host": B, "votes": 1, "priority": 1.0, "hidden": False},
        ],
        "settings": {"electionTimeoutMillis": 2000},
    }
    new = edited(config, Change(was=Placement(address=A), to=Placement(address=A, priority=2.0)))
    assert new is not None
    assert new["members"][0] == config["members"][0] | {"priority": 2.0}
    assert new["settings"] == {"electionTimeoutMillis": 2000}
    assert config["members"][0]["priority"] == 1.0, "the configuration that was read has been changed"
    added = edited(config, Add(member=Placement(address=C)))
    assert added is not None
    assert added["members"][2]["_id"] == 0, "an id beyond 255"


def test_a_step_that_is_taken_already_changes_nothing() -> None:
    config = {"version": 1, "members": [document_of(Placement(address=A), 0)]}
    assert edited(config, Add(member=Placement(address=A))) is None
    assert edited(config, Remove(node=B)) is None
    assert edited(config, Change(was=Placement(address=A), to=Placement(address=A))) is None
    with pytest.raises(LookupError):
        edited(config, Change(was=Placement(address=B), to=Placement(address=B, priority=3.0)))


def test_the_settings_say_who_is_wanted() -> None:
    declared = {
        "backend": "mongodb",
        "nodes": ["A", "b:27018"],
        "replica_set": "rs",
        "provision": {
            "members": {"b:27018": {"priority": 2}, "c": {"arbiter": True}, "d": {"hidden": True}, "e": {"votes": 0}}
        },
    }
    cluster = load({"clusters": {"orders": declared}}, environ={}).settings.cluster("orders")
    assert isinstance(cluster, MongoDBSettings)
    assert wanted_of(cluster) == wanted(
        A,
        Placement(address="b:27018", priority=2.0),
        arbiter(C),
        Placement(address=D, priority=0.0, hidden=True),
        Placement(address=E, votes=0, priority=0.0),
    )
