"""From what is wanted and what was found to a plan. Pure: asks nothing, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.mongodb.provision import rules
from undaunted.mongodb.provision.order import ordered
from undaunted.mongodb.provision.state import Kind
from undaunted.mongodb.provision.steps import Initiate, SetDefaultWriteConcern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from undaunted.mongodb.provision.state import Node, ReplicaSet, State, Wanted
    from undaunted.mongodb.provision.steps import Step

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, or why nothing is.

    Attributes:
        cluster: Name of the cluster.
        replica_set: Name of the replica set; None when it is unclear.
        set_id: Identity of the set that exists; None when there is none.
        primary: Address of the primary; None when there is none.
        steps: In this order. Empty when nothing is to be done, or something is refused.
        refusals: Why nothing may be done, a sentence each.
        unreachable: Members that gave no answer and need no step: address and reason.
        warnings: What may be done and is unwise, a sentence each.
    """

    cluster: str
    replica_set: str | None = None
    set_id: str | None = None
    primary: str | None = None
    steps: tuple[Step, ...] = ()
    refusals: tuple[str, ...] = ()
    unreachable: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def plan(wanted: Wanted, state: State) -> Plan:
    """Plan how to bring a replica set from what it is to what is wanted."""
    current = state.current
    name = rules.set_name_of(wanted, state)
    refusals = [*rules.against_wish(wanted), *_against_nodes(wanted, state, name)]
    warnings = list(rules.warnings_of_wish(wanted))
    steps: list[Step] = []
    if current is not None:
        warnings += [*rules.warnings_of_state(wanted, current), *_warnings_of_change(wanted, state, current)]
        refusals += rules.against_set(wanted, state, current)
        if not refusals:
            steps, objection = _changes(wanted, current)
            refusals += [objection] if objection is not None else []
    elif not refusals:
        found = _initiation(wanted, state, name)
        steps, warnings, refusals = found[0], [*warnings, *found[1]], found[2]
    return Plan(
        cluster=wanted.cluster,
        replica_set=name,
        set_id=current.set_id if current is not None else None,
        primary=current.primary if current is not None else None,
        steps=() if refusals else tuple(steps),
        refusals=tuple(refusals),
        unreachable=tuple(_unreachable(wanted, state)),
        warnings=tuple(warnings),
    )


def _against_nodes(wanted: Wanted, state: State, name: str | None) -> Iterator[str]:
    nodes = [state.nodes[member.address] for member in wanted.members if member.address in state.nodes]
    if name is None:
        names = sorted({node.set_name for node in nodes if node.set_name is not None})
        found = f"the nodes name several ({', '.join(names)})" if names else "no node tells one"
        yield f"The name of the replica set is unclear: {found}. Give it as clusters.{wanted.cluster}.replica_set."
        return
    other = _common_other_name(nodes, name)
    if other is not None:
        yield (
            f"clusters.{wanted.cluster}.replica_set is {name!r}, and {rules.listed([n.address for n in nodes])} belong "
            f"to the replica set {other!r}; correct the name, or the nodes. They are left alone."
        )
        return
    for node in nodes:
        if node.kind is Kind.SILENT:
            if state.current is None:
                yield f"{node.address} {node.reason}; a new set needs every member; start it, or correct the address."
            elif state.current.member(node.address) is None:
                yield f"{node.address} {node.reason}, so it cannot be added; start it, or correct its address."
            continue
        objection = rules.against_node(node, cluster=wanted.cluster, name=name, current=state.current)
        if objection is not None:
            yield objection
        elif node.kind is Kind.MEMBER and state.current is None:
            yield f"{node.address} is a member of a replica set whose configuration no node tells; look at its log."
        elif node.holds_data and _is_new(node, state):
            yield (
                f"{node.address} holds data, which would be replaced by the set's; empty its data directory first, or "
                "name another node."
            )


def _common_other_name(nodes: Sequence[Node], name: str) -> str | None:
    """The one name that all nodes say, when it is not the wanted one: then the settings are wrong and no node is."""
    names = {node.set_name if node.kind is Kind.MEMBER else None for node in nodes if node.kind is not Kind.SILENT}
    other = names.pop() if len(names) == 1 else None
    return other if other != name and len(nodes) > 1 else None


def _is_new(node: Node, state: State) -> bool:
    """Whether a node would come to a set that exists, and has never been in it."""
    return state.current is not None and state.current.member(node.address) is None and node.set_id is None


def _unreachable(wanted: Wanted, state: State) -> Iterator[tuple[str, str]]:
    current = state.current
    for to in wanted.members:
        node = state.nodes.get(to.address)
        member = current.member(to.address) if current is not None else None
        if node is None or member is None:
            continue
        if node.kind is Kind.SILENT:
            seen = f"; the set itself sees it as {member.condition}" if member.is_heard else ""
            yield to.address, f"{node.reason}{seen}"
        elif not member.is_heard:
            yield to.address, "answers here, and the primary does not reach it"


def _warnings_of_change(wanted: Wanted, state: State, current: ReplicaSet) -> Iterator[str]:
    for member in current.members:
        if wanted.member(member.address) is None and not member.is_heard:
            yield f"{member.address} is out of reach and leaves the set all the same; keep it down, or empty it."
    for to in wanted.members:
        node = state.nodes.get(to.address)
        if node is not None and _is_new(node, state) and node.kind is Kind.BLANK and node.holds_data is None:
            yield f"{to.address} did not tell whether it holds data; whatever it holds is replaced by the set's data."


def _changes(wanted: Wanted, current: ReplicaSet) -> tuple[list[Step], str | None]:
    steps, objection = ordered(wanted, current)
    has_arbiter = any(member.arbiter for member in (*wanted.members, *current.members))
    if has_arbiter and current.write_concern is not None and not current.has_chosen_concern:
        steps.insert(0, SetDefaultWriteConcern())
    return steps, objection


def _initiation(wanted: Wanted, state: State, name: str | None) -> tuple[list[Step], list[str], list[str]]:
    """Steps, warnings and refusals for a set that is to be made of nodes which belong to none."""
    holders = [m for m in wanted.members if state.nodes[m.address].holds_data]
    if len(holders) > 1:
        addresses = rules.listed([member.address for member in holders])
        return [], [], [f"{addresses} hold data each, and one set cannot keep both; empty all of them but one."]
    first = (holders or [member for member in wanted.members if member.is_electable])[0]
    if not first.is_electable:
        said = f"{first.address} holds data, so the set must begin with it, and its settings ({first.said()})"
        return [], [], [f"{said} bar it from being primary; give it a vote and a priority above 0."]
    steps: list[Step] = [Initiate(node=first.address, name=str(name), members=wanted.members)]
    if any(member.arbiter for member in wanted.members):
        steps.append(SetDefaultWriteConcern())
    return steps, [f"{first.address} holds data, which becomes the data of the set."] if holders else [], []
