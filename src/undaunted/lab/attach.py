"""Asks a running JVM to do something, as ``jcmd`` does, which a bare Java runtime may lack.

The JVM listens on a socket of its own once it finds a file of its own user's and gets SIGQUIT; it serves nobody else.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["command"]

_TEMPORARY = Path("/tmp")  # noqa: S108 - where every JVM on Linux has its socket, whatever its temporary directory is
_POLL_S = 0.02


def command(pid: int, words: str, *, wake: Callable[[], object], timeout_s: float) -> str:
    """Have a JVM run a diagnostic command; what it printed.

    Args:
        pid: Its process.
        words: The command and its arguments, such as ``"VM.version"``.
        wake: Sends SIGQUIT to it.
        timeout_s: How long it may take.

    Raises:
        LabError: It gave no answer in time, or refused.
    """
    deadline_s = time.monotonic() + timeout_s
    name = words.split(maxsplit=1)[0]
    try:
        path = _open_socket(pid, wake=wake, deadline_s=deadline_s)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(max(0.001, deadline_s - time.monotonic()))
            connection.connect(str(path))
            connection.sendall(b"".join(part.encode() + b"\0" for part in ("1", "jcmd", words, "", "")))
            with connection.makefile("r", encoding="utf-8", errors="replace") as answer:
                status, told = answer.readline().strip(), answer.read()
    except OSError as error:
        raise LabError(f"The JVM {pid} did not take the command {name} ({type(error).__name__}: {error}).") from error
    if status != "0":
        raise LabError(f"The JVM {pid} refused the command {name}: {told.strip()[:300]}")
    return told


def _open_socket(pid: int, *, wake: Callable[[], object], deadline_s: float) -> Path:
    path = _TEMPORARY / f".java_pid{pid}"
    request = Path(f"/proc/{pid}/cwd") / f".attach_pid{pid}"
    if path.is_socket():
        return path
    request.touch(mode=0o600)
    try:
        wake()
        while not path.is_socket():
            if time.monotonic() > deadline_s:
                raise TimeoutError("it gave no answer in time")
            time.sleep(_POLL_S)
    finally:
        request.unlink(missing_ok=True)
    return path
