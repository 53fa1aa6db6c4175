"""The servers that a guardian runs, what they fork, and what those that were killed leave behind.

The guardian loads this by its path, so it may import the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

__all__ = ["Server", "Tree", "children_of", "letter", "outlive"]

_WHOLE_TREE = frozenset({signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL})
_TREE_TIMEOUT_S = 5.0
_STILL = ("T", "t", "Z", "X", "")  # stopped, dead or gone: it does nothing
_IPC_RMID = 0
_GONE = " (deleted)"
_TIMEOUT_S = 10.0
_POLL_S = 0.002


class Server:
    """One server process, and how it is slowed down: stopped and continued, again and again."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.spells_s: tuple[float, float] | None = None  # how long it hangs, then how long it runs
        self.is_paused = False
        self.turn_s = 0.0

    def describe(self) -> dict[str, Any]:
        """Its process id, its state (up, slow, frozen or down) and the exit status of one that is down."""
        status = self.process.poll()
        if status is not None:
            return {"pid": self.process.pid, "state": "down", "exit": status}
        if self.spells_s is not None:
            return {"pid": self.process.pid, "state": "slow", "exit": None}
        # A zombie that cannot be reaped yet has threads that still hold its port: not down yet.
        is_still = letter(self.process.pid) in tuple("Tt")
        return {"pid": self.process.pid, "state": "frozen" if is_still else "up", "exit": None}

    def signal(self, number: int) -> None:
        """Send a signal to the server and to what it forked (it leads a process group of its own)."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def set_pace(self, spells_s: tuple[float, float] | None) -> None:
        """Begin to slow it down, or let it run on."""
        self.spells_s = spells_s
        self.turn_s = time.monotonic()
        if spells_s is None and self.is_paused:
            self.is_paused = False
            self.signal(signal.SIGCONT)

    def keep_pace(self, now_s: float, idle_s: float) -> float:
        """Stop or continue a slow server when it is time; in how many seconds it is time again, or `idle_s`."""
        if self.spells_s is None:
            return idle_s
        if now_s >= self.turn_s:
            self.is_paused = not self.is_paused
            self.signal(signal.SIGSTOP if self.is_paused else signal.SIGCONT)
            self.turn_s = now_s + self.spells_s[0 if self.is_paused else 1]
        return self.turn_s - now_s


class Tree(Server):
    """A server whose children each lead a session of their own, as PostgreSQL's do: no process group holds them all.

    A child is known by its parent, and one whose parent is gone by the directory that it works in.
    """

    def __init__(self, process: subprocess.Popen[bytes], directory: str) -> None:
        super().__init__(process)
        self.directory = os.path.realpath(directory)
        self.is_empty = False

    def describe(self) -> dict[str, Any]:
        """The same as of one process, which is down when the last child is."""
        found = super().describe()
        if found["state"] == "down" and not self.is_empty:
            if working_in([self.directory]):
                return found | {"state": "up", "exit": None}
            self.is_empty = True
            forget_memory(self.directory)
        return found

    def signal(self, number: int) -> None:
        """Send a signal: one that ends it in good order to the first process alone, else to all of them."""
        if number not in _WHOLE_TREE:
            super().signal(number)
        elif number == signal.SIGCONT:
            send(self.children(), number)
            super().signal(number)
        else:
            self.seize(number)

    def seize(self, number: int) -> None:
        """Stop or kill all: the first process is stopped first, so that it neither forks nor cleans up meanwhile."""
        first = self.process.pid
        deadline = time.monotonic() + _TREE_TIMEOUT_S
        if self.process.poll() is None:
            send([first], signal.SIGSTOP)
            while letter(first) not in _STILL and time.monotonic() < deadline:
                time.sleep(0.0005)
        while time.monotonic() < deadline:
            left = [pid for pid in self.children() if number == signal.SIGKILL or letter(pid) not in _STILL]
            if number == signal.SIGKILL and self.process.poll() is None:
                left.append(first)
            if not left:
                return
            send(left, number)
            time.sleep(0.0005)

    def children(self) -> list[int]:
        """Every process of the server but the first."""
        if self.process.poll() is not None:
            return working_in([self.directory])
        found: list[int] = []
        parents = [self.process.pid]
        while parents:
            born = children_of(parents.pop())
            parents += born
            found += born
        return found


def letter(pid: int) -> str:
    """The state of a process as the kernel tells it; empty for one that is gone."""
    return _stat(pid)[0]


def children_of(pid: int) -> list[int]:
    """The children of a process of one thread. They are all that it has only while it is stopped, or is ourselves."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except ProcessLookupError:
        return []
    except FileNotFoundError:  # it is gone, or the kernel was built without this list
        return [other for other in _numbers() if _stat(other)[1] == str(pid)] if letter(pid) else []


def working_in(directories: list[str]) -> list[int]:
    """The processes whose working directory is one of these or below; the dead, who wait to be reaped, have none."""
    found: list[int] = []
    for pid in _numbers():
        try:
            place = str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(_GONE)
        except OSError:  # gone, dead, or a stranger's
            continue
        if any(place == directory or place.startswith(f"{directory}/") for directory in directories):
            found.append(pid)
    return found


def send(pids: list[int], number: int) -> None:
    """Send a signal to each of these; one that is gone meanwhile needs none."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def forget_memory(data: str) -> None:
    """Give back the shared memory that a killed PostgreSQL held: the kernel keeps it until somebody says so.

    Its key and its number are in the seventh line of a file that only a server that ended by itself removes. A segment
    that is not the one of this key, or that somebody is attached to, is left alone.
    """
    try:
        key, number = (int(word) for word in Path(data, "postmaster.pid").read_text().splitlines()[6].split())
        table = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    except (OSError, ValueError, IndexError):
        return
    for row in table:
        if (int(row[0]) & 0xFFFF_FFFF, int(row[1]), int(row[6])) == (key & 0xFFFF_FFFF, number, 0):
            ctypes.CDLL(None).shmctl(number, _IPC_RMID, None)


def outlive(pipe: int) -> None:
    """Wait for the end of the writer of a pipe, then kill what works in the directories that it named, line by line.

    The kernel kills the servers of a guardian that is killed, and their children end by themselves when they see it;
    but a child that is stopped sees nothing.
    """
    named = b""
    while part := os.read(pipe, 65_536):
        named += part
    directories = [os.fsdecode(line) for line in dict.fromkeys(named.splitlines())]
    deadline = time.monotonic() + _TIMEOUT_S
    while (left := working_in(directories)) and time.monotonic() < deadline:
        send(left, signal.SIGKILL)
        time.sleep(_POLL_S)
    for directory in directories:
        forget_memory(directory)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["", ""]


def _numbers() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - thousands, and quickly
