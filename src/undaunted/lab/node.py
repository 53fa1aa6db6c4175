"""One server of a lab, as its user sees it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undaunted.lab.verbs import Verbs

__all__ = ["LabNode", "State"]


class State(str, Enum):
    """What a node's process does; equal to its plain word, so ``node.state == "down"`` holds."""

    UP = "up"
    SLOW = "slow"
    FROZEN = "frozen"
    DOWN = "down"

    def __str__(self) -> str:
        return self.value


class LabNode:
    """A node: its name and address stay the same for the life of the lab; its state and role are asked for afresh.

    Attributes:
        name: ``"n1"``, ``"n2"``, ...
        host: The address it listens on.
        port: The port it listens on.
        is_arbiter: Whether it only votes.
        datacenter: The datacenter that it belongs to; None where the database knows none.
    """

    __slots__ = ("_lab", "datacenter", "host", "is_arbiter", "name", "port")

    def __init__(
        self,
        lab: Verbs,
        *,
        name: str,
        host: str,
        port: int,
        is_arbiter: bool = False,
        datacenter: str | None = None,
    ) -> None:
        self._lab = lab
        self.name = name
        self.host = host
        self.port = port
        self.is_arbiter = is_arbiter
        self.datacenter = datacenter

    def record(self) -> dict[str, Any]:
        """What another process needs to make this node again."""
        return {
            "name": self.name,
            "host": self.host,
            "port": self.port,
            "is_arbiter": self.is_arbiter,
            "datacenter": self.datacenter,
        }

    @property
    def address(self) -> str:
        """``"host:port"``."""
        return f"{self.host}:{self.port}"

    @property
    def state(self) -> State:
        """``"up"``, ``"slow"``, ``"frozen"`` or ``"down"``: what its process does now."""
        return self._lab.state(self)

    @property
    def role(self) -> str:
        """What it says it is; ``"unknown"`` while it does not say.

        MongoDB: ``"primary"``, ``"secondary"``, ``"arbiter"``, ``"standalone"``. Cassandra: ``"replica"``. PostgreSQL:
        ``"primary"``, ``"replica"``.
        """
        return self._lab.role(self)

    @property
    def pid(self) -> int | None:
        """The process id, or None while it is down."""
        return self._lab.pid(self)

    def __repr__(self) -> str:
        return f"<LabNode {self.name} {self.address}>"
