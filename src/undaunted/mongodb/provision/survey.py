"""Reads the state of a replica set and of the nodes that are to be in it. Changes nothing."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pymongo.errors import OperationFailure, PyMongoError

from undaunted.core.clock import SYSTEM_CLOCK
from undaunted.mongodb.provision.access import DENIED, denial, refused_command, silence
from undaunted.mongodb.provision.rules import majority
from undaunted.mongodb.provision.state import Kind, Member, Node, ReplicaSet, State, Wanted
from undaunted.mongodb.provision.steps import address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from undaunted.core.clock import Clock
    from undaunted.mongodb.provision.access import Access

__all__ = ["survey"]

Document: TypeAlias = dict[str, Any]

_NOT_INITIATED = 94
_NO_SUCH_COMMAND = 59
_POLL_S = 0.25
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    node: Node
    hello: Document
    config: Document | None = None


def survey(wanted: Wanted, access: Access, *, patience_s: float = 15.0, clock: Clock = SYSTEM_CLOCK) -> State:
    """Ask every wanted node, and every member that they name.

    Args:
        wanted: What the settings ask for.
        access: Opens connections.
        patience_s: How long a set without a primary is given to elect one, if a majority of its voters is up. Default
            15 s: MongoDB's own election timeout is 10 s.
        clock: Tells the time.

    Raises:
        ConfigurationError: pymongo refuses the settings.
    """
    deadline_s = clock.monotonic() + patience_s
    while True:
        answers = _ask([member.address for member in wanted.members], access)
        config = _config(answers.values(), wanted.name)
        if config is None:
            return State(nodes={address: answer.node for address, answer in answers.items()})
        hosts = [address_of(member["host"]) for member in config["members"]]
        answers |= _ask([address for address in hosts if address not in answers], access)
        config = _config(answers.values(), str(config["_id"])) or config
        current = _replica_set(config, answers, access)
        if current.primary is not None or clock.monotonic() > deadline_s or not _may_elect(current):
            return State(nodes={address: answer.node for address, answer in answers.items()}, current=current)
        time.sleep(_POLL_S)


def _may_elect(current: ReplicaSet) -> bool:
    voters = [member for member in current.members if member.votes]
    return sum(member.is_heard for member in voters) >= majority(len(voters))


def _ask(addresses: Sequence[str], access: Access) -> dict[str, _Answer]:
    """Everybody's ``hello`` at once; then the rest one by one, members first, with one try of a wrong password."""
    if not addresses:
        return {}
    with ThreadPoolExecutor(min(_AT_ONCE, len(addresses)), thread_name_prefix="undaunted-provision") as pool:
        greeted = list(pool.map(lambda address: _greet(address, access), addresses))
    found: dict[str, _Answer] = {}
    refused: str | None = None
    for answer in sorted(greeted, key=lambda one: one.node.kind is not Kind.MEMBER):
        told = _tell(answer, access, refused=refused)
        if told.node.denied is not None:
            refused = told.node.denied
        found[answer.node.address] = told
    return found


def _greet(address: str, access: Access) -> _Answer:
    try:
        hello = access.hello(address)
    except PyMongoError as error:
        return _Answer(node=Node(address=address, kind=Kind.SILENT, reason=silence(error)), hello={})
    if hello.get("msg") == "isdbgrid":
        return _Answer(node=Node(address=address, kind=Kind.ROUTER), hello=hello)
    if hello.get("setName"):
        known_as = address_of(hello["me"]) if "me" in hello else None
        leads = bool(hello.get("isWritablePrimary"))
        name = str(hello["setName"])
        node = Node(address=address, kind=Kind.MEMBER, set_name=name, known_as=known_as, is_primary=leads)
        return _Answer(node=node, hello=hello)
    return _Answer(
        node=Node(address=address, kind=Kind.BLANK if hello.get("isreplicaset") else Kind.STANDALONE), hello=hello
    )


def _tell(answer: _Answer, access: Access, *, refused: str | None) -> _Answer:
    """The same with what a node tells only to a user."""
    node = answer.node
    if node.kind is Kind.MEMBER:
        if access.has_login and not (node.is_primary or answer.hello.get("secondary")):
            return answer  # an arbiter, or one that has not caught up, knows no users, so nobody can log in there
        if refused is not None:
            return replace(answer, node=replace(node, denied=refused))
        return _of_member(answer, access)
    if node.kind is Kind.BLANK:
        return _of_blank(answer, access, login=refused is None)
    return answer


def _of_member(answer: _Answer, access: Access) -> _Answer:
    node = answer.node
    try:
        config = _read_config(node.address, access, login=True)
    except OperationFailure as error:
        if error.code not in DENIED:
            raise refused_command(node.address, error) from error
        return replace(answer, node=replace(node, denied=denial(error, access.user)))
    except PyMongoError as error:
        return _Answer(node=Node(address=node.address, kind=Kind.SILENT, reason=silence(error)), hello={})
    return replace(answer, node=replace(node, set_id=_set_id(config)), config=config)


def _of_blank(answer: _Answer, access: Access, *, login: bool) -> _Answer:
    """A node that belongs to no set, or was removed from one. It knows no users of a set that it is not yet in."""
    node = answer.node
    for with_login in (True, False) if login and access.has_login else (False,):
        try:
            config = _read_config(node.address, access, login=with_login)
            started_for = _started_for(node.address, access, login=with_login)
            stats = access.run(node.address, {"serverStatus": 1, "catalogStats": 1}, login=with_login)
        except OperationFailure as error:
            if error.code not in DENIED:
                raise refused_command(node.address, error) from error
            continue
        except PyMongoError as error:
            return _Answer(node=Node(address=node.address, kind=Kind.SILENT, reason=silence(error)), hello={})
        counted = stats.get("catalogStats", {}).get("collections")
        told = replace(
            node,
            set_id=_set_id(config),
            set_name=str(config["_id"]) if config is not None else started_for,
            holds_data=None if counted is None else bool(counted),
        )
        # What a removed node remembers is not the set's configuration of now, so it is not handed on.
        return replace(answer, node=told)
    return answer


def _read_config(address: str, access: Access, *, login: bool) -> Document | None:
    try:
        found: Document = access.run(address, {"replSetGetConfig": 1}, login=login)["config"]
    except OperationFailure as error:
        if error.code == _NOT_INITIATED:
            return None
        raise
    return found


def _started_for(address: str, access: Access, *, login: bool) -> str | None:
    replication = access.run(address, {"getCmdLineOpts": 1}, login=login)["parsed"].get("replication", {})
    name = replication.get("replSet") or replication.get("replSetName")
    return None if name is None else str(name).partition("/")[0]


def _set_id(config: Document | None) -> str | None:
    found = (config or {}).get("settings", {}).get("replicaSetId")
    return None if found is None else str(found)


# -- the set that they are in ------------------------------------------------------------------------


def _config(answers: Iterable[_Answer], name: str | None) -> Document | None:
    """The configuration of the set that is meant: its primary's, else the newest of whoever has one."""
    known = [a for a in answers if a.config is not None and (name is None or a.config["_id"] == name)]
    if name is None and len({answer.node.set_name for answer in known}) > 1:
        return None
    if not known:
        return None
    return max(known, key=_authority).config


def _authority(answer: _Answer) -> tuple[bool, int, int]:
    config = answer.config or {}
    return answer.node.is_primary, config.get("term", 0), config["version"]


def _replica_set(config: Document, answers: Mapping[str, _Answer], access: Access) -> ReplicaSet:
    set_id = _set_id(config)
    hosts = [address_of(member["host"]) for member in config["members"]]
    leads = [a for a in (answers[host] for host in hosts) if a.node.is_primary and a.node.set_id == set_id]
    # A primary that was frozen or cut off may still call itself one; the one elected last is.
    primary = max(leads, key=lambda answer: str(answer.hello.get("electionId", ""))).node.address if leads else None
    conditions = {host: _heard(answers[host]) for host in hosts}
    concern: tuple[str | None, bool] = (None, False)
    if primary is not None:
        try:
            conditions |= _conditions(primary, access)
            concern = _write_concern(primary, access)
        except OperationFailure as error:
            raise refused_command(primary, error, access.user) from error
        except PyMongoError:  # it has just gone or stepped down; the next look finds another one
            primary = None
    return ReplicaSet(
        name=str(config["_id"]),
        set_id=set_id,
        primary=primary,
        members=tuple(_member(member, conditions) for member in config["members"]),
        write_concern=concern[0],
        has_chosen_concern=concern[1],
    )


def _heard(answer: _Answer) -> str:
    """The condition of a member by its own word."""
    if answer.node.kind is not Kind.MEMBER:
        return "out of reach"
    if answer.node.is_primary:
        return "PRIMARY"
    if answer.hello.get("arbiterOnly"):
        return "ARBITER"
    return "SECONDARY" if answer.hello.get("secondary") else "RECOVERING"


def _conditions(primary: str, access: Access) -> dict[str, str]:
    """The condition of every member by the primary's word."""
    status = access.run(primary, {"replSetGetStatus": 1})
    return {
        address_of(member["name"]): str(member["stateStr"]) if member["health"] else "out of reach"
        for member in status["members"]
    }


def _write_concern(primary: str, access: Access) -> tuple[str | None, bool]:
    try:
        found = access.run(primary, {"getDefaultRWConcern": 1})
    except OperationFailure as error:
        if error.code == _NO_SUCH_COMMAND:  # before MongoDB 4.4
            return None, False
        raise
    concern = found.get("defaultWriteConcern", {}).get("w", 1)
    # MongoDB 4.4 tells no source; it has no implicit default either, so a default that is there has been set.
    source = found.get("defaultWriteConcernSource", "global" if "defaultWriteConcern" in found else "implicit")
    return str(concern), source == "global"


def _member(found: Document, conditions: Mapping[str, str]) -> Member:
    address = address_of(found["host"])
    delay_s = found.get("secondaryDelaySecs", found.get("slaveDelay", 0))
    return Member(
        address=address,
        votes=int(found.get("votes", 1)),
        priority=float(found.get("priority", 1)),
        arbiter=bool(found.get("arbiterOnly")),
        hidden=bool(found.get("hidden")),
        condition=conditions.get(address, "out of reach"),
        can_lead=not delay_s and bool(found.get("buildIndexes", True)),
    )
