"""From what is wanted and what was found to a plan. Pure: asks nothing, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.cassandra.provision import repairs
from undaunted.cassandra.provision.rules import listed, weaknesses
from undaunted.cassandra.provision.state import NETWORK, SIMPLE
from undaunted.cassandra.provision.steps import Alter, Create, differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.cassandra.provision.state import Keyspace, State, Wanted, WantedKeyspace
    from undaunted.cassandra.provision.steps import Step

__all__ = ["Plan", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done, or why nothing is.

    Attributes:
        cluster: Name of the cluster.
        datacenters: Those that the nodes stand in.
        steps: In this order. Empty when nothing is to be done, or something is refused.
        refusals: Why nothing may be done, a sentence each.
        unreachable: Nodes that gave no answer and are not needed: address and reason.
        warnings: What may be done and is unwise, a sentence each.
        afterwards: What is to be run on the nodes once the steps are taken, a sentence each.
    """

    cluster: str
    datacenters: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    refusals: tuple[str, ...] = ()
    unreachable: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    afterwards: tuple[str, ...] = ()


def plan(wanted: Wanted, state: State, *, force: bool = False) -> Plan:
    """Plan how to bring the keyspaces of a cluster from what they are to what is wanted.

    Args:
        wanted: What the settings ask for.
        state: What was found.
        force: Whether replicas may be taken away.
    """
    home = wanted.use.home or state.home
    refusals = list(_against_all(wanted, state))
    warnings: list[str] = []
    after: list[str] = []
    steps: list[Step] = []
    if not refusals:
        warnings += _about_home(wanted, state)
        for each in wanted.keyspaces:
            to = each.beside(state.keyspaces.get(each.name), state.datacenters)
            unknown = list(_against_names(wanted, each, state))
            if unknown:
                refusals += unknown
                continue
            warnings += [sentence for _, sentence in weaknesses(to, state, wanted.use)]
            step = _step(to, state)
            if step is None:
                continue
            steps.append(step)
            if isinstance(step, Alter):
                refusals += _against_change(step, state, force=force)
                warnings += repairs.dangers(step, state, wanted.use)
                after += repairs.afterwards(step, state, home)
    if steps:
        refusals += _against_now(state)
    return Plan(
        cluster=wanted.cluster,
        datacenters=state.datacenters,
        steps=() if refusals else tuple(steps),
        refusals=tuple(refusals),
        unreachable=() if refusals and not state.datacenters else tuple(_unreachable(state)),
        warnings=tuple(warnings),
        afterwards=() if refusals else tuple(after),
    )


def _step(to: Keyspace, state: State) -> Step | None:
    was = state.keyspaces.get(to.name)
    if was is None:
        return Create(to=to)
    return Alter(was=was, to=to) if differences(was, to) else None


def _against_all(wanted: Wanted, state: State) -> Iterator[str]:
    """Yield why nothing can be planned at all."""
    at = f"clusters.{wanted.cluster}"
    if not wanted.keyspaces:
        yield f"{at} names no keyspace; give it as {at}.keyspace, or as a table {at}.provision.keyspaces.NAME."
    elif state.denied is not None:
        yield state.denied
    elif not state.datacenters:
        told = "; ".join(f"{node.address} {node.reason}" for node in state.nodes)
        yield f"No node of {at}.nodes can be asked ({told}). Start one, or correct the addresses."


def _against_names(wanted: Wanted, each: WantedKeyspace, state: State) -> Iterator[str]:
    names = {} if each.factor is None or isinstance(each.factor, int) else each.factor
    unknown = [name for name in names if name not in state.datacenters]
    if unknown:
        yield (
            f"clusters.{wanted.cluster}.provision.keyspaces.{each.name}.factor names {listed(unknown)}, and the nodes "
            f"stand in {listed(state.datacenters)}. Name those, as the nodes write them."
        )


def _against_change(step: Alter, state: State, *, force: bool) -> Iterator[str]:
    name = step.to.name
    if step.was.strategy not in {SIMPLE, NETWORK} or not step.was.is_plain:
        what = "transient replicas" if not step.was.is_plain else step.was.strategy
        yield f"keyspace {name} has {what}, which is left alone. Alter it by hand, or leave it out of the settings."
        return
    for loss in () if force else repairs.lowered(step, state):
        yield (
            f"keyspace {name} would {loss}, and what only those hold would be lost. Run `nodetool repair --full "
            f"{name}` on every node first, then give --force."
        )


def _against_now(state: State) -> Iterator[str]:
    """Yield why the schema is not changed now, whatever the change."""
    frozen = [node.address for node in state.nodes if node.is_frozen]
    if frozen:
        yield (
            f"No answer comes from {listed(frozen)}, though connections are taken: a schema changed meanwhile may stay "
            "different there. Thaw or stop what is frozen first."
        )
    schemas = state.schemas()
    if len(schemas) > 1:
        told = "; ".join(f"{listed(nodes)}: {version[:8]}" for version, nodes in sorted(schemas.items()))
        yield (
            f"The nodes have {len(schemas)} versions of the schema ({told}), and it is not changed before they agree. "
            "Wait, or run `nodetool describecluster`, and restart the node that stays behind."
        )


def _about_home(wanted: Wanted, state: State) -> Iterator[str]:
    use = wanted.use
    at = f"clusters.{wanted.cluster}"
    names = {"local_datacenter": [use.home] if use.home else [], "remote_datacenters": list(use.remote)}
    for setting, given in names.items():
        unknown = [name for name in given if name not in state.datacenters]
        if unknown:
            yield (
                f"{at}.{setting} names {listed(unknown)}, and the nodes stand in {listed(state.datacenters)}. "
                "Applications find no node there; correct it."
            )
    known = {*state.keyspaces, *(each.name for each in wanted.keyspaces)}
    if use.keyspace is not None and use.keyspace not in known:
        yield f"{at}.keyspace is {use.keyspace!r}, which is not there and not in provision.keyspaces; name it there."


def _unreachable(state: State) -> Iterator[tuple[str, str]]:
    for node in state.nodes:
        if node.reason:
            yield node.address, node.reason
