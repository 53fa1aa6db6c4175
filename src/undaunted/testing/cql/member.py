"""What the members of the cluster know of each other."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

__all__ = ["Member", "ring"]


@dataclass(slots=True, kw_only=True)
class Member:
    """One node, as the tables of the system show it.

    Attributes:
        number: From 1.
        address: On loopback.
        port: Of the native protocol; the same for all.
        datacenter: Where it stands.
        token: The end of its range of the ring.
        protocol: The greatest version that it speaks.
        release_version: The server that it says to be.
        cluster_name: Of the whole.
        schema_version: Of the schema that it has seen.
        alive: Whether the other nodes think it alive.
    """

    number: int
    address: str
    port: int
    datacenter: str
    token: int
    protocol: int
    release_version: str
    cluster_name: str
    schema_version: uuid.UUID
    alive: bool = True
    host_id: uuid.UUID = field(default_factory=uuid.uuid4)


def ring(count: int) -> list[int]:
    """One token a node, at equal distances over the whole ring."""
    return [-(1 << 63) + 1 + place * ((1 << 64) // count) for place in range(count)]
