"""The steps of a plan: frozen values that say what they do, and what they make of a replica set's configuration."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from undaunted.config.addresses import address as read_address

if TYPE_CHECKING:
    from undaunted.mongodb.provision.state import Placement

__all__ = [
    "Add",
    "Change",
    "Initiate",
    "Reconfiguration",
    "Remove",
    "SetDefaultWriteConcern",
    "Step",
    "StepDown",
    "address_of",
    "edited",
]

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Initiate:
    """Make a replica set out of nodes that belong to none."""

    kind: ClassVar[str] = "initiate"
    node: str
    name: str
    members: tuple[Placement, ...]

    def __str__(self) -> str:
        members = "; ".join(f"{member.address} ({member.said()})" for member in self.members)
        return f"initiate the replica set {self.name} on {self.node}: {members}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDefaultWriteConcern:
    """Say what a write waits for that names no write concern itself."""

    kind: ClassVar[str] = "set-default-write-concern"
    node: None = None

    def __str__(self) -> str:
        # Without it MongoDB 5.0 and newer take w: 1 in a set whose data-bearing voters are no more than a majority.
        return 'set the default write concern to w: "majority" (a set with an arbiter must say it, else w: 1 may hold)'


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Take a node in. One that holds data and is to vote gets its vote by a later `Change`, when it has caught up."""

    kind: ClassVar[str] = "add"
    member: Placement

    @property
    def node(self) -> str:
        """The node that is added."""
        return self.member.address

    def __str__(self) -> str:
        return f"add {self.node} ({self.member.said()}) and wait until it has caught up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Let a member stand otherwise."""

    kind: ClassVar[str] = "change"
    was: Placement
    to: Placement

    @property
    def node(self) -> str:
        """The node that is changed."""
        return self.to.address

    def __str__(self) -> str:
        names = [name for name in ("votes", "priority", "hidden") if getattr(self.was, name) != getattr(self.to, name)]
        said = (f"{name} {_said(getattr(self.was, name))} -> {_said(getattr(self.to, name))}" for name in names)
        return f"change {self.node}: {', '.join(said)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDown:
    """Let the primary hand over."""

    kind: ClassVar[str] = "step-down"
    node: str

    def __str__(self) -> str:
        return f"step {self.node} down and wait for another primary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Take a member out."""

    kind: ClassVar[str] = "remove"
    node: str

    def __str__(self) -> str:
        return f"remove {self.node}"


Reconfiguration: TypeAlias = Add | Change | Remove
Step: TypeAlias = Initiate | SetDefaultWriteConcern | StepDown | Reconfiguration


def address_of(host: str) -> str:
    """An address as a configuration has it, in the form that the settings have it."""
    try:
        return read_address(host, 27017)
    except ValueError:  # a form that MongoDB knows and the settings do not
        return host.lower()


def edited(config: Document, step: Reconfiguration) -> Document | None:
    """The configuration after a step, its version raised by one; None when it is so already.

    Raises:
        LookupError: The member that is to change is not there.
    """
    new = copy.deepcopy(config)
    members: list[Document] = new["members"]
    found = next((member for member in members if address_of(member["host"]) == step.node), None)
    if isinstance(step, Remove):
        if found is None:
            return None
        members.remove(found)
    elif isinstance(step, Add):
        if found is not None:
            return None
        members.append(document_of(step.member, _free_id(members)))
    elif found is None:
        raise LookupError(step.node)
    else:
        wanted = {"votes": step.to.votes, "priority": step.to.priority, "hidden": step.to.hidden}
        if all(found.get(name, 0) == value for name, value in wanted.items()):
            return None
        found.update(wanted)
    new["version"] = config["version"] + 1
    return new


def document_of(member: Placement, number: int) -> Document:
    """A member as a configuration has it."""
    return {
        "_id": number,
        "host": member.address,
        "arbiterOnly": member.arbiter,
        "hidden": member.hidden,
        "priority": member.priority,
        "votes": member.votes,
    }


def _free_id(members: list[Document]) -> int:
    """An id that no member has, rather one that none had: MongoDB takes 0 to 255."""
    taken = {int(member["_id"]) for member in members}
    following = max(taken, default=-1) + 1
    return following if following < 256 else next(number for number in range(256) if number not in taken)


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
