"""The settings of a cluster by the word of its nodes, for `undaunted config init`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure, PyMongoError

from undaunted.config.discovered import Discovered, choose
from undaunted.errors import Problem
from undaunted.mongodb import seams
from undaunted.mongodb.provision.access import DENIED, Access, denial, silence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from undaunted.config import MongoDBSettings

__all__ = ["discover"]

_SYSTEM = {"admin", "config", "local"}


def discover(settings: MongoDBSettings) -> Discovered:
    """Ask the nodes of the settings who belongs to them, and what databases there are; changes nothing.

    Raises:
        ConfigurationError: pymongo is too old, or refuses the settings.
    """
    seams.check_driver()
    path = f"clusters.{settings.name}"
    with Access(settings) as access:
        asked = settings.nodes or access.seeds
        greetings, silent = _greet(asked, access)
        if not greetings:
            problems = [Problem(f"{path}.nodes", f"{address} {why}.") for address, why in silent.items()]
            return Discovered(problems=tuple(problems))
        teller, hello = next(iter(greetings.items()))
        found, remarks, warnings = _members(asked, teller, hello)
        _, lost = _greet([address for address in found["nodes"] if address not in greetings], access)
        warnings += [f"{address} {why}." for address, why in lost.items()]
        try:
            there = access.run(teller, {"listDatabases": 1, "nameOnly": True})["databases"]
        except OperationFailure as error:
            if error.code not in DENIED or settings.credentials.username:
                return Discovered(problems=(Problem(f"{path}.credentials", f"{teller} {denial(error, access.user)}"),))
            remarks["credentials"] = f"{teller} demands a login"
            return Discovered(settings=found, remarks=remarks, warnings=tuple(warnings))
        except PyMongoError as error:
            return Discovered(problems=(Problem(f"{path}.nodes", f"{teller} {silence(error)}."),))
    names = sorted(each["name"] for each in there if each["name"] not in _SYSTEM)
    chosen, remark = choose("database", settings.database, names)
    return Discovered(settings=found | chosen, remarks=remarks | remark, warnings=tuple(warnings))


def _greet(addresses: Sequence[str], access: Access) -> tuple[dict[str, Mapping[str, Any]], dict[str, str]]:
    """Those that answer, with what they say, and those that do not, with the end of a sentence on why."""
    greetings: dict[str, Mapping[str, Any]] = {}
    silent: dict[str, str] = {}
    for address in addresses:
        try:
            greetings[address] = access.hello(address)
        except PyMongoError as error:
            silent[address] = silence(error)
    return greetings, silent


def _members(
    asked: Sequence[str], teller: str, hello: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The nodes that a client uses, by the word of one."""
    if hello.get("msg") == "isdbgrid":
        return {"nodes": list(asked)}, {"nodes": "routers (mongos), as they were given"}, []
    if hello.get("setName"):
        nodes = [*hello.get("hosts", ()), *hello.get("passives", ())]
        name = str(hello["setName"])
        return {"nodes": nodes, "replica_set": name}, {"nodes": f"by the word of {teller}"}, []
    if hello.get("isreplicaset"):
        warning = f"{teller} waits to be taken into a replica set: name its nodes, and run `undaunted provision`."
    else:
        warning = f"{teller} is a standalone server, which has no other node to fail over to."
    return {"nodes": list(asked)}, {}, [warning]
