"""What is wrong between the settings of a cluster and the nodes that they name, in sentences that say what to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cassandra import DriverException
from cassandra.protocol import ErrorMessage
from cassandra.util import unix_time_from_uuid1

from undaunted.cassandra import seams
from undaunted.cassandra.provision.access import Access, Denied, Unanswered
from undaunted.cassandra.provision.plan import plan
from undaunted.cassandra.provision.rules import listed, weaknesses
from undaunted.cassandra.provision.steps import Alter, differences
from undaunted.cassandra.provision.survey import survey
from undaunted.cassandra.provision.wanted import use_of, wanted_of
from undaunted.cassandra.words import server_words
from undaunted.config.structure import near
from undaunted.errors import Outage, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from undaunted.cassandra.provision.state import State
    from undaunted.config import CassandraSettings

__all__ = ["check", "silent"]

SKEW_S = 0.5
"""How far a node's clock may be from ours, beside what the question itself took."""

_WHO = "SELECT cluster_name, now() AS now FROM system.local WHERE key='local'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What one node said of itself.

    Attributes:
        address: The node.
        cluster: What it calls its cluster.
        ahead_s: How far its clock is ahead of ours, as far as that is sure; negative when it is behind.
    """

    address: str
    cluster: str
    ahead_s: float


def check(settings: CassandraSettings, *, wall_s: Callable[[], float] = time.time) -> list[Problem]:
    """Ask every node of the settings, and look at the others through their eyes; changes nothing.

    Args:
        settings: The cluster's settings.
        wall_s: Tells the time of day.

    Returns:
        Each mistake with the setting that it concerns; empty when applications will find what they need.

    Raises:
        ConfigurationError: The driver cannot be used, or refuses the settings.
    """
    seams.check_driver()
    path = f"clusters.{settings.name}"
    with Access(settings) as access:
        state = survey(settings.nodes, access)
        problems = list(_of_silence(path, settings, state))
        if state.denied is not None:
            at = f"{path}.credentials"
            return [*problems, Problem(at, state.denied.removeprefix(f"{at}: "))]
        if not state.datacenters:
            return [*problems, Outage.of(settings.name)]
        answers: list[_Answer] = []
        for node in state.nodes:
            if node.address in settings.nodes and not node.reason:
                try:
                    answers.append(_ask(node.address, access, wall_s))
                except (Unanswered, Denied) as error:
                    problems.append(Problem(f"{path}.nodes", f"{error}."))
                except (DriverException, ErrorMessage) as error:
                    said = server_words(error)
                    problems.append(Problem(f"{path}.nodes", f"{node.address} refuses to tell of itself ({said})."))
    problems.extend(_of_clusters(path, answers))
    problems.extend(_of_versions(path, state))
    problems.extend(_of_schemas(path, state))
    problems.extend(_of_clocks(path, answers))
    problems.extend(_of_datacenters(path, settings, state))
    problems.extend(_of_keyspaces(path, settings, state))
    return problems


def silent(settings: CassandraSettings, addresses: Sequence[str]) -> dict[str, str]:
    """Those of these nodes that do not answer now, each with the end of a sentence on why; all are asked at once.

    The driver takes a node for up until a call or a heartbeat has failed there, so a frozen one is not seen at once.

    Raises:
        ConfigurationError: The settings of encryption cannot be used.
    """
    with Access(settings) as access:
        greeted = access.greet(addresses)
    return {address: silence.reason for address, silence in greeted.items() if silence is not None}


def _ask(address: str, access: Access, wall_s: Callable[[], float]) -> _Answer:
    access.run(address, _WHO)  # opens the connection, so that the next question measures nothing but itself
    began_s = wall_s()
    (row,) = access.run(address, _WHO)
    ended_s = wall_s()
    there_s = unix_time_from_uuid1(row["now"])
    ahead_s = there_s - ended_s if there_s > ended_s else min(there_s - began_s, 0.0)
    return _Answer(address=address, cluster=str(row["cluster_name"]), ahead_s=ahead_s)


def _of_silence(path: str, settings: CassandraSettings, state: State) -> Iterator[Problem]:
    for node in state.nodes:
        if not node.reason:
            continue
        if node.address in settings.nodes:
            yield Problem(f"{path}.nodes", f"{node.address} {node.reason}. Start the node, or correct its address.")
        else:
            yield Problem(
                f"{path}.nodes",
                f"the cluster has a node {node.address} in {node.datacenter}, which applications here use too, and it "
                f"{node.reason}. Start it, or let it be reached from here.",
            )


def _of_clusters(path: str, answers: Sequence[_Answer]) -> Iterator[Problem]:
    names = sorted({answer.cluster for answer in answers})
    if len(names) > 1:
        told = ", ".join(f"{answer.address} to {answer.cluster!r}" for answer in answers)
        yield Problem(f"{path}.nodes", f"the nodes belong to different clusters: {told}. Name those of one.")


def _of_versions(path: str, state: State) -> Iterator[Problem]:
    found: dict[str, list[str]] = {}
    for node in state.nodes:
        if node.version is not None:
            found.setdefault(node.version, []).append(node.address)
    if len(found) > 1:
        told = "; ".join(f"{version} on {listed(found[version])}" for version in sorted(found))
        yield Problem(
            f"{path}.nodes",
            f"the nodes run different versions: {told}. Bring all to one, and change no schema before.",
        )


def _of_schemas(path: str, state: State) -> Iterator[Problem]:
    schemas = state.schemas()
    if len(schemas) > 1:
        told = "; ".join(listed(nodes) for nodes in schemas.values())
        yield Problem(
            f"{path}.nodes",
            f"the nodes have {len(schemas)} versions of the schema ({told}) and do not come to agree. Look at "
            "`nodetool describecluster`, and restart the one that stays behind.",
        )


def _of_clocks(path: str, answers: Sequence[_Answer]) -> Iterator[Problem]:
    for answer in answers:
        if abs(answer.ahead_s) > SKEW_S:
            where = "ahead of" if answer.ahead_s > 0 else "behind"
            yield Problem(
                f"{path}.nodes",
                f"the clock of {answer.address} is {abs(answer.ahead_s):.1f} s {where} the one here, and clocks decide "
                "which of two writes is the newer. Keep both right with NTP.",
            )


def _of_datacenters(path: str, settings: CassandraSettings, state: State) -> Iterator[Problem]:
    there = state.datacenters
    given = [("local_datacenter", settings.local_datacenter)]
    given += [(f"remote_datacenters.{name}", name) for name in settings.remote_datacenters]
    for key, name in given:
        if name is not None and name not in there:
            yield Problem(
                f"{path}.{key}",
                f"there is no datacenter {name!r}; {near(name, there)}The nodes stand in {listed(there)}.",
            )
    if settings.local_datacenter is None and len(there) > 1:
        yield Problem(
            f"{path}.local_datacenter",
            f"is not set, and the nodes stand in {listed(there)}: which of them is asked depends on the node that "
            "answers first. Say which one is home.",
        )


def _of_keyspaces(path: str, settings: CassandraSettings, state: State) -> Iterator[Problem]:
    wanted = wanted_of(settings)
    named = dict.fromkeys([*(each.name for each in wanted.keyspaces), *filter(None, [settings.keyspace])])
    known = [name for name in state.keyspaces if not name.startswith("system")]
    for name in named:
        at = f"{path}.keyspace" if name == settings.keyspace else f"{path}.provision.keyspaces.{name}"
        if name not in state.keyspaces:
            remedy = f"Run `undaunted provision {settings.name} --apply`, or correct the name."
            yield Problem(at, f"there is no keyspace {name!r}; {near(name, known)}{remedy}")
            continue
        for weakness in weaknesses(state.keyspaces[name], state, use_of(settings)):
            yield Problem(f"{path}.{weakness.setting}", weakness.sentence)
    for step in plan(wanted, state, force=True).steps if wanted.keyspaces else ():
        if isinstance(step, Alter):
            at = f"{path}.provision.keyspaces.{step.to.name}"
            differs = ", ".join(differences(step.was, step.to))
            yield Problem(at, f"is not yet so on the nodes ({differs}). Run `undaunted provision {settings.name}`.")
    yield from _of_logins(path, settings, state)


def _of_logins(path: str, settings: CassandraSettings, state: State) -> Iterator[Problem]:
    """Cassandra keeps its users in a keyspace that has one replica unless somebody has changed that."""
    users = state.keyspaces.get("system_auth")
    if settings.credentials.username and users is not None and users.total == 1 and len(state.nodes) > 1:
        yield Problem(
            f"{path}.credentials",
            "keyspace system_auth has one replica: while its node is down, nobody can log in. Add it to "
            "provision.keyspaces with a factor of 3, and run `undaunted provision`.",
        )
