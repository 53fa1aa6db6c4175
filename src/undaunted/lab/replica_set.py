"""Makes a replica set elect quickly, and tells when it is well."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from undaunted.lab.errors import LabError
from undaunted.lab.node import LabNode, State

if TYPE_CHECKING:
    from types import TracebackType

    from pymongo import MongoClient
    from typing_extensions import Self

    from undaunted.lab.mongodb import MongoLab

__all__ = ["Checkup", "elect"]

_POLL_S = 0.02
_WELL = {"PRIMARY", "SECONDARY", "ARBITER"}


def elect(lab: MongoLab, node: LabNode, *, deadline_s: float) -> None:
    """Have a node stand for election as soon as it can, in place of waiting for the election timeout.

    Raises:
        LabError: It was not elected by the deadline.
    """
    while lab.role(node) != "primary":
        try:
            lab.command(node, {"replSetStepUp": 1})
        except LabError:
            if lab.state(node) == State.DOWN or time.monotonic() > deadline_s:
                raise
            time.sleep(_POLL_S)


class Checkup:
    """Looks whether a whole set is well, as often as it is asked, over the same connections."""

    __slots__ = ("_clients", "_copies", "_lab", "_stack")

    def __init__(self, lab: MongoLab, *, copies: int) -> None:
        self._lab = lab
        self._copies = copies
        self._stack = ExitStack()
        self._clients: dict[str, MongoClient[dict[str, Any]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def complaint(self) -> str | None:
        """What is wrong just now, in a few words; None if all is well."""
        from pymongo.errors import PyMongoError  # noqa: PLC0415

        unwell = next((f"{name} is {state}" for name, state in self._lab.states().items() if state != State.UP), None)
        if unwell is not None:
            return unwell
        roles = self._lab.roles()
        lost = [name for name, role in roles.items() if role == "unknown"]
        leaders = [name for name, role in roles.items() if role in {"primary", "standalone"}]
        if lost:
            return f"{', '.join(lost)} has no role yet"
        if len(leaders) != 1:
            return f"{len(leaders)} nodes are primary"
        if self._lab.replica_set is None:
            return None
        try:
            complaint = self._disagreement()
            if complaint is None:
                self._write(leaders[0])
        except PyMongoError as error:
            return f"a check failed with {type(error).__name__}: {str(error)[:200]}"
        return complaint

    def _disagreement(self) -> str | None:
        for node in self._lab.nodes:
            status = self._client(node).admin.command("replSetGetStatus")
            for member in status["members"]:
                if member["health"] != 1 or member["stateStr"] not in _WELL:
                    return f"{node.name} sees {member['name']} as {member['stateStr']}"
        return None

    def _write(self, primary: str) -> None:
        """A write that every data node must acknowledge: a note in the oplog, which leaves no collection behind."""
        concern = {"w": self._copies, "wtimeout": 1000}
        note = {"appendOplogNote": 1, "data": {"lab": "checkup"}, "writeConcern": concern}
        self._client(self._lab.node(primary)).admin.command(note)

    def _client(self, node: LabNode) -> MongoClient[dict[str, Any]]:
        if node.name not in self._clients:
            self._clients[node.name] = self._stack.enter_context(self._lab.client(node))
        return self._clients[node.name]
