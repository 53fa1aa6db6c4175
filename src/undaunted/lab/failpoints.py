"""Faults inside a MongoDB node, by its own fail points (`configureFailPoint`, open because of ``enableTestCommands``)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undaunted.lab.errors import LabError
from undaunted.lab.node import LabNode, State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from undaunted.lab.mongodb import MongoLab

__all__ = ["FailPoint", "fail_command_data", "fail_point"]


class FailPoint:
    """A fail point that is armed. `hits` tells whether it struck, so that a test need not believe it.

    Attributes:
        name: The server's name for it.
        nodes: Where it is armed.
    """

    __slots__ = ("_baseline", "_final", "_lab", "name", "nodes")

    def __init__(self, lab: MongoLab, name: str, nodes: Sequence[LabNode]) -> None:
        self._lab = lab
        self.name = name
        self.nodes = tuple(nodes)
        self._baseline: dict[str, int] = {}
        self._final: dict[str, int] = {}

    @property
    def hits(self) -> int:
        """How often it struck until now; after the ``with`` block, how often it did in all.

        A node that was killed or restarted meanwhile forgets, and counts as none.
        """
        counts = self._final or {node.name: self._count(node) for node in self.nodes if node.state == State.UP}
        return sum(max(0, count - self._baseline.get(name, 0)) for name, count in counts.items())

    def arm(self, mode: object, data: Mapping[str, object]) -> None:
        """Set it on every node."""
        for node in self.nodes:
            self._baseline[node.name] = self._count(node)
            self._lab.command(node, {"configureFailPoint": self.name, "mode": mode, "data": dict(data)})

    def disarm(self) -> None:
        """Set it off on every node that is up; on one that is down it is off anyway.

        Raises:
            LabError: A node is frozen, so it would come back with the fail point armed.
        """
        for node in self.nodes:
            state = node.state
            if state == State.FROZEN:
                raise LabError(f"{node.name} is frozen, so the fail point {self.name} stays armed there; thaw it inside the `with` block.")
            if state == State.UP:
                answer = self._lab.command(node, {"configureFailPoint": self.name, "mode": "off"})
                self._final[node.name] = int(answer["count"])

    def _count(self, node: LabNode) -> int:
        answer = self._lab.command(node, {"getParameter": 1, f"failpoint.{self.name}": 1})
        return int(answer[f"failpoint.{self.name}"].get("timesEntered", 0))


@contextmanager
def fail_point(lab: MongoLab, name: str, *, mode: object, data: Mapping[str, object], on: Sequence[LabNode]) -> Iterator[FailPoint]:
    """Arm a fail point on these nodes for as long as the block runs."""
    point = FailPoint(lab, name, on)
    try:
        point.arm(mode, data)
        yield point
    finally:
        point.disarm()


def fail_command_data(
    commands: Sequence[str],
    *,
    close_connection: bool,
    error_code: int | None,
    block_ms: int | None,
    labels: Sequence[str] | None,
    app_name: str | None,
    write_concern_error: Mapping[str, object] | None,
) -> dict[str, Any]:
    """The document that the fail point ``failCommand`` takes.

    Raises:
        LabError: It names no command, or no fault.
    """
    if isinstance(commands, str) or not commands:
        raise LabError(f"fail_command takes a list of command names, such as ['find', 'getMore']; found {commands!r}.")
    if not (close_connection or error_code is not None or block_ms is not None or write_concern_error is not None):
        raise LabError("fail_command needs a fault: close_connection, error_code, block_ms or write_concern_error.")
    data: dict[str, Any] = {"failCommands": list(commands), "closeConnection": close_connection}
    if error_code is not None:
        data["errorCode"] = error_code
    if block_ms is not None:
        data |= {"blockConnection": True, "blockTimeMS": block_ms}
    if labels is not None:
        data["errorLabels"] = list(labels)
    if app_name is not None:
        data["appName"] = app_name
    if write_concern_error is not None:
        data["writeConcernError"] = dict(write_concern_error)
    return data
