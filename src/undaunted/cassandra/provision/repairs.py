"""What an altered replication asks of the operator: which `nodetool` on which nodes, and what holds until then.

Cassandra only writes down that other nodes hold a row from now on; it copies nothing there, and takes nothing away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.cassandra.provision.rules import listed, needs, quorum
from undaunted.cassandra.provision.state import EVERYWHERE, NETWORK, SIMPLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.cassandra.provision.state import Keyspace, State, Use
    from undaunted.cassandra.provision.steps import Alter

__all__ = ["afterwards", "dangers", "lowered", "moves"]


def lowered(step: Alter, state: State) -> Iterator[str]:
    """Yield where a step leaves fewer replicas than there are, in words."""
    was, to = step.was, step.to
    if was.strategy == to.strategy:
        for name, before in was.factors.items():
            after = to.factors.get(name)
            if after is None:
                yield f"take all {before} replicas from {name}" if before > 1 else f"take the replica from {name}"
            elif after < before:
                yield f"go from {before} replicas to {after}{_at(name)}"
        return
    if to.total < was.total:
        yield f"go from {was.total} replicas to {to.total}"
    elif was.strategy == SIMPLE:
        bare = [name for name in state.datacenters if not to.factors.get(name)]
        if bare:
            yield f"leave {listed(bare)} without a replica, where some may be"


def moves(step: Alter, state: State) -> bool:
    """Whether another strategy puts replicas on other nodes: never in one datacenter of one rack."""
    return step.was.strategy != step.to.strategy and (len(state.datacenters) > 1 or state.racks > 1)


def afterwards(step: Alter, state: State, home: str | None) -> Iterator[str]:
    """Yield what is to be run on which nodes once a step is taken."""
    was, to = step.was, step.to
    name = to.name
    if was.strategy != to.strategy:
        if moves(step, state) or to.total > was.total:
            yield _repair(name, [where for where in to.factors if where])
        if moves(step, state) or to.total < was.total:
            yield _cleanup(name, [], is_first=not moves(step, state) and to.total <= was.total)
        return
    raised = [where for where, factor in to.factors.items() if 0 < was.factors.get(where, 0) < factor]
    added = [where for where in to.factors if not was.factors.get(where)]
    fewer = [where for where, factor in was.factors.items() if to.factors.get(where, 0) < factor]
    sources = [where for where in was.factors if where in to.factors]
    if added and sources:
        source = home if home in sources else sources[0]
        yield (
            f"Run `nodetool rebuild --keyspace {name} -- {source}` on every node of {listed(added)}: it copies the "
            "rows there. Until then let no application read there."
        )
    elif added:
        yield _repair(name, added)
    if raised:
        yield _repair(name, raised)
    if fewer:
        yield _cleanup(name, fewer, is_first=not added and not raised)


def dangers(step: Alter, state: State, use: Use) -> Iterator[str]:
    """Yield what does not hold until the repair is done."""
    was, to = step.was, step.to
    home = use.home or state.home
    if moves(step, state):
        yield (
            f"keyspace {to.name}: another strategy moves replicas to other nodes, and until the repair is done rows "
            "may not be found. Do it while nobody depends on them."
        )
        return
    raised = [where for where, factor in to.factors.items() if factor > was.factors.get(where, 0)]
    if not raised and was.strategy == to.strategy:
        return
    if to.name == "system_auth":
        yield "keyspace system_auth: until the repair is done, nodes may refuse logins. Repair it at once."
    elif to.name.startswith("system"):
        return
    elif not _is_seen(was, to, use, home):
        between = _between(was.factor(home), to.factor(home))
        is_of_quorums = use.read.endswith("QUORUM") and use.write.endswith("QUORUM") and len(to.factors) == 1
        step_up = f"Raise it to {between} first, and repair in between" if between and is_of_quorums else None
        yield (
            f"keyspace {to.name}: until the repair is done, a read at {use.read} may miss a row that was acknowledged "
            f"at {use.write} before. {step_up or 'Repair it at once'}."
        )


def _is_seen(was: Keyspace, to: Keyspace, use: Use, home: str | None) -> bool:
    """Whether each read of the new replicas meets one of the old ones that had to take the write."""
    if was.strategy == NETWORK == to.strategy and not was.factor(home):
        return False
    write = {where: (needed, there) for where, needed, there in needs(use.write, was, home)}
    for where, needed, there in needs(use.read, to, home):
        wrote, _ = write.get(where) or write.get(EVERYWHERE) or next(iter(write.values()))
        if wrote + needed <= there:
            return False
    return True


def _between(before: int, after: int) -> int | None:
    """The greatest factor on the way, after which a quorum still meets a quorum of now."""
    return next((n for n in range(after - 1, before, -1) if quorum(before) + quorum(n) > n), None)


def _repair(name: str, where: list[str]) -> str:
    return (
        f"Run `nodetool repair --full {name}` on every node{_of(where)}, one after the other: until then the new "
        "replicas lack what was written before."
    )


def _cleanup(name: str, where: list[str], *, is_first: bool) -> str:
    run = "Run" if is_first else "Then run"
    return f"{run} `nodetool cleanup {name}` on every node{_of(where)}: it frees the space of what moved away."


def _of(where: list[str]) -> str:
    named = [name for name in where if name]
    return f" of {listed(named)}" if named else ""


def _at(where: str) -> str:
    return f" in {where}" if where else ""
