"""What every lab does, whatever database it holds: opening, closing, and the faults that are signals."""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from undaunted.core.durations import seconds
from undaunted.lab import log as logs
from undaunted.lab.errors import LabError
from undaunted.lab.home import home, locked, running, write_record
from undaunted.lab.keeper import Keeper
from undaunted.lab.node import LabNode, State
from undaunted.lab.ports import LOOPBACK, check_free, choose, is_free

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Lab", "NodeLike"]

NodeLike = LabNode | str

POLL_S = 0.02
START_TIMEOUT_S = 120.0
SIGNAL_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Lab(ABC):
    """Servers of one kind on loopback, tied to this process; see the labs of each database.

    A lab is open between `open` and `close`, or inside ``with``. In a child that this process forks the verbs work
    too, and `close` does nothing: the lab is its starter's.
    """

    backend: ClassVar[str]

    def __init__(
        self,
        *,
        count: int,
        arbiters: int,
        name: str | None,
        directory: str | os.PathLike[str] | None,
        ports: Sequence[int] | None,
    ) -> None:
        if name is not None and not _NAME.fullmatch(name):
            raise LabError(f"A lab cannot be named {name!r}; use up to 64 letters, digits, dots, dashes and underscores.")
        if ports is not None and len(ports) != count + arbiters:
            raise LabError(f"The lab has {count + arbiters} nodes, and {len(ports)} ports were named; name one for each.")
        self._name = name
        self._count = count
        self._arbiters = arbiters
        self._directory = None if directory is None else Path(directory).expanduser().absolute()
        self._ports = None if ports is None else list(ports)
        self._place: Path | None = None
        self._keeper: Keeper | None = None
        self._owner: int | None = None
        self._nodes: list[LabNode] = []

    # ------------------------------------------------------------------ life

    def open(self) -> Self:
        """Start the servers and wait until they are well.

        Raises:
            LabError: A port, a directory or the name is in use, the server program is missing, or it did not come up;
                its last log lines are in the message. Nothing is left running then.
        """
        if self._keeper is not None:
            raise LabError(f"The lab {self.name} is open already; close it first.")
        self._find_program()
        try:
            self._claim()
            self._start_all()
        except BaseException as error:  # Ctrl-C too: nothing may be left behind
            self._give_up()
            if isinstance(error, OSError):
                raise LabError(f"The lab could not be started: {error}.{logs.remedy([str(error)])}") from error
            raise
        return self

    def close(self) -> None:
        """End every server and remove the lab's data (a `directory` of your own is kept, its servers stopped cleanly)."""
        if self._keeper is None or self._owner != os.getpid():
            return
        if self._directory is not None:
            self._stop_all()
        self._give_up()

    def __enter__(self) -> Self:
        return self.open() if self._keeper is None else self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def detach(self) -> None:
        """Let the lab live on after this process, until ``undaunted lab down`` or `end`."""
        self._guardian.detach()
        self._owner = None

    def end(self) -> None:
        """End the lab, whoever started it."""
        self._guardian.end()
        self._keeper = None

    def wait_ended(self, timeout_s: float) -> bool:
        """Wait until somebody ends this lab, at most so long; whether it has ended."""
        return self._guardian.wait(timeout_s)

    @classmethod
    def attach(cls, name: str) -> Self:
        """The lab of this name that another process started: its verbs work, and `close` leaves it alone.

        Raises:
            LabError: No lab of this name is running, or it holds another database.
        """
        directory = home()
        with locked(directory):
            labs = running(directory)
        record = labs.get(name)
        if not record:
            names = ", ".join(sorted(labs)) or "none"
            raise LabError(f"No lab named {name!r} is running (running: {names}); start it with `undaunted lab up`.")
        if record["backend"] != cls.backend:
            raise LabError(f"The lab {name!r} holds {record['backend']}, not {cls.backend}.")
        lab = cls(**cls._options_of(record), name=name)
        lab._place = directory / name
        lab._keeper = Keeper(lab._place)
        lab._nodes = [LabNode(lab, **node) for node in record["nodes"]]
        return lab

    def _claim(self) -> None:
        directory = home()
        with locked(directory):
            labs = running(directory)
            name = self._name or f"{self.backend}-{secrets.token_hex(4)}"
            if name in labs:
                raise LabError(f"A lab named {name!r} is running; end it with `undaunted lab down --name {name}`, or name this one.")
            taken = {node["port"] for record in labs.values() for node in record.get("nodes", ())}
            self._name, self._place = name, directory / name
            self._place.mkdir(mode=0o700)
            self._keeper = self._launch()
            self._owner = os.getpid()
            if self._ports is None:
                ports = choose(self._count + self._arbiters, taken=taken)
            else:
                ports = self._ports
                check_free(ports, taken=taken)
            self._nodes = [
                LabNode(self, name=f"n{number}", host=LOOPBACK, port=port, is_arbiter=number > self._count)
                for number, port in enumerate(ports, start=1)
            ]
            write_record(self._place, self._record())

    def _launch(self) -> Keeper:
        assert self._place is not None  # noqa: S101 - claimed just before
        if self._directory is None:
            return Keeper.launch(self._place)
        lock = self._directory / ".undaunted-lock"
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        keeper = Keeper.launch(self._place, locks=[lock])
        found = sorted(path.name for path in self._directory.iterdir() if path != lock)
        if found:
            keeper.end()
            raise LabError(f"The directory {self._directory} is not empty ({', '.join(found[:3])}); give an empty or a new one.")
        return keeper

    def _record(self) -> dict[str, Any]:
        return {
            "backend": self.backend,
            "starter": os.getpid(),
            "started_at": time.time(),
            "nodes": [
                {"name": node.name, "host": node.host, "port": node.port, "is_arbiter": node.is_arbiter}
                for node in self._nodes
            ],
            "options": self._options(),
        }

    def _give_up(self) -> None:
        keeper, place = self._keeper, self._place
        self._keeper = self._owner = None
        if keeper is not None:
            keeper.end()
        if place is not None and place.exists():  # the guardian never came to life, or was killed
            directory = place.parent
            with locked(directory):
                running(directory)

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
        """The node of this name, such as ``"n2"``; ``"primary"`` is whoever is primary now.

        Raises:
            LabError: There is no such node.
        """
        if isinstance(which, LabNode):
            return which
        if which == "primary":
            return self.primary()
        for node in self._nodes:
            if node.name == which:
                return node
        names = ", ".join(node.name for node in self._nodes)
        raise LabError(f"The lab {self.name} has no node {which!r}; it has {names}, and 'primary' for whoever is that now.")

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

    def kill(self, which: NodeLike = "primary") -> LabNode:
        """Crash a node (SIGKILL), also a frozen one; returns it when its process is gone.

        Raises:
            LabError: It is down already.
        """
        return self._signal(which, signal.SIGKILL, allowed={State.UP, State.FROZEN}, goal=State.DOWN)

    def freeze(self, which: NodeLike = "primary") -> LabNode:
        """Make a node hang (SIGSTOP): its connections stay open and nothing answers.

        Raises:
            LabError: It is not up.
        """
        return self._signal(which, signal.SIGSTOP, allowed={State.UP}, goal=State.FROZEN)

    def thaw(self, which: NodeLike | None = None) -> list[LabNode]:
        """Let a frozen node go on, or every frozen one where none is named; returns those that were thawed.

        Raises:
            LabError: The named one is not frozen.
        """
        chosen = [self.node(which)] if which is not None else self._in_state(State.FROZEN)
        return [self._signal(node, signal.SIGCONT, allowed={State.FROZEN}, goal=State.UP) for node in chosen]

    def stop(self, which: NodeLike = "primary", *, timeout: float | str = STOP_TIMEOUT_S) -> LabNode:
        """End a node cleanly (SIGTERM); returns it when its process is gone.

        Raises:
            LabError: It is not up, or has not ended in time.
        """
        return self._signal(which, signal.SIGTERM, allowed={State.UP}, goal=State.DOWN, timeout_s=seconds(timeout))

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
                raise LabError(f"{node.name} cannot start: its port {node.port} on {node.host} was taken by another process.")
            self._spawn(node)
        self._await_answers(chosen, timeout_s=seconds(timeout))
        return chosen

    def heal(self, *, timeout: float | str = START_TIMEOUT_S) -> None:
        """Thaw every frozen node, start every one that is down, and wait until all are well."""
        self.thaw()
        self.start(timeout=timeout)
        self.wait_healthy(timeout)

    def rolling_restart(self, *, timeout: float | str = START_TIMEOUT_S) -> None:
        """Restart every node cleanly, one after the other, the primary last; each must be well before the next.

        Raises:
            LabError: A node did not come back in time.
        """
        self.wait_healthy(timeout)
        last = self.primary(timeout)
        for node in [*(node for node in self._nodes if node is not last), last]:
            self.stop(node, timeout=timeout)
            self.start(node, timeout=timeout)
            self.wait_healthy(timeout)

    # ------------------------------------------------- what each database does

    @abstractmethod
    def primary(self, timeout: float | str = 10.0) -> LabNode:
        """The node that takes writes."""

    @abstractmethod
    def wait_healthy(self, timeout: float | str = START_TIMEOUT_S) -> None:
        """Wait until every node is well."""

    @abstractmethod
    def role(self, which: NodeLike) -> str:
        """The role that a node says it has."""

    @property
    @abstractmethod
    def uri(self) -> str:
        """The address of the cluster, with credentials where it has them."""

    @abstractmethod
    def settings_for(self, cluster: str) -> dict[str, Any]:
        """Settings that declare this lab as a cluster of this name."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that declare this lab as the cluster ``lab``, as `undaunted.configure` takes them."""
        return self.settings_for("lab")

    @abstractmethod
    def _find_program(self) -> None: ...

    @abstractmethod
    def _start_all(self) -> None: ...

    @abstractmethod
    def _stop_all(self) -> None: ...

    @abstractmethod
    def _answering(self, nodes: Sequence[LabNode]) -> Mapping[str, object]: ...

    @abstractmethod
    def _argv(self, node: LabNode) -> list[str]: ...

    @abstractmethod
    def _options(self) -> dict[str, Any]: ...

    @classmethod
    @abstractmethod
    def _options_of(cls, record: Mapping[str, Any]) -> dict[str, Any]: ...

    # ------------------------------------------------------------ for labs

    @property
    def _guardian(self) -> Keeper:
        if self._keeper is None:
            raise LabError(f"The lab {self.name} is not open; use it inside `with`, or call open() first.")
        return self._keeper

    def _root(self, node: LabNode) -> Path:
        assert self._place is not None  # noqa: S101 - there is no node before the place
        return (self._directory or self._place) / node.name

    def _in_state(self, state: State) -> list[LabNode]:
        states = self.states()
        return [node for node in self._nodes if states[node.name] == state]

    def _demand(self, node: LabNode, allowed: set[State], verb: str) -> None:
        found = self.state(node)
        if found not in allowed:
            wanted = " or ".join(sorted(allowed))
            raise LabError(f"{node.name} is {found}, so it cannot {verb}; that takes a node that is {wanted}.")

    def _signal(
        self,
        which: NodeLike,
        number: signal.Signals,
        *,
        allowed: set[State],
        goal: State,
        timeout_s: float = SIGNAL_TIMEOUT_S,
    ) -> LabNode:
        node = self.node(which)
        self._demand(node, allowed, f"take {number.name}")
        self._guardian.signal(node.name, number)
        deadline_s = time.monotonic() + timeout_s
        while self.state(node) != goal:
            if time.monotonic() > deadline_s:
                raise LabError(f"{node.name} is still not {goal} {timeout_s:g} s after {number.name}; its log is {self.log(node)}.")
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

    def _fallen(self, node: LabNode, status: int | None) -> LabError:
        how = f"by {signal.Signals(-status).name}" if status is not None and status < 0 else f"with status {status}"
        lines = logs.tail(self.log(node))
        return LabError(f"{node.name} ended {how} while it was starting.{logs.remedy(lines)}{self._log_lines(node)}")

    def _log_lines(self, node: LabNode) -> str:
        return "".join(f"\n  {line}" for line in logs.tail(self.log(node)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self._nodes)} nodes>"



