"""What is wrong between the settings of a cluster and the nodes that they name, in sentences that say what to do.

`check` asks every node by itself; `diagnose` only reads what the driver's monitors have seen, for an error that is
about to be raised and has no time left to ask.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure, PyMongoError

from undaunted.errors import Outage, Problem
from undaunted.mongodb import seams
from undaunted.mongodb.provision.access import DENIED, Access, denial, silence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.topology_description import TopologyDescription

    from undaunted.config import MongoDBSettings

__all__ = ["check", "diagnose"]


def check(settings: MongoDBSettings) -> list[Problem]:
    """Ask every node that the settings name, and log in once; changes nothing.

    Returns:
        Each mistake with the setting that it concerns; empty when applications will find what they need.

    Raises:
        ConfigurationError: pymongo is too old, or refuses the settings.
    """
    seams.check_driver()
    path = f"clusters.{settings.name}"
    with Access(settings) as access:
        addresses = settings.nodes or access.seeds
        greetings: dict[str, Mapping[str, Any]] = {}
        problems: list[Problem] = []
        for address in addresses:
            try:
                greetings[address] = access.hello(address)
            except PyMongoError as error:
                sentence = f"{address} {silence(error)}. Start the node, or correct its address."
                problems.append(Problem(f"{path}.nodes", sentence))
        if not greetings:
            problems.append(Outage.of(settings.name))
        problems.extend(_of_kinds(path, greetings))
        problems.extend(_of_names(path, greetings, settings.replica_set))
        problems.extend(_of_members(path, greetings))
        problems.extend(_of_primary(path, greetings, wanted=len(addresses)))
        problems.extend(_of_login(path, greetings, access))
    return problems


def _of_kinds(path: str, greetings: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    problems: list[Problem] = []
    for address, hello in greetings.items():
        if hello.get("setName") or hello.get("msg") == "isdbgrid":
            continue
        if hello.get("isreplicaset"):
            what = "waits to be taken into a replica set. Run `undaunted provision`."
        else:
            what = (
                "is a standalone server, which has no other node to fail over to. Start it with --replSet, then run "
                "`undaunted provision`."
            )
        problems.append(Problem(f"{path}.nodes", f"{address} {what}"))
    return problems


def _of_names(path: str, greetings: Mapping[str, Mapping[str, Any]], wanted: str | None) -> list[Problem]:
    names = {address: str(hello["setName"]) for address, hello in greetings.items() if hello.get("setName")}
    if wanted is not None:
        return [
            Problem(
                f"{path}.replica_set",
                f"is {wanted!r}, but {address} belongs to {name!r}, so it is not used. Correct the name, or the node.",
            )
            for address, name in names.items()
            if name != wanted
        ]
    if len(set(names.values())) > 1:
        told = ", ".join(f"{address} to {name!r}" for address, name in names.items())
        return [Problem(f"{path}.nodes", f"the nodes belong to different replica sets: {told}. Name those of one.")]
    return []


def _of_members(path: str, greetings: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Members whose own names cannot be looked up here: the driver follows those names, not the settings'."""
    members = {host for hello in greetings.values() for host in (*hello.get("hosts", ()), *hello.get("passives", ()))}
    return [
        Problem(
            f"{path}.nodes",
            f"the replica set calls a member {host!r}, a name that cannot be looked up here, so no application here "
            "can follow it when it is primary. Give it a name in DNS, or rename it in the replica set's configuration.",
        )
        for host in sorted(members)
        if not _is_known(host)
    ]


def _is_known(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.getaddrinfo(host.strip("[]"), int(port))
    except OSError:
        return False
    return True


def _of_primary(path: str, greetings: Mapping[str, Mapping[str, Any]], *, wanted: int) -> list[Problem]:
    members = [hello for hello in greetings.values() if hello.get("setName")]
    if members and not any(hello.get("isWritablePrimary") or hello.get("primary") for hello in members):
        return [
            Problem(
                f"{path}.nodes",
                f"no node is primary ({len(greetings)} of {wanted} answer). Start enough nodes for a majority.",
            )
        ]
    return []


def _of_login(path: str, greetings: Mapping[str, Mapping[str, Any]], access: Access) -> list[Problem]:
    """One login, never a second: a wrong password counts against the account."""
    bearers = [a for a, hello in greetings.items() if not hello.get("arbiterOnly") and not hello.get("isreplicaset")]
    if not access.has_login or not bearers:
        return []
    try:
        access.run(bearers[0], {"ping": 1})
    except OperationFailure as error:
        if error.code in DENIED:
            return [Problem(f"{path}.credentials", f"{bearers[0]} {denial(error, access.user)}")]
        raise
    except PyMongoError as error:
        return [Problem(f"{path}.nodes", f"{bearers[0]} {silence(error)}.")]
    return []


def diagnose(name: str, replica_set: str | None, description: TopologyDescription) -> str | None:
    """A sentence on why no node of a cluster can be used, from what the monitors have seen; None when one can."""
    if description.has_writable_server():
        return None
    servers = description.server_descriptions()
    if not servers and replica_set is not None:
        return (
            f"clusters.{name}.replica_set is {replica_set!r}, and no node that was reached belongs to a set of that "
            "name. Correct it; `undaunted check` tells which name each node has."
        )
    told = [
        f"{host}:{port} {silence(server.error) if isinstance(server.error, PyMongoError) else 'has not answered'}"
        if not server.is_server_type_known
        else f"{host}:{port} is {server.server_type_name}"
        for (host, port), server in sorted(servers.items())
    ]
    return f"clusters.{name}.nodes: no primary; {'; '.join(told)}. `undaunted check` tells more."
