"""Why no node can serve a call, in a sentence or two, from what the monitors have seen; asks nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.sqlalchemy.errors import CredentialsRefused, UnusableCluster
from undaunted.sqlalchemy.faults import CREDENTIALS
from undaunted.sqlalchemy.versions import OLDEST_SERVER, server_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.sqlalchemy.sights import Sight

__all__ = ["diagnose", "fatal", "foreign_told", "no_standby_told", "refusal", "too_old_told"]

_NO_DATABASE = "3D000"


def refusal(cluster: str, address: str, code: str) -> Exception | None:
    """What to raise where a node refuses with this SQLSTATE; None where another try may do."""
    if code in CREDENTIALS:
        return CredentialsRefused(
            f"clusters.{cluster}.url: {address} refuses its user or password ({code}). Correct them, or the node's "
            "pg_hba.conf; they are not tried again for this call."
        )
    if code == _NO_DATABASE:
        return UnusableCluster(
            f"clusters.{cluster}.url: {address} has no database of that name ({code}). Create it, or correct the name."
        )
    return None


def fatal(cluster: str, sights: Sequence[Sight], *, identity: int | None, address: str | None) -> Exception | None:
    """What to raise where no waiting will help, for one node or for the primary; None where it may.

    Args:
        cluster: The cluster's name.
        sights: Every node as it was last seen.
        identity: The system identifier of the cluster, once it is known.
        address: The node that is wanted; None for the one that takes writes.
    """
    concerned = [sight for sight in sights if address in (None, sight.address)]
    if any(sight.is_up for sight in concerned if address is not None or sight.role == "primary"):
        claimants = [sight for sight in sights if sight.role == "primary"]
        if identity is None and len({sight.system_identifier for sight in claimants}) > 1:
            return UnusableCluster(foreign_told(cluster, claimants))
        return None
    for sight in concerned:
        if sight.error == "too old":
            return UnusableCluster(too_old_told(cluster, sight.address, sight.server_version or 0))
        if sight.error is not None and not any(each.is_up for each in sights):
            error = refusal(cluster, sight.address, sight.error)
            if error is not None:
                return error
    return None


def foreign_told(cluster: str, sights: Sequence[Sight]) -> str:
    """That nodes do not belong together."""
    told = ", ".join(f"{sight.address} to {sight.system_identifier}" for sight in sights)
    return (
        f"clusters.{cluster}.nodes: the nodes belong to different clusters, by their system identifiers ({told}). Name "
        "those of one."
    )


def too_old_told(cluster: str, address: str, version: int) -> str:
    """That a server is too old."""
    return (
        f"clusters.{cluster}.nodes: {address} runs PostgreSQL {server_text(version)}, and {OLDEST_SERVER // 10000} or "
        "later is needed. Upgrade it."
    )


def no_standby_told(cluster: str, address: str) -> str:
    """That every COMMIT hangs."""
    return (
        f"clusters.{cluster}.nodes: every COMMIT on {address} waits for a standby that its synchronous_standby_names "
        "wants, and none follows it. Start that standby, or take it out of synchronous_standby_names."
    )


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
            return no_standby_told(cluster, sight.address) if sight.waits_for_standby else None
    claimants = [sight for sight in sights if sight.role == "primary"]
    if len(claimants) > 1 and len({sight.timeline for sight in claimants}) == 1:
        told = " and ".join(sight.address for sight in claimants)
        return (
            f"clusters.{cluster}.nodes: {told} both take writes on the same timeline, so it cannot be told which is "
            "right. Stop the wrong one."
        )
    if all(sight.error is None and not sight.is_up for sight in sights):
        return None
    told = "; ".join(_seen(sight, newest) for sight in sights)
    remedy = "promote one of them, or name the primary too" if any(s.role == "replica" for s in sights) else "start one"
    return f"clusters.{cluster}.nodes: no node takes writes ({told}); {remedy}. `undaunted check` tells more."


def _seen(sight: Sight, newest: int) -> str:
    if sight.role == "replica":
        return f"{sight.address} is a standby"
    if sight.role == "primary":
        return f"{sight.address} was replaced: its timeline is {sight.timeline}, the newest {newest}"
    if sight.error is None:
        return f"{sight.address} was not asked yet"
    words = {"Silent": "does not answer", "Refused": "cannot be reached", "57P03": "is starting or stopping"}
    return f"{sight.address} {words.get(sight.error, f'refuses ({sight.error})')}"
