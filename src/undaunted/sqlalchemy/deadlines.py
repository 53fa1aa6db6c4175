"""The deadline of whoever uses a connection, kept from outside: no lock, COMMIT or frozen node holds anybody longer."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from undaunted.engine.call import CURRENT
from undaunted.engine.context import IN_FORCE

if TYPE_CHECKING:
    from undaunted.sqlalchemy.links import Links

__all__ = ["Deadlines", "deadline_here_s", "remaining_here_s"]


def deadline_here_s() -> float | None:
    """The moment (monotonic) by which the running call, or the block around, must have ended; None without one."""
    call = CURRENT.get()
    deadline_s = call.deadline_s if call is not None and call.is_running else None
    options = IN_FORCE.get()
    if options is not None and options.deadline is not None:
        at_s = options.deadline.at_s
        return at_s if deadline_s is None or at_s < deadline_s else deadline_s
    return deadline_s


def remaining_here_s(otherwise_s: float) -> float:
    """Seconds until then; `otherwise_s` where nothing bounds it, and at most that."""
    deadline_s = deadline_here_s()
    return otherwise_s if deadline_s is None else max(0.0, min(otherwise_s, deadline_s - time.monotonic()))


class Deadlines:
    """One per cluster, with a thread of its own from the first deadline on.

    It sleeps until the earliest deadline that it knows of, so a later one wakes nobody.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, with fresh locks: at the start, and in a forked child."""
        self._changed = threading.Condition()
        self._next_s = float("inf")
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def keep(self, deadline_s: float) -> None:
        """Have whichever link was lent with this deadline cut when that has passed."""
        if deadline_s < self._next_s:
            self._wake(deadline_s)

    def _wake(self, deadline_s: float) -> None:
        with self._changed:
            if self._is_closed or deadline_s >= self._next_s:
                return
            self._next_s = deadline_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="undaunted-deadlines", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_closed and (waits_s := self._next_s - time.monotonic()) > 0:
                    self._changed.wait(min(waits_s, 3600.0))
                if self._is_closed:
                    return
                self._next_s = float("inf")
            now_s = time.monotonic()
            for link in self._links.all():
                next_s = link.cut_if_overdue(now_s)
                if next_s is not None and next_s < self._next_s:
                    with self._changed:
                        self._next_s = min(self._next_s, next_s)

    def close(self) -> None:
        """End the thread. May be called twice."""
        with self._changed:
            self._is_closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)
