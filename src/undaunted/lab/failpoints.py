"""Faults inside a MongoDB node, by its own fail points (``configureFailPoint``, which ``enableTestCommands`` opens)."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undaunted.lab.errors import LabError
from undaunted.lab.node import LabNode, State
from undaunted.lab.verbs import NodeLike, Verbs

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from contextlib import AbstractContextManager

__all__ = ["FailPoint", "FailPoints"]


class FailPoint:
    """A fail point that is armed. `hits` tells whether it struck, so that a test need not believe it.

    Attributes:
        name: The server's name for it.
        nodes: Where it is armed.
    """

    __slots__ = ("_baseline", "_final", "_lab", "name", "nodes")

    def __init__(self, lab: FailPoints, name: str, nodes: Sequence[LabNode]) -> None:
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
        counts = self._final or {
            node.name: self._count(node) for node in self.nodes if node.state in {State.UP, State.SLOW}
        }
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
                raise LabError(
                    f"{node.name} is frozen, so the fail point {self.name} stays armed there; "
                    "thaw it inside the `with` block."
                )
            if state in {State.UP, State.SLOW}:
                answer = self._lab.command(node, {"configureFailPoint": self.name, "mode": "off"})
                self._final[node.name] = int(answer["count"])

    def _count(self, node: LabNode) -> int:
        answer = self._lab.command(node, {"getParameter": 1, f"failpoint.{self.name}": 1})
        return int(answer[f"failpoint.{self.name}"].get("timesEntered", 0))


@contextmanager
def fail_point(
    lab: FailPoints, name: str, *, mode: object, data: Mapping[str, object], on: Sequence[LabNode]
) -> Generator[FailPoint]:
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


class FailPoints(Verbs):
    """The fail points of a lab of MongoDB, as verbs."""

    @abstractmethod
    def command(self, which: NodeLike, command: Mapping[str, Any], *, database: str = "admin") -> dict[str, Any]:
        """Run one command on one node, as an operator would."""

    def fail_point(
        self,
        name: str,
        *,
        times: int | None = 1,
        data: Mapping[str, object] | None = None,
        on: NodeLike | Sequence[LabNode] = "primary",
    ) -> AbstractContextManager[FailPoint]:
        """Arm a fail point of the server by its name, for a ``with`` block.

        Args:
            name: The server's name for it.
            times: How often it strikes on each node; None for as long as the block runs.
            data: What the fail point takes.
            on: A node, ``"primary"``, ``"all"`` (every node that is up), or several nodes.
        """
        mode = "alwaysOn" if times is None else {"times": times}
        return fail_point(self, name, mode=mode, data=data or {}, on=self._chosen(on))

    def fail_command(
        self,
        commands: Sequence[str],
        *,
        times: int | None = 1,
        close_connection: bool = False,
        error_code: int | None = None,
        block_ms: int | None = None,
        labels: Sequence[str] | None = None,
        app_name: str | None = None,
        write_concern_error: Mapping[str, object] | None = None,
        on: NodeLike | Sequence[LabNode] = "primary",
    ) -> AbstractContextManager[FailPoint]:
        """Make commands fail, for a ``with`` block; the block's value tells by `hits` how often that happened.

        Args:
            commands: Names of commands, such as ``["insert", "getMore"]``.
            times: How often, on each node; None for as long as the block runs.
            close_connection: Close the connection before the command is executed.
            error_code: Refuse the command with this code, before it is executed.
            block_ms: Wait so long before going on.
            labels: The error labels in place of those that the server would give.
            app_name: Strike only clients with this ``appName``.
            write_concern_error: Execute the command and answer with this write concern error (``code``, ``errmsg``).
            on: A node, ``"primary"``, ``"all"``, or several nodes.
        """
        data = fail_command_data(
            commands,
            close_connection=close_connection,
            error_code=error_code,
            block_ms=block_ms,
            labels=labels,
            app_name=app_name,
            write_concern_error=write_concern_error,
        )
        return self.fail_point("failCommand", times=times, data=data, on=on)

    def lost_reply(self, *, times: int | None = 1, on: NodeLike = "primary") -> AbstractContextManager[FailPoint]:
        """Apply a write and close the connection in place of the answer, for a ``with`` block.

        It strikes writes that have a transaction number: retryable writes (not ``retryWrites=false``, not an update
        of many) and transactions.
        """
        return self.fail_point("onPrimaryTransactionalWrite", times=times, data={"closeConnection": True}, on=on)

    def _chosen(self, on: NodeLike | Sequence[LabNode]) -> list[LabNode]:
        if on == "all":
            return self._in_state(State.UP, State.SLOW)
        return [self.node(on)] if isinstance(on, (str, LabNode)) else list(on)
