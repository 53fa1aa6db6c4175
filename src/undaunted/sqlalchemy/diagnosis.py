"""What stands between a cluster and its calls, in sentences that say what to do, from what was seen of its nodes.

Asks nothing: `undaunted.sqlalchemy.check` asks, and the monitors do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.errors import Problem
from undaunted.sqlalchemy.errors import CredentialsRefused, UnusableCluster
from undaunted.sqlalchemy.faults import CREDENTIALS
from undaunted.sqlalchemy.versions import OLDEST_SERVER, server_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.sqlalchemy.sights import Sight

__all__ = ["diagnose", "fatal", "problems_of", "refusal", "refused"]

_NO_DATABASE = "3D000"
_FOR_GOOD = CREDENTIALS | {_NO_DATABASE}
"""Refusals that no waiting will end."""


def refused(cluster: str, address: str, code: str) -> Problem:
    """That a node refuses to be connected to, with this SQLSTATE."""
    if code in CREDENTIALS:
        sentence = f"{address} refuses its user or password ({code}). Correct them, or the node's pg_hba.conf."
        return Problem(f"clusters.{cluster}.url", sentence)
    if code == _NO_DATABASE:
        sentence = f"{address} has no database of that name ({code}). Create it, or correct the name."
        return Problem(f"clusters.{cluster}.url", sentence)
    return Problem(f"clusters.{cluster}.nodes", f"{address} refuses connections ({code}). Look into its log.")


def refusal(cluster: str, address: str, code: str) -> Exception | None:
    """What to raise where a node refuses with this SQLSTATE; None where another try may do."""
    if code not in _FOR_GOOD:
        return None
    kind = CredentialsRefused if code in CREDENTIALS else UnusableCluster
    return kind(str(refused(cluster, address, code)))


def fatal(cluster: str, sights: Sequence[Sight], *, identity: int | None, address: str | None) -> Exception | None:
    """What to raise where no waiting will help, for one node or for the primary; None where it may.

    Args:
        cluster: The cluster's name.
        sights: Every node as it was last seen.
        identity: The system identifier of the cluster, once it is known.
        address: The node that is wanted; None for the one that takes writes.
    """
    if address is None:
        claimants = [sight for sight in sights if sight.role == "primary"]
        if identity is None and len({sight.system_identifier for sight in claimants}) > 1:
            return UnusableCluster(str(_foreign(cluster, claimants)))
    concerned = [sight for sight in sights if address in (None, sight.address)]
    # While another node can be used, one that is not what it should be does not stand in the way of the cluster.
    if any(sight.is_up for sight in concerned):
        return None
    for sight in concerned:
        if sight.error == "too old":
            return UnusableCluster(str(_too_old(cluster, sight)))
        error = None if sight.error is None else refusal(cluster, sight.address, sight.error)
        if error is not None:
            return error
    return None


def diagnose(cluster: str, sights: Sequence[Sight], *, primary: str | None, newest: int) -> str | None:
    """Why calls do not get on, in a sentence or two; None where nothing can be seen.

    Args:
        cluster: The cluster's name.
        sights: Every node as it was last seen.
        primary: The node that takes writes.
        newest: The newest timeline that was ever seen.
    """
    for sight in sights:
        if sight.address == primary:
            return str(_no_standby(cluster, sight)) if sight.waits_for_standby else None
    if all(sight.error is None and not sight.is_up for sight in sights):
        return None
    contested = _contested(cluster, sights)
    return str(contested or _no_primary(cluster, sights, newest))


def problems_of(cluster: str, sights: Sequence[Sight]) -> list[Problem]:
    """What is wrong with nodes that have all been asked; one that gave no answer is for the caller to tell of."""
    up = [sight for sight in sights if sight.is_up]
    problems = [_too_old(cluster, sight) for sight in up if (sight.server_version or OLDEST_SERVER) < OLDEST_SERVER]
    if len({sight.system_identifier for sight in up} - {None}) > 1:
        return [*problems, _foreign(cluster, up)]
    newest = max((sight.timeline or 0 for sight in up), default=0)
    claimants = [sight for sight in up if sight.role == "primary"]
    contested = _contested(cluster, up)
    if contested is not None:
        problems.append(contested)
    elif up and not any(sight.timeline == newest for sight in claimants):
        problems.append(_no_primary(cluster, sights, newest))
    for sight in claimants:
        if (sight.timeline or 0) < newest:
            sentence = (
                f"{sight.address} takes writes on timeline {sight.timeline}, and another node has gone on to {newest}: "
                "what it is given is lost. Stop it, and bring it back as a standby (pg_rewind)."
            )
            problems.append(Problem(f"clusters.{cluster}.nodes", sentence))
        elif sight.waits_for_standby:
            problems.append(_no_standby(cluster, sight))
    return problems


def _foreign(cluster: str, sights: Sequence[Sight]) -> Problem:
    told = ", ".join(f"{sight.address} to {sight.system_identifier}" for sight in sights)
    sentence = f"the nodes belong to different clusters, by their system identifiers ({told}). Name those of one."
    return Problem(f"clusters.{cluster}.nodes", sentence)


def _too_old(cluster: str, sight: Sight) -> Problem:
    version = server_text(sight.server_version or 0)
    sentence = (
        f"{sight.address} runs PostgreSQL {version}, and {OLDEST_SERVER // 10000} or later is needed. Upgrade it."
    )
    return Problem(f"clusters.{cluster}.nodes", sentence)


def _no_standby(cluster: str, sight: Sight) -> Problem:
    sentence = (
        f"every COMMIT on {sight.address} waits for a standby that its synchronous_standby_names wants, and none "
        "follows it. Start that standby, or take it out of synchronous_standby_names."
    )
    return Problem(f"clusters.{cluster}.nodes", sentence)


def _contested(cluster: str, sights: Sequence[Sight]) -> Problem | None:
    """That two nodes take writes, and neither is known to be right."""
    claimants = [sight for sight in sights if sight.role == "primary"]
    if len(claimants) < 2 or len({sight.timeline for sight in claimants}) > 1:
        return None
    told = " and ".join(sight.address for sight in claimants)
    sentence = f"{told} take writes on the same timeline, so it cannot be told which is right. Stop the wrong one."
    return Problem(f"clusters.{cluster}.nodes", sentence)


def _no_primary(cluster: str, sights: Sequence[Sight], newest: int) -> Problem:
    if len(sights) == 1 and sights[0].role == "replica":
        sentence = f"{sights[0].address}, the only one, is a standby and takes no writes. Name the primary, too."
    else:
        told = "; ".join(_seen(sight, newest) for sight in sights)
        sentence = (
            f"no node takes writes ({told}). Promote a standby, start the primary, or name it, if it is not here."
        )
    return Problem(f"clusters.{cluster}.nodes", sentence)


def _seen(sight: Sight, newest: int) -> str:
    if sight.role == "replica":
        return f"{sight.address} is a standby"
    if sight.role == "primary":
        return f"{sight.address} was replaced: its timeline is {sight.timeline}, the newest {newest}"
    if sight.error is None:
        return f"{sight.address} was not asked yet"
    words = {
        "Silent": "does not answer",
        "Refused": "cannot be reached",
        "57P03": "is starting or stopping",
        "another cluster": "belongs to another cluster",
        "too old": "is too old",
    }
    return f"{sight.address} {words.get(sight.error, f'refuses ({sight.error})')}"
