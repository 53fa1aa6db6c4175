"""The two sides as their starter sees them: a process each, and its ledger, line by line as it is written."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from undaunted.lab import LabError
from undaunted.lab.ledger import Ledger

if TYPE_CHECKING:
    from backends.stage import Stage

    from undaunted.lab.lab import Lab

HERE = Path(__file__).resolve().parent
PAST_ORDERS = 1500
OPENING_S = 60.0
ENDING_S = 75.0


class Side:
    """A process that runs the shop on one base class; ends with this process, however this one ends.

    Args:
        name: ``"plain"`` or ``"undaunted"``.
        stage: The backend.
        lab: Where its database is.
        log: Where what it writes to standard error goes.
    """

    def __init__(self, name: str, stage: Stage, lab: Lab, *, log: Path) -> None:
        self.name = name
        self.kinds = stage.kinds
        self.title = f"plain {stage.kinds.orm}" if name == "plain" else name
        self.database = f"shop_{name}"
        self.log = log
        self.ledger = Ledger()
        self.is_ready = threading.Event()
        self.is_done = False
        self._failure: LabError | None = None
        spec = {
            "backend": stage.backend,
            "side": name,
            "settings": stage.settings(lab, self.database),
            "reach": stage.reach(lab, self.database),
            "database": self.database,
            "past_orders": PAST_ORDERS,
        }
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, str(HERE / "side.py"), json.dumps(spec)],
                stdin=subprocess.PIPE,  # its lifeline: closed when we end, however we end
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for us to handle
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._words: IO[bytes] = self._process.stdin
        self._thread = threading.Thread(
            target=self._listen, args=(self._process.stdout,), name=f"listen-{name}", daemon=True
        )
        self._thread.start()

    def check(self) -> None:
        """Raise what went wrong.

        Raises:
            LabError: The process ended by itself, or told what is no line of a ledger.
        """
        if self._failure is not None:
            raise self._failure
        if not self.is_done and (status := self._process.poll()) is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-15:]
            told = "".join(f"\n  {line}" for line in lines)
            raise LabError(f"The side {self.name} ended with status {status} before it was told to.{told}")

    def wait_ready(self) -> None:
        """Wait until its shop can open.

        Raises:
            LabError: It ended, or it took too long.
        """
        last_s = time.monotonic() + OPENING_S
        while not self.is_ready.wait(0.1):
            self.check()
            if time.monotonic() > last_s:
                raise LabError(f"The side {self.name} was not ready to open within {OPENING_S:.0f} s.")

    def open(self) -> None:
        """Let the customers in."""
        self._say(b"go\n")

    def close(self) -> None:
        """Let the customers finish what they are at; what has not come back after a minute is open in the ledger."""
        self._say(b"stop\n")

    def wait_done(self) -> None:
        """Wait until everybody is out."""
        self._thread.join(ENDING_S)
        self.end()
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """End the process now, if it is still there."""
        if not self.is_done:
            self._process.kill()
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            with contextlib.suppress(BrokenPipeError):
                self._words.close()
        self._thread.join(ENDING_S)

    def first_error(self) -> str | None:
        """The traceback of the first operation that raised, as its process wrote it."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        stories = text.split("--- ")
        return f"--- {stories[1].strip()}" if len(stories) > 1 else None

    def _say(self, word: bytes) -> None:
        self._words.write(word)
        self._words.flush()

    def _listen(self, lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    return  # cut off: what it was to tell stays open in the ledger
                try:
                    self._hear(line.decode())
                except LabError as error:
                    self._failure = error
                    return

    def _hear(self, line: str) -> None:
        if line == '{"is":"ready"}\n':
            self.is_ready.set()
        elif line == '{"is":"done"}\n':
            self.is_done = True
        else:
            self.ledger.feed(line)
