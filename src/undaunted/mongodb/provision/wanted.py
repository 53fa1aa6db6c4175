"""From the settings of a cluster to the members that are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.mongodb.provision.state import Placement, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.config import MongoDBSettings

__all__ = ["wanted_of"]


def wanted_of(settings: MongoDBSettings, *, seeds: Sequence[str] = (), replica_set: str | None = None) -> Wanted:
    """The replica set that a cluster's settings ask for: every node, and every member of ``provision.members``.

    Args:
        settings: The cluster's settings.
        seeds: The nodes, where the settings leave them to a DNS record.
        replica_set: Its name, where the settings leave it to the same.
    """
    special = settings.provision.members
    addresses = dict.fromkeys([*(settings.nodes or seeds), *special])
    members: list[Placement] = []
    for address in addresses:
        given = special.get(address)
        if given is None:
            members.append(Placement(address=address))
            continue
        members.append(
            Placement(
                address=address,
                votes=given.votes,
                priority=float(given.effective_priority),
                arbiter=given.arbiter,
                hidden=given.hidden,
            )
        )
    return Wanted(cluster=settings.name, name=settings.replica_set or replica_set, members=tuple(members))
