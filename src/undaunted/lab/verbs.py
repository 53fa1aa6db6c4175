"""The nodes of a lab, and the faults that are signals: the same for every database."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from undaunted.core.durations import seconds
from undaunted.lab import log as logs
from undaunted.lab.errors import LabError
from undaunted.lab.node import LabNode, State
from undaunted.lab.ports import is_free

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from undaunted.lab.keeper import Keeper

__all__ = ["NodeLike", "Verbs"]

NodeLike = LabNode | str

POLL_S = 0.02
START_TIMEOUT_S = 120.0
SIGNAL_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0


class Verbs(ABC):
    """What can be asked of, and done to, the nodes of a lab while it is open."""

    _stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    _name: str | None
    _place: Path | None
    _directory: Path | None
    _keeper: Keeper | None
    _nodes: list[LabNode]

    # ------------------------------------------------------------- what it is

    @property
    def name(self) -> str:
        """The name by which the command line finds this lab."""
        return self._name or "(not open)"

    @property
    def nodes(self) -> list[LabNode]:
        """The nodes, arbiters last."""
        return list(self._nodes)

    def node(self, which: NodeLike) -> LabNode:
        """The node of this name, such as ``"n2"``.

        Raises:
            LabError: There is no such node.
        """
        if isinstance(which, LabNode):
            return which
        for node in self._nodes:
            if node.name == which:
                return node
        raise LabError(f"The lab {self.name} has no node {which!r}; name one of {self._choices()}.")

    def state(self, which: NodeLike) -> State:
        """What the process of a node does now."""
        return self.states()[self.node(which).name]

    def states(self) -> dict[str, State]:
        """The state of every node, by name, as of one moment."""
        servers = self._guardian.servers()
        return {node.name: State(servers.get(node.name, {}).get("state", "down")) for node in self._nodes}

    def pid(self, which: NodeLike) -> int | None:
        """The process id of a node, or None while it is down."""
        server = self._guardian.servers().get(self.node(which).name)
        return None if server is None or server["state"] == "down" else int(server["pid"])

    def log(self, which: NodeLike) -> Path:
        """The file that a node's log goes to."""
        return self._root(self.node(which)) / "log"

    # ---------------------------------------------------------------- faults

    def kill(self, which: NodeLike | None = None) -> LabNode:
        """Crash a node (SIGKILL), also a frozen one; returns it when its process is gone.

        Args:
            which: The node. Default: the primary, where the database has one.

        Raises:
            LabError: It is down already.
        """
        return self._signal(which, signal.SIGKILL, allowed={State.UP, State.SLOW, State.FROZEN}, goal=State.DOWN)

    def freeze(self, which: NodeLike | None = None) -> LabNode:
        """Make a node hang (SIGSTOP): its connections stay open and nothing answers.

        Args:
            which: The node. Default: the primary, where the database has one.

        Raises:
            LabError: It is not up.
        """
        return self._signal(which, signal.SIGSTOP, allowed={State.UP, State.SLOW}, goal=State.FROZEN)

    def thaw(self, which: NodeLike | None = None) -> list[LabNode]:
        """Let a frozen node go on, or every frozen one where none is named; returns those that were thawed.

        Raises:
            LabError: The named one is not frozen.
        """
        chosen = [self.node(which)] if which is not None else self._in_state(State.FROZEN)
        return [self._signal(node, signal.SIGCONT, allowed={State.FROZEN}, goal=State.UP) for node in chosen]

    def slow_down(
        self, which: NodeLike | None = None, *, pause: float | str = "90ms", every: float | str = "100ms"
    ) -> LabNode:
        """Make a node slow: it hangs (SIGSTOP) for a `pause` in `every` so long, until `speed_up` or another fault.

        Its answers come after up to a pause more, and it does the less work the longer the pauses are. Nothing of it
        is known to the database, and it needs no right that its user lacks.

        Args:
            which: The node. Default: the primary, where the database has one.
            pause: How long it hangs each time. Default 90 ms.
            every: From the beginning of one pause to that of the next. Default 100 ms.

        Raises:
            LabError: It is neither up nor slow, or the pause leaves it less than a millisecond to run.
        """
        pause_s, every_s = seconds(pause), seconds(every)
        if not 0.001 <= pause_s <= every_s - 0.001:
            raise LabError(
                f"A node cannot hang for {pause_s:g} s in every {every_s:g} s; leave a millisecond to each of both."
            )
        node = self._usual() if which is None else self.node(which)
        self._demand(node, {State.UP, State.SLOW}, "be slowed down")
        self._guardian.pace(node.name, (pause_s, every_s - pause_s))
        return node

    def speed_up(self, which: NodeLike | None = None) -> list[LabNode]:
        """Let a slow node run on, or every slow one where none is named; returns those that were slow.

        Raises:
            LabError: The named one is not slow.
        """
        chosen = [self.node(which)] if which is not None else self._in_state(State.SLOW)
        for node in chosen:
            self._demand(node, {State.SLOW}, "speed up")
            self._guardian.pace(node.name, None)
        return chosen

    def stop(self, which: NodeLike | None = None, *, timeout: float | str = STOP_TIMEOUT_S) -> LabNode:
        """End a node cleanly (SIGTERM); returns it when its process is gone.

        Args:
            which: The node. Default: the primary, where the database has one.
            timeout: How long it may take.

        Raises:
            LabError: It is not up, or has not ended in time.
        """
        return self._signal(
            which, self._stop_signal, allowed={State.UP, State.SLOW}, goal=State.DOWN, timeout_s=seconds(timeout)
        )

    def start(self, which: NodeLike | None = None, *, timeout: float | str = START_TIMEOUT_S) -> list[LabNode]:
        """Start a node that is down, or all that are where none is named: same address, same data.

        Returns:
            Those that were started, once they answer.

        Raises:
            LabError: The named one is not down, or it did not come up.
        """
        chosen = [self.node(which)] if which is not None else self._in_state(State.DOWN)
        for node in chosen:
            self._demand(node, {State.DOWN}, "start")
            if not is_free(node.port, node.host):
                raise LabError(
                    f"{node.name} cannot start: another process has taken its port {node.port} on {node.host}."
                )
            self._spawn(node)
        self._await_answers(chosen, timeout_s=seconds(timeout))
        return chosen

    def restart(self, which: NodeLike | None = None, *, timeout: float | str = START_TIMEOUT_S) -> LabNode:
        """End a node cleanly and start it again; returns it when it answers.

        Args:
            which: The node. Default: the primary, where the database has one.
            timeout: How long each half may take.

        Raises:
            LabError: It is not up, has not ended in time, or did not come up.
        """
        node = self.stop(which, timeout=timeout)
        self.start(node, timeout=timeout)
        return node

    def heal(self, *, timeout: float | str = START_TIMEOUT_S) -> None:
        """Undo every fault: thaw, speed up and start what needs it, and wait until all nodes are well."""
        self.thaw()
        self.speed_up()
        self.start(timeout=timeout)
        self.wait_healthy(timeout)

    def rolling_restart(self, *, timeout: float | str = START_TIMEOUT_S) -> None:
        """Restart every node cleanly, one after the other, a primary last; each must be well before the next.

        Raises:
            LabError: A node did not come back in time.
        """
        self.wait_healthy(timeout)
        for node in self._restart_order(seconds(timeout)):
            self.restart(node, timeout=timeout)
            self.wait_healthy(timeout)

    # ------------------------------------------------- what each database does

    @abstractmethod
    def wait_healthy(self, timeout: float | str = START_TIMEOUT_S) -> None:
        """Wait until every node is well."""

    @abstractmethod
    def role(self, which: NodeLike) -> str:
        """The role that a node says it has."""

    @abstractmethod
    def roles(self) -> dict[str, str]:
        """The role of every node, by name."""

    @abstractmethod
    def _answering(self, nodes: Sequence[LabNode]) -> Mapping[str, object]: ...

    @abstractmethod
    def _argv(self, node: LabNode) -> list[str]: ...

    def _usual(self) -> LabNode:
        """The node that a fault hits where none is named."""
        raise LabError(f"The nodes of the lab {self.name} are all alike; name one of {self._choices()}.")

    def _choices(self) -> str:
        """What a node may be called, for messages."""
        return ", ".join(node.name for node in self._nodes)

    def _restart_order(self, timeout_s: float) -> list[LabNode]:
        del timeout_s
        return list(self._nodes)

    # ------------------------------------------------------------ for labs

    @property
    def _guardian(self) -> Keeper:
        if self._keeper is None:
            raise LabError(f"The lab {self.name} is not open; use it inside `with`, or call open() first.")
        return self._keeper

    def _root(self, node: LabNode) -> Path:
        assert self._place is not None  # noqa: S101 - there is no node before the place
        return (self._directory or self._place) / node.name

    def _in_state(self, *wanted: State) -> list[LabNode]:
        states = self.states()
        return [node for node in self._nodes if states[node.name] in wanted]

    def _demand(self, node: LabNode, allowed: set[State], verb: str) -> None:
        found = self.state(node)
        if found not in allowed:
            wanted = " or ".join(sorted(allowed))
            raise LabError(f"{node.name} is {found}, so it cannot {verb}; that takes a node that is {wanted}.")

    def _signal(
        self,
        which: NodeLike | None,
        number: signal.Signals,
        *,
        allowed: set[State],
        goal: State,
        timeout_s: float = SIGNAL_TIMEOUT_S,
    ) -> LabNode:
        node = self._usual() if which is None else self.node(which)
        self._demand(node, allowed, f"take {number.name}")
        self._guardian.signal(node.name, number)
        deadline_s = time.monotonic() + timeout_s
        while self.state(node) != goal:
            if time.monotonic() > deadline_s:
                raise LabError(
                    f"{node.name} is still not {goal} {timeout_s:g} s after {number.name}; see {self.log(node)}."
                )
            time.sleep(0.002)
        return node

    def _spawn(self, node: LabNode) -> None:
        root = self._root(node)
        (root / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._guardian.spawn(node.name, self._argv(node), cwd=root, log=root / "log")

    def _await_answers(self, nodes: Sequence[LabNode], *, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            answering = self._answering(nodes)
            missing = [node for node in nodes if node.name not in answering]
            if not missing:
                return
            servers = self._guardian.servers()
            for node in missing:
                if servers[node.name]["state"] == "down":
                    raise self._fallen(node, servers[node.name]["exit"])
            if time.monotonic() > deadline_s:
                silent = ", ".join(node.name for node in missing)
                raise LabError(f"{silent} gave no answer within {timeout_s:g} s.{self._log_lines(missing[0])}")
            time.sleep(POLL_S)

    def _fallen_node(self) -> LabError | None:
        """Why a node ended that nobody had ended; the cause behind most errors of a lab that is being opened."""
        if self._keeper is None or not self._keeper.is_alive:
            return None
        servers = self._keeper.servers()
        for node in self._nodes:
            if servers.get(node.name, {}).get("state") == "down":
                return self._fallen(node, servers[node.name]["exit"])
        return None

    def _fallen(self, node: LabNode, status: int | None) -> LabError:
        how = f"by {signal.Signals(-status).name}" if status is not None and status < 0 else f"with status {status}"
        remedy = logs.remedy(self._last_words(node), place=self._root(node))
        return LabError(f"{node.name} ended {how} while it was starting.{remedy}{self._log_lines(node)}")

    def _log_lines(self, node: LabNode) -> str:
        return "".join(f"\n  {line}" for line in self._last_words(node))

    def _last_words(self, node: LabNode) -> list[str]:
        return logs.tail(self.log(node))
