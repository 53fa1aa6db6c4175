"""What a replication allows and what it does not: one clear sentence each, nothing asked and nothing changed.

`weaknesses` is shared by the plan, which warns, and by `undaunted check`, which reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from undaunted.cassandra.provision.state import EVERYWHERE, NETWORK, SIMPLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from undaunted.cassandra.provision.state import Keyspace, State, Use

__all__ = ["Weakness", "listed", "needs", "quorum", "weaknesses"]

_FIXED = {"ANY": 1, "ONE": 1, "LOCAL_ONE": 1, "TWO": 2, "THREE": 3}
_LOCAL = frozenset({"LOCAL_ONE", "LOCAL_QUORUM", "LOCAL_SERIAL"})
_PURPOSES = {"read": "reads", "write": "writes", "serial": "conditional writes"}


class Weakness(NamedTuple):
    """What is unwise, or cannot work.

    Attributes:
        setting: The setting that it concerns, below that of the cluster.
        sentence: What was found and what to do.
    """

    setting: str
    sentence: str


def quorum(replicas: int) -> int:
    """How many of these replicas are a majority."""
    return replicas // 2 + 1


def listed(names: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """Names in a sentence."""
    return ", ".join(names)


def needs(level: str, keyspace: Keyspace, home: str | None) -> list[tuple[str, int, int]]:
    """What a consistency needs of a keyspace: where, how many replicas, and of how many.

    Source: Cassandra's ``ConsistencyLevel.blockFor``; the local levels count a keyspace of SimpleStrategy as a whole.
    """
    if level == "EACH_QUORUM" and keyspace.strategy == NETWORK:
        return [(name, quorum(factor), factor) for name, factor in keyspace.factors.items()]
    is_local = level in _LOCAL and keyspace.strategy == NETWORK
    where, there = (home or EVERYWHERE, keyspace.factor(home)) if is_local else (EVERYWHERE, keyspace.total)
    if level in _FIXED:
        return [(where, _FIXED[level], there)]
    return [(where, there if level == "ALL" else quorum(there), there)]


def weaknesses(keyspace: Keyspace, state: State, use: Use) -> Iterator[Weakness]:
    """Yield what is unwise or cannot work about a keyspace."""
    name = keyspace.name
    home = use.home or state.home
    if keyspace.strategy == SIMPLE and len(state.datacenters) > 1:
        yield Weakness(
            "keyspace",
            f"keyspace {name}: SimpleStrategy puts replicas into any datacenter ({listed(state.datacenters)}), "
            "so one may hold all of them. Use NetworkTopologyStrategy.",
        )
    for where, factor in keyspace.factors.items():
        yield from _of_factor(keyspace, where, factor, state.count(where))
    if not keyspace.durable_writes:
        yield Weakness(
            "keyspace",
            f"keyspace {name} has durable_writes = false: what a node has acknowledged is lost when it crashes. Set it "
            "to true.",
        )
    if not name.startswith("system"):
        yield from _of_use(keyspace, state, use, home)


def _of_factor(keyspace: Keyspace, where: str, factor: int, nodes: int) -> Iterator[Weakness]:
    at = f" in {where}" if where else ""
    if factor == 1:
        yield Weakness(
            "keyspace",
            f"keyspace {keyspace.name} has one replica{at}: while its node is down its rows cannot be had, and with "
            "its disk they are lost. Give it a factor of 3.",
        )
    if factor > nodes > 0:
        there = "1 node" if nodes == 1 else f"{nodes} nodes"
        what = "so a majority of them cannot answer" if quorum(factor) > nodes else "so one is always missing"
        yield Weakness(
            "keyspace",
            f"keyspace {keyspace.name} has {factor} replicas{at}, where {there} "
            f"{'stands' if nodes == 1 else 'stand'}, {what}. Add nodes, or lower the factor.",
        )


def _of_use(keyspace: Keyspace, state: State, use: Use, home: str | None) -> Iterator[Weakness]:
    name = keyspace.name
    if keyspace.strategy == NETWORK and home in state.datacenters and not keyspace.factor(home):
        yield Weakness(
            "keyspace",
            f"keyspace {name} has no replica in {home}, the local datacenter. Give {home} a factor, or make one of "
            f"{listed(keyspace.factors)} local.",
        )
        return
    for remote in use.remote:
        if keyspace.strategy == NETWORK and remote in state.datacenters and not keyspace.factor(remote):
            yield Weakness(
                f"remote_datacenters.{remote}",
                f"keyspace {name} has no replica in {remote}, so nothing can be served there. Give {remote} a factor, "
                "or leave it out of remote_datacenters.",
            )
    levels = {purpose: getattr(use, purpose) for purpose in _PURPOSES}
    if keyspace.strategy == NETWORK and home not in state.datacenters:  # which is told by itself
        levels = {purpose: level for purpose, level in levels.items() if level not in _LOCAL}
    yield from _out_of_reach(keyspace, levels, home)
    yield from _without_spare(keyspace, levels, home)


def _out_of_reach(keyspace: Keyspace, levels: Mapping[str, str], home: str | None) -> Iterator[Weakness]:
    for purpose, level in levels.items():
        for where, needed, there in needs(level, keyspace, home):
            if needed > there:
                yield Weakness(
                    f"consistency.{purpose}",
                    f"{level} needs {needed} replicas and keyspace {keyspace.name} has {there}{_at(where)}, so all "
                    f"{_PURPOSES[purpose]} fail. Raise the factor, or choose another consistency.",
                )


def _without_spare(keyspace: Keyspace, levels: Mapping[str, str], home: str | None) -> Iterator[Weakness]:
    """Levels that need every replica: no node may fail. One replica alone has been told of already."""
    tight: dict[tuple[str, int], dict[str, list[str]]] = {}
    for purpose, level in levels.items():
        for where, needed, there in needs(level, keyspace, home):
            if needed == there > 1:
                tight.setdefault((where, there), {}).setdefault(level, []).append(_PURPOSES[purpose])
    for (where, there), found in tight.items():
        told = ", ".join(f"{level} ({' and '.join(purposes)})" for level, purposes in found.items())
        verb, remedy = "needs" if len(found) == 1 else "need", "Give it a factor of 3"
        if there > 2:
            remedy = "Choose a quorum"
        yield Weakness(
            "consistency",
            f"keyspace {keyspace.name} has {there} replicas{_at(where)} and {told} {verb} all of them, so no node may "
            f"fail. {remedy}.",
        )


def _at(where: str) -> str:
    return f" in {where}" if where else ""
