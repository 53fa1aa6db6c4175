"""What a plan must not do, and what is told beside it: one clear sentence each, nothing asked and nothing changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.mongodb.provision.state import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from undaunted.mongodb.provision.state import Member, Node, Placement, ReplicaSet, State, Wanted

__all__ = [
    "MAX_MEMBERS",
    "MAX_VOTERS",
    "against_node",
    "against_set",
    "against_wish",
    "listed",
    "majority",
    "set_name_of",
    "warnings_of_state",
    "warnings_of_wish",
]

MAX_VOTERS = 7
MAX_MEMBERS = 50
"""Both are MongoDB's limits for one replica set."""


def majority(voters: int) -> int:
    """How many voters are a majority."""
    return voters // 2 + 1


def listed(addresses: Collection[str]) -> str:
    """Addresses in a sentence."""
    return ", ".join(addresses)


# -- the wish by itself ------------------------------------------------------------------------------


def against_wish(wanted: Wanted) -> Iterator[str]:
    """Yield why no replica set can be as the settings say."""
    at = f"clusters.{wanted.cluster}"
    voters = [member for member in wanted.members if member.votes]
    if len(voters) > MAX_VOTERS:
        yield (
            f"{at} names {len(voters)} voting members, and a replica set has {MAX_VOTERS} at most; give the others "
            "votes = 0 in provision.members."
        )
    if len(wanted.members) > MAX_MEMBERS:
        yield f"{at} names {len(wanted.members)} members, and a replica set has {MAX_MEMBERS} at most; name fewer."
    if not any(member.is_electable for member in wanted.members):
        yield (
            f"{at} names no member that may become primary; leave one with votes, with a priority above 0 and neither "
            "arbiter nor hidden."
        )


def warnings_of_wish(wanted: Wanted) -> Iterator[str]:
    """Yield what works and is unwise."""
    voters = [member for member in wanted.members if member.votes]
    arbiters = [member.address for member in wanted.members if member.arbiter]
    count = len(voters)
    if count == 1:
        yield "One voting member: when it is lost, nobody can be primary. Name three."
    elif count % 2 == 0:
        yield (
            f"{count} voting members outlive the loss of {count - majority(count)}, no more than {count - 1} would; "
            "add one, or give one votes = 0."
        )
    if len(arbiters) > 1:
        yield (
            f"{len(arbiters)} arbiters ({listed(arbiters)}): a majority may be left in which hardly any member has the "
            "data. Keep one at most."
        )
    holders = count - len(arbiters)
    if arbiters and holders - 1 < majority(count):
        yield (
            f"{holders} of {count} voting members hold data: while one of them is down, no write is confirmed by a "
            'majority, so writes with w: "majority" wait until it is back or their deadline passes. Put a member that '
            "holds data in place of the arbiter."
        )


def warnings_of_state(wanted: Wanted, current: ReplicaSet) -> Iterator[str]:
    """Yield what is unwise in the replica set that exists."""
    del wanted
    if current.has_chosen_concern and current.write_concern not in {None, "majority"}:
        yield (
            f"The set's default write concern is w: {current.write_concern}, which somebody has set, so it stays: "
            "a write that names none may be lost with its primary."
        )


# -- single nodes ------------------------------------------------------------------------------------


def set_name_of(wanted: Wanted, state: State) -> str | None:
    """The name of the replica set: as the settings say, else as the nodes say; None when that is unclear."""
    if wanted.name is not None:
        return wanted.name
    if state.current is not None:
        return state.current.name
    names = {node.set_name for node in state.nodes.values() if node.set_name is not None}
    return names.pop() if len(names) == 1 else None


def against_node(node: Node, *, cluster: str, name: str | None, current: ReplicaSet | None) -> str | None:
    """Why this node cannot be in the replica set as the settings name it; None when it can."""
    where = node.address
    if node.kind is Kind.STANDALONE:
        return f"{where} is a standalone server; start it with --replSet {name or 'NAME'} to take it in."
    if node.kind is Kind.ROUTER:
        return f"{where} is a mongos router, which is in no replica set; name the members of the set."
    if node.set_name is not None and node.set_name != name:
        if node.kind is Kind.MEMBER:
            return (
                f"{where} belongs to the replica set {node.set_name!r}, not to {name!r}; it is left alone. Correct "
                f"clusters.{cluster}.replica_set, or name another node."
            )
        return (
            f"{where} was started for the replica set {node.set_name!r}, not for {name!r}; correct "
            f"clusters.{cluster}.replica_set, or start it with --replSet {name}."
        )
    if node.denied is not None:
        return f"{where} {node.denied}"
    return _against_identity(node, cluster=cluster, current=current)


def _against_identity(node: Node, *, cluster: str, current: ReplicaSet | None) -> str | None:
    """Two sets of one name are told apart by the identity that each was given when it was initiated."""
    where = node.address
    is_new = current is not None and current.member(where) is None
    if current is not None and is_new and node.known_as and current.member(node.known_as) is not None:
        return (
            f"{where} is known in the replica set as {node.known_as}; write it so in clusters.{cluster}.nodes, or the "
            "same node would be added a second time."
        )
    is_ours = current is not None and node.set_id == current.set_id
    if not is_ours and (node.set_id is not None or (is_new and node.kind is Kind.MEMBER)):
        return (
            f"{where} holds the configuration of another replica set, be it one of the same name; it is left alone. "
            "Name another node, or empty its data directory first."
        )
    return None


# -- changes to a set that exists --------------------------------------------------------------------


def against_set(wanted: Wanted, state: State, current: ReplicaSet) -> Iterator[str]:
    """Yield why the replica set that exists cannot be brought to the wish."""
    if current.primary is None:
        voters = [member for member in current.members if member.votes]
        up = [member for member in voters if member.is_up]
        yield (
            f"The replica set {current.name} has no primary ({len(up)} of {len(voters)} voting members are up), and "
            "without one nothing is changed; start its nodes. A change is never forced."
        )
    yield from _too_many_at_once(wanted, current.members)
    for member in current.members:
        to = wanted.member(member.address)
        if to is not None and to != member.placement:
            yield from _against_change(member, to, state.nodes.get(member.address))


def _too_many_at_once(wanted: Wanted, members: Sequence[Member]) -> Iterator[str]:
    """The settings may name a few seeds only; what they leave out is then not meant to go."""
    voters = [member.address for member in members if member.votes]
    lost = [a for a in voters if (to := wanted.member(a)) is None or not to.votes]
    if 2 * len(lost) > len(voters):
        yield (
            f"The settings would take the vote of {len(lost)} of the {len(voters)} voting members in one go "
            f"({listed(lost)}); name every member in clusters.{wanted.cluster}.nodes, or go in smaller steps."
        )


def _against_change(member: Member, to: Placement, node: Node | None) -> Iterator[str]:
    where = member.address
    if to.arbiter != member.arbiter:
        is_one = "is an arbiter" if member.arbiter else "holds data"
        becomes = "an arbiter" if to.arbiter else "a member that holds data"
        yield (
            f"{where} {is_one} and cannot become {becomes} in place; leave it out of the settings and provision, empty "
            "its data directory, and name it again."
        )
    elif to.priority > 0 and not member.can_lead:
        yield (
            f"{where} is delayed or has no indexes, so it cannot become primary; give it priority = 0 in "
            "provision.members."
        )
    elif not member.is_heard or (node is not None and node.kind is Kind.SILENT):
        yield f"{where} is out of reach, so it is not changed ({to.said()}); start it first."
