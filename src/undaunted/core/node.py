"""One server of a cluster, as it is known at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Node", "Role"]

Role = Literal["primary", "secondary", "replica", "arbiter", "unknown"]
"""What a node does now; ``"unknown"`` while it cannot be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One server.

    Attributes:
        address: ``"host:port"``, as the cluster itself names it.
        role: What it does now.
        datacenter: Where it stands; None where the backend has no such notion.
    """

    address: str
    role: Role = "unknown"
    datacenter: str | None = None
