"""Speaks with a lab's guardian: starts one, and sends it requests.

Each request has a connection of its own, so that threads, forked children and other processes (the command line in
another terminal) may all ask.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undaunted.lab.errors import LabError
from undaunted.lab.home import LOCK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Keeper"]

_GUARDIAN = Path(__file__).with_name("guardian.py")
_ANSWER_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 30.0


class Keeper:
    """A lab's guardian, seen from outside.

    Args:
        place: The lab's directory, where its socket is.
    """

    __slots__ = ("_place", "_process")

    def __init__(self, place: Path) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def launch(cls, place: Path, *, locks: Sequence[Path] = (), remove: Sequence[Path] = ()) -> Keeper:
        """Start a guardian that ends with this process.

        Args:
            place: The lab's directory; the guardian holds its lock, and removes it at the end.
            locks: More files to hold a lock on, for directories that the lab uses.
            remove: More directories to remove at the end.

        Raises:
            LabError: It did not start, or a lock is held by another lab.
        """
        if sys.platform != "linux":
            raise LabError(
                f"The lab runs on Linux only (found {sys.platform}), where servers can be tied to their starter."
            )
        options = {
            "directory": str(place),
            "starter": os.getpid(),
            "locks": [str(place / LOCK), *map(str, locks)],
            "remove": [*map(str, remove), str(place)],
        }
        keeper = cls(place)
        with (place / "guardian.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", str(_GUARDIAN), json.dumps(options)],
                stdin=subprocess.PIPE,  # stays open as long as we live: the lifeline
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C in our terminal is for us to handle
            )
        keeper._process = process
        assert process.stdout is not None  # noqa: S101 - we asked for the pipe
        with process.stdout as stdout:
            line = stdout.readline()
        report: dict[str, Any] = json.loads(line) if line.strip() else {"error": "it ended before it was ready"}
        if "error" in report:
            keeper._drop()
            if report.get("errno") == errno.EAGAIN:
                used = Path(report["path"]).parent
                raise LabError(f"The directory {used} is in use by another lab; give another one.")
            told = (place / "guardian.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise LabError(
                f"The guardian of the lab did not start: {report['error']} ({report.get('path', place)})"
                + "".join(f"\n  {line}" for line in told)
            )
        return keeper

    @property
    def is_alive(self) -> bool:
        """Whether the guardian answers."""
        try:
            self.ask("status")
        except LabError:
            return False
        return True

    def ask(self, do: str, /, **request: object) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises:
            LabError: The guardian is gone, or it could not do it.
        """
        with self._connect() as connection:
            return self._exchange(connection, {"do": do, "with": request})

    def spawn(
        self,
        node: str,
        argv: Sequence[str],
        *,
        cwd: Path,
        log: Path,
        env: Mapping[str, str | None] | None = None,
        may_lock_memory: bool = True,
        tree: Path | None = None,
        owner: tuple[int, int] | None = None,
    ) -> None:
        """Start a server.

        Args:
            node: The name that it is known by from now on.
            argv: The command line.
            cwd: Where it runs.
            log: Its output is appended to this file.
            env: What differs from the environment of the guardian's starter; None is for what must not be there.
            may_lock_memory: Whether it may pin its memory (``mlockall``).
            tree: Where it and its children work, for one whose children leave its process group; all are signalled.
            owner: The numbers of the user and the group that it runs as. Default: ours.
        """
        self.ask(
            "spawn",
            node=node,
            argv=list(argv),
            cwd=str(cwd),
            log=str(log),
            env=dict(env or {}),
            may_lock_memory=may_lock_memory,
            tree=None if tree is None else str(tree),
            owner=owner,
        )

    def claim(self, host: str, port: int) -> int | None:
        """Bind a port for the life of the guardian; None, or the `errno` of why it could not be had."""
        found: int | None = self.ask("claim", host=host, port=port)["errno"]
        return found

    def signal(self, node: str, number: int) -> None:
        """Send a signal to a server and its children."""
        self.ask("signal", node=node, signal=int(number))

    def pace(self, node: str, spells_s: tuple[float, float] | None) -> None:
        """Have a server hang and run by turns, each for so long; None lets it run on."""
        self.ask("pace", node=node, spells_s=spells_s)

    def servers(self) -> dict[str, dict[str, Any]]:
        """What the guardian knows of each server: ``pid``, ``state`` (up, slow, frozen, down), ``exit``."""
        found: dict[str, dict[str, Any]] = self.ask("status")["servers"]
        return found

    def detach(self) -> None:
        """Let the lab outlive this process; `end` or the command line ends it."""
        self.ask("detach")
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def end(self) -> None:
        """End every server, the guardian and the lab's directory; returns when they are gone.

        Raises:
            LabError: They were not gone after 30 s.
        """
        try:
            with self._connect() as connection:
                self._exchange(connection, {"do": "down", "with": {}})
                connection.settimeout(_END_TIMEOUT_S)
                try:
                    connection.recv(1)  # ends with the guardian
                except TimeoutError:
                    raise LabError(f"The lab in {self._place} did not end within {_END_TIMEOUT_S:.0f} s.") from None
                except ConnectionError:
                    pass
        except LabError:
            if (self._place / "keeper.sock").exists() and self._process is None:
                raise
        self._drop()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the guardian that this process started to end; whether it did."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _drop(self) -> None:
        """Let go of the lifeline and of our child; the guardian ends at its end if it has not yet."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the kernel kills its servers then
            self._process.wait()
        self._process = None

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_ANSWER_TIMEOUT_S)
        try:
            # A socket's path may have 107 bytes; through the descriptor of its directory it always fits.
            handle = os.open(self._place, os.O_PATH | os.O_DIRECTORY)
            try:
                connection.connect(f"/proc/self/fd/{handle}/keeper.sock")
            finally:
                os.close(handle)
        except OSError as error:
            connection.close()
            said = error.strerror or error
            raise LabError(f"The lab in {self._place} is not running ({said}); start it again.") from error
        return connection

    def _exchange(self, connection: socket.socket, request: Mapping[str, object]) -> dict[str, Any]:
        started_s = time.monotonic()
        try:
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
        except TimeoutError:
            waited_s = time.monotonic() - started_s
            raise LabError(
                f"The guardian of the lab in {self._place} gave no answer within {waited_s:.0f} s; is it frozen?"
            ) from None
        except OSError as error:
            raise LabError(f"The guardian of the lab in {self._place} went away ({error.strerror}).") from error
        if not line:
            raise LabError(f"The guardian of the lab in {self._place} went away without an answer.")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise LabError(f"The lab could not {request['do']}: {answer['error']}")
        return answer
