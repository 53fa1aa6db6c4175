"""What is wanted of a replica set, and what was found: plain values that the planner compares."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Kind", "Member", "Node", "Placement", "ReplicaSet", "State", "Wanted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How one member stands in the replica set.

    Attributes:
        address: Its address, ``"host:port"`` in lower case.
        votes: 0 or 1.
        priority: How much it is preferred as primary; 0 never.
        arbiter: Whether it votes and holds no data.
        hidden: Whether applications do not see it.
    """

    address: str
    votes: int = 1
    priority: float = 1.0
    arbiter: bool = False
    hidden: bool = False

    @property
    def is_electable(self) -> bool:
        """Whether it may become primary."""
        return self.priority > 0 and self.votes > 0 and not self.arbiter

    def said(self) -> str:
        """What is said of it, such as ``"votes 1, priority 2"``."""
        if self.arbiter:
            return "arbiter, votes 1"
        return f"votes {self.votes}, priority {self.priority:g}{', hidden' if self.hidden else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The replica set that the settings ask for.

    Attributes:
        cluster: Name of the cluster in the settings.
        name: Name of the replica set; None when the settings leave it to the nodes.
        members: Every member, in the order of the settings.
    """

    cluster: str
    name: str | None
    members: tuple[Placement, ...]

    def member(self, address: str) -> Placement | None:
        """The member with this address, if it is wanted."""
        return next((member for member in self.members if member.address == address), None)


class Kind(enum.Enum):
    """What a node turned out to be."""

    SILENT = "out of reach"
    STANDALONE = "a standalone server"
    ROUTER = "a mongos router"
    BLANK = "a server that waits to be taken into a replica set"
    MEMBER = "a member of a replica set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What one node said when it was asked directly.

    Attributes:
        address: The address it was asked at.
        kind: What it is.
        reason: Why it gave no answer; empty when it gave one.
        denied: Why it tells nothing to our user; None when it did, or when nobody had to ask.
        set_name: Name of its replica set; of a blank node the one it was started with, None when unknown.
        set_id: Identity of the replica set whose configuration it holds, None when it holds none or was not asked.
        known_as: Its own address in that configuration.
        holds_data: Whether it has collections of users; None when it could not be asked.
        is_primary: Whether it takes writes.
    """

    address: str
    kind: Kind
    reason: str = ""
    denied: str | None = None
    set_name: str | None = None
    set_id: str | None = None
    known_as: str | None = None
    holds_data: bool | None = None
    is_primary: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Placement):
    """A member as it stands in the configuration now.

    Attributes:
        condition: What the set says of it, such as ``"SECONDARY"``; ``"out of reach"`` when it does not hear of it.
        can_lead: False for a member that MongoDB bars from being primary (delayed, or without indexes).
    """

    condition: str = "SECONDARY"
    can_lead: bool = True

    @property
    def is_up(self) -> bool:
        """Whether it votes and confirms writes now."""
        return self.condition in {"PRIMARY", "SECONDARY", "ARBITER"}

    @property
    def is_heard(self) -> bool:
        """Whether the set hears of it, be it still copying data."""
        return self.condition != "out of reach"

    @property
    def placement(self) -> Placement:
        """How it stands, without its condition."""
        return Placement(
            address=self.address,
            votes=self.votes,
            priority=self.priority,
            arbiter=self.arbiter,
            hidden=self.hidden,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSet:
    """A replica set that exists.

    Attributes:
        name: Its name.
        set_id: Its identity, which two sets of one name do not share.
        primary: Address of its primary; None when it has none.
        members: Its members.
        write_concern: The ``w`` of its default write concern, as text; None when the server has no such default.
        has_chosen_concern: Whether somebody has set that default; else MongoDB works it out from the members.
    """

    name: str
    set_id: str | None
    primary: str | None
    members: tuple[Member, ...]
    write_concern: str | None = "majority"
    has_chosen_concern: bool = False

    def member(self, address: str) -> Member | None:
        """The member with this address, if there is one."""
        return next((member for member in self.members if member.address == address), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that was found.

    Attributes:
        nodes: What each node said, by address: every wanted one and every member.
        current: The replica set that exists, or None.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict[str, Node])
    current: ReplicaSet | None = None
