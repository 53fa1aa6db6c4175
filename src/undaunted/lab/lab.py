"""How every lab begins and ends, whatever database it holds."""

from __future__ import annotations

import os
import re
import secrets
import time
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from undaunted.lab import log as logs
from undaunted.lab.errors import LabError
from undaunted.lab.home import home, locked, running, write_record
from undaunted.lab.keeper import Keeper
from undaunted.lab.node import LabNode, State
from undaunted.lab.ports import LOOPBACK, choose, keep
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, Verbs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Lab"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Lab(Verbs):
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
            raise LabError(
                f"A lab cannot be named {name!r}; use at most 64 letters, digits, dots, dashes, underscores."
            )
        if ports is not None and len(ports) != count + arbiters:
            raise LabError(
                f"The lab has {count + arbiters} nodes, and {len(ports)} ports were named; name one for each."
            )
        self._name = name
        self._count = count
        self._arbiters = arbiters
        self._directory = None if directory is None else Path(directory).expanduser().absolute()
        self._ports = None if ports is None else list(ports)
        self._place: Path | None = None
        self._keeper: Keeper | None = None
        self._owner: int | None = None
        self._progress: Callable[[str], object] = _say_nothing
        self._nodes: list[LabNode] = []

    # ------------------------------------------------------------------ life

    def open(self, *, progress: Callable[[str], object] | None = None) -> Self:
        """Start the servers and wait until they are well.

        Args:
            progress: Called with a few words before each step that takes time.

        Raises:
            LabError: A port, a directory or the name is in use, the server program is missing, or it did not come up;
                its last log lines are in the message. Nothing is left running then.
        """
        if self._keeper is not None:
            raise LabError(f"The lab {self.name} is open already; close it first.")
        self._progress = progress or _say_nothing
        self._find_program()
        try:
            self._claim()
            self._start_all()
        except OSError as error:
            self._give_up()
            raise LabError(f"The lab could not be started: {error}.{logs.remedy([str(error)])}") from error
        except LabError as error:
            fallen = self._fallen_node()
            self._give_up()
            if fallen is not None:
                raise fallen from error
            raise
        except BaseException:  # Ctrl-C: nothing may be left behind
            self._give_up()
            raise
        return self

    def close(self) -> None:
        """End every server and remove the lab's data; in a `directory` of your own it is kept, cleanly shut down."""
        if self._keeper is None or self._owner != os.getpid():
            return
        try:
            if self._directory is not None:
                self._stop_all()
        finally:
            self._give_up()

    def __enter__(self) -> Self:
        return self.open() if self._keeper is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
                raise LabError(
                    f"A lab named {name!r} is running; end it with `undaunted lab down --name {name}`, "
                    "or give this one another name."
                )
            self._name, self._place = name, directory / name
            self._place.mkdir(mode=0o700)
            self._keeper = self._launch()
            self._owner = os.getpid()
            self._nodes = self._make_nodes()
            write_record(self._place, self._record())

    def _make_nodes(self) -> list[LabNode]:
        """Give every node an address that no other lab has: a port of its own on 127.0.0.1."""
        claim = self._guardian.claim
        if self._ports is None:
            ports = choose(self._count + self._arbiters, claim=claim)
        else:
            ports = self._ports
            keep(ports, claim=claim)
        return [
            LabNode(self, name=f"n{number}", host=LOOPBACK, port=port, is_arbiter=number > self._count)
            for number, port in enumerate(ports, start=1)
        ]

    def _launch(self) -> Keeper:
        assert self._place is not None  # noqa: S101 - claimed just before
        if self._directory is None:
            return Keeper.launch(self._place, remove=self._scratch())
        lock = self._directory / ".undaunted-lock"
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        keeper = Keeper.launch(self._place, locks=[lock])
        found = sorted(path.name for path in self._directory.iterdir() if path != lock)
        if found:
            keeper.end()
            some = ", ".join(found[:3])
            raise LabError(f"The directory {self._directory} is not empty ({some}); give an empty or a new one.")
        return keeper

    def _scratch(self) -> Sequence[Path]:
        """Directories elsewhere for the data of this lab, made now and removed at its end."""
        return ()

    def _record(self) -> dict[str, Any]:
        return {
            "backend": self.backend,
            "starter": os.getpid(),
            "started_at": time.time(),
            "nodes": [node.record() for node in self._nodes],
            "options": self._options(),
        }

    def _stop_all(self) -> None:
        self.thaw()
        self.speed_up()
        up = self._in_state(State.UP)
        for node in up:
            self._guardian.signal(node.name, self._stop_signal)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self._in_state(State.UP):
            if time.monotonic() > deadline_s:
                raise LabError(f"{self._in_state(State.UP)[0].name} did not stop within {START_TIMEOUT_S:g} s.")
            time.sleep(POLL_S)

    def _give_up(self) -> None:
        keeper, place = self._keeper, self._place
        self._keeper = self._owner = None
        if keeper is not None:
            keeper.end()
        if place is not None and place.exists():  # the guardian never came to life, or was killed
            directory = place.parent
            with locked(directory):
                running(directory)

    # ------------------------------------------------- what each database does

    @property
    @abstractmethod
    def reach(self) -> str:
        """How a client reaches the cluster, in one line for people."""

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
    def _options(self) -> dict[str, Any]: ...

    @classmethod
    @abstractmethod
    def _options_of(cls, record: Mapping[str, Any]) -> dict[str, Any]: ...

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self._nodes)} nodes>"


def _say_nothing(_step: str) -> None:
    """Nobody wants to know."""
