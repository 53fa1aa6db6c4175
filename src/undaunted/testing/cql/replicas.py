"""Which nodes hold a partition, and whether enough of them are alive for a consistency.

The store is one and always whole, so that this alone makes a consistency matter: as a real coordinator does, a node
refuses with `Unavailable` what too few replicas are alive for. A frozen node counts as alive, as it does on real
servers until gossip has convicted it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from undaunted.testing.cql.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from undaunted.testing.cql.member import Member

__all__ = ["check", "replicas"]

_FIXED = {"ANY": 0, "ONE": 1, "TWO": 2, "THREE": 3, "LOCAL_ONE": 1}


def replicas(replication: Mapping[str, str], token: int, members: Sequence[Member]) -> list[Member]:
    """The nodes that hold a token, the first replica first."""
    by_token = sorted(members, key=lambda member: member.token)
    start = next((place for place, member in enumerate(by_token) if member.token >= token), 0)
    clockwise = by_token[start:] + by_token[:start]
    if replication["class"].endswith("SimpleStrategy"):
        return clockwise[: int(replication["replication_factor"])]
    left = Counter({home: _factor(replication, home) for home in {member.datacenter for member in members}})
    found: list[Member] = []
    for member in clockwise:
        if left[member.datacenter] > 0:
            left[member.datacenter] -= 1
            found.append(member)
    return found


def _factor(replication: Mapping[str, str], home: str) -> int:
    return int(replication.get(home, replication.get("replication_factor", 0)))


def check(
    consistency: str,
    replication: Mapping[str, str],
    tokens: Sequence[int],
    members: Sequence[Member],
    home: str,
) -> None:
    """Refuse what too few replicas are alive for.

    Args:
        consistency: That was asked for.
        replication: Of the keyspace.
        tokens: Of the partitions.
        members: All nodes.
        home: The datacenter of the coordinator.

    Raises:
        Unavailable: For one of the partitions.
    """
    factors = _factors(replication, members)
    for token in tokens:
        held = replicas(replication, token, members)
        for required, counted in _required(consistency, factors, held, home):
            alive = sum(member.alive for member in counted)
            if alive < required:
                said = f"Cannot achieve consistency level {consistency}"
                raise Unavailable(said, consistency=consistency, required=required, alive=alive)


def _factors(replication: Mapping[str, str], members: Sequence[Member]) -> dict[str, int]:
    """Replicas by datacenter, as declared; under the empty name their sum."""
    if replication["class"].endswith("SimpleStrategy"):
        return {"": int(replication["replication_factor"])}
    factors = {home: _factor(replication, home) for home in {member.datacenter for member in members}}
    return {**factors, "": sum(factors.values())}


def _required(
    consistency: str,
    factors: Mapping[str, int],
    held: Sequence[Member],
    home: str,
) -> list[tuple[int, Sequence[Member]]]:
    """How many of which replicas."""
    local = [member for member in held if member.datacenter == home]
    total = factors[""]
    if consistency in _FIXED:
        return [(_FIXED[consistency], local if consistency == "LOCAL_ONE" else held)]
    if consistency == "ALL":
        return [(total, held)]
    if consistency in {"LOCAL_QUORUM", "LOCAL_SERIAL"}:
        return [((total if len(factors) == 1 else factors.get(home, 0)) // 2 + 1, local)]
    if consistency == "EACH_QUORUM" and len(factors) > 1:
        return [
            (factor // 2 + 1, [member for member in held if member.datacenter == each])
            for each, factor in sorted(factors.items())
            if each and factor
        ]
    return [(total // 2 + 1, held)]
