"""Real servers of processes, started by a test and ended with it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["PROGRAMS", "Processes", "Site", "make_tables"]

PROGRAMS = Path(__file__).parent / "programs"
_STARTS_S, _ENDS_S = 40.0, 15.0


def environment(site: dict[str, Any]) -> dict[str, str]:
    return {**os.environ, "SITE": json.dumps(site), "PYTHONPATH": str(PROGRAMS), "PYTHONUNBUFFERED": "1"}


def make_tables(site: dict[str, Any]) -> None:
    """Make the tables of the applications of these tests, in a process of its own."""
    subprocess.run([sys.executable, str(PROGRAMS / "marks.py")], env=environment(site), check=True, timeout=60)


class Processes:
    """A program and all the processes that it forks, within a ``with`` block.

    They are a group of their own, and whoever is still there at the end of the block, or of this process, is killed
    with the group.
    """

    def __init__(self, arguments: list[str], site: dict[str, Any], folder: Path) -> None:
        self._log = folder / "processes.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAMS / "guarded.py"), *arguments],
                cwd=folder,
                env=environment(site),
                stdin=subprocess.PIPE,  # which ends with this process, however it ends
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self) -> str:
        """What they have written so far."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.process.terminate()
            self.process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            if self.process.stdin is not None:
                self.process.stdin.close()

    def until(self, condition: Any, *, what: str, timeout_s: float = _STARTS_S) -> Any:
        """Wait for a state while the program runs, and return what was waited for."""
        ends_s = time.monotonic() + timeout_s
        while not (found := condition()):
            assert self.process.poll() is None, f"the program has ended:\n{self.said()[-5000:]}"
            assert time.monotonic() < ends_s, f"{what} did not come within {timeout_s:g} s:\n{self.said()[-5000:]}"
            time.sleep(0.02)
        return found


class Site(Processes):
    """A web server with the application `site_wsgi`; listens on a free port of loopback."""

    def __init__(self, server: str, options: list[str], site: dict[str, Any], folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        command = {
            "gunicorn": ["-m", "gunicorn", "--bind", self.address, "--worker-tmp-dir", str(folder), "site_wsgi:app"],
            "uwsgi": [
                "-c",
                "import pyuwsgi; pyuwsgi.run()",
                "--http-socket",
                self.address,
                "--module",
                "site_wsgi:app",
            ],
        }[server]
        super().__init__([sys.executable, *command, *options], site, folder)

    def __enter__(self) -> Self:
        def listens() -> bool:
            with socket.socket() as probe:
                host, port = self.address.split(":")
                return probe.connect_ex((host, int(port))) == 0

        try:
            self.until(listens, what="the server")
        except BaseException:
            self.__exit__()
            raise
        return self

    def ask(self, path: str, *, method: str = "GET", timeout_s: float = 30.0) -> tuple[int, dict[str, Any]]:
        """One request; returns the status and the JSON of the answer. Status 0: no answer came in time."""
        request = urllib.request.Request(f"http://{self.address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {}
        except OSError:  # a timeout, or the connection was cut
            return 0, {}

    def write(self, marks: list[str], *, users: int = 8, timeout_s: float = 30.0) -> list[tuple[int, dict[str, Any]]]:
        """Write these marks, `users` at a time."""
        with ThreadPoolExecutor(users) as pool:
            return list(pool.map(lambda mark: self.ask(f"/{mark}", method="POST", timeout_s=timeout_s), marks))

    def counts(self, marks: list[str], *, timeout_s: float = 30.0) -> Counter[int]:
        """How many of these marks are there how often; -1 stands for no answer."""
        with ThreadPoolExecutor(8) as pool:
            return Counter(pool.map(lambda mark: self.ask(f"/{mark}", timeout_s=timeout_s)[1].get("count", -1), marks))
