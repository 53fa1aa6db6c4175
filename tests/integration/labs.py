"""What the tests of the labs share: waiting, looking at processes, and the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["alive", "lab_up", "letter", "started", "undaunted", "until"]

MAIN = "from undaunted.cli import main; main()"


def until(condition: Callable[[], Any], *, timeout_s: float = 30.0, what: str = "it") -> Any:
    """Wait for a state, and return what was waited for."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.02)
    return found


def letter(pid: int) -> str:
    """The state of a process, as the kernel writes it; X when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def alive(pid: int) -> bool:
    """Whether a process runs."""
    return letter(pid) not in {"Z", "X"}


@contextmanager
def started() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start Python programs, and end what is left of them."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        running.append(process)
        return process

    try:
        yield start
    finally:
        for process in running:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def undaunted(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    argv = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=check, timeout=180)


@contextmanager
def lab_up(*arguments: str, ends_within_s: float = 30.0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A lab that another command line keeps, and what that printed; ended by Ctrl-C, unless the test ends it first."""
    up = subprocess.Popen(
        [sys.executable, "-c", MAIN, "lab", "up", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        # A test run that a shell put in the background ignores Ctrl-C, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    assert up.stdout is not None
    with up, up.stdout as printed:
        try:
            lines: list[str] = []
            for line in printed:
                lines.append(line)
                if line.startswith("It runs until"):
                    break
            yield up, "".join(lines)
            if up.returncode is None:
                up.send_signal(signal.SIGINT)
                assert up.wait(ends_within_s) == 0
        finally:
            up.kill()
