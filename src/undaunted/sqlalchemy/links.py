"""The pooled connections of a cluster as it knows them: to which node, since when, and until when one may be used."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import ConnStatus

from undaunted.sqlalchemy import sockets

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KEY", "Link", "Links"]

KEY = "undaunted.link"
"""Where a connection's `Link` is kept in SQLAlchemy's ``Connection.info``."""


class Link:
    """One connection to a node, sync or async.

    Attributes:
        node: The node, as ``"host:port"``.
        epoch: The node's epoch when it was made (see `undaunted.sqlalchemy.watch.Watch.epoch`).
        for_writes: Whether it may be used only while its node takes writes.
        pgconn: libpq's connection.
        pid: The number of the server's process.
        is_async: Whether its owner is an event loop's.
        is_fresh: Whether nobody has had it yet.
        is_lent: Whether somebody has it now.
        is_cut: Whether it was ended from outside, so that it must not be used again.
        is_overdue: Whether it was ended because its user's deadline had passed.
        deadline_s: Until when its user may keep it (monotonic); None while nobody has it, or without a deadline.
        commit_at: Timeline and position that its last COMMIT is behind; None while nothing is under way.
        is_weakened: Whether the last COMMIT was answered although no standby had confirmed it.
    """

    __slots__ = (
        "__weakref__", "_ends", "_has_news", "_lock", "commit_at", "deadline_s", "epoch", "for_writes", "is_async",
        "is_cut", "is_fresh", "is_lent", "is_overdue", "is_weakened", "node", "pgconn", "pid",
    )  # fmt: skip

    def __init__(
        self, node: str, epoch: int, pgconn: psycopg.pq.abc.PGconn, *, for_writes: bool, is_async: bool
    ) -> None:
        self.node, self.epoch, self.pgconn = node, epoch, pgconn
        self.pid = pgconn.backend_pid
        self.for_writes, self.is_async = for_writes, is_async
        self.is_fresh = True
        self.is_lent = self.is_cut = self.is_overdue = self.is_weakened = False
        self.deadline_s: float | None = None
        self.commit_at: Any = None
        self._lock = threading.Lock()
        self._ends = sockets.ends_of(pgconn.socket)
        self._has_news: Callable[[], Any] | None = None  # made when it is first asked

    def cut(self) -> None:
        """End it from outside: whoever waits on it gets an error at once."""
        self.is_cut = True
        try:
            fd = self.pgconn.socket
        except psycopg.Error:  # closed by its owner
            return
        sockets.cut(fd, self._ends)

    def leave(self) -> None:
        """Let go of it in this process: it belongs to the one that this was forked off."""
        self.is_cut = True
        try:
            fd = self.pgconn.socket
        except psycopg.Error:  # closed by its owner
            return
        sockets.leave(fd, self._ends)

    def lend(self, deadline_s: float | None) -> None:
        """Somebody uses it now, until this moment."""
        self.is_fresh = False
        self.is_lent = True
        with self._lock:
            self.deadline_s = deadline_s

    def give_back(self) -> None:
        """Nobody uses it any more."""
        self.is_lent = False
        with self._lock:
            self.deadline_s = None

    def cut_if_overdue(self, now_s: float) -> float | None:
        """End it if its user's deadline has passed; returns the deadline that is still to come, if any."""
        with self._lock:  # so that it is never the next user who is cut off
            deadline_s = self.deadline_s
            if deadline_s is None or deadline_s > now_s:
                return deadline_s
            self.deadline_s = None
            self.is_overdue = True
            self.cut()
            return None

    def has_ended(self) -> bool:
        """Whether the node has ended it while nobody used it; asks nothing and waits for nothing."""
        try:
            if self._has_news is None:
                self._has_news = sockets.news_of(self.pgconn.socket)
            for _ in range(3):  # the server's last words, then the end
                if not self._has_news():
                    return self.pgconn.status != ConnStatus.OK
                self.pgconn.consume_input()
        except (psycopg.Error, OSError, ValueError):
            return True
        return False

    def abandon(self) -> None:
        """Close it without its owner; only for what nobody uses."""
        self.is_cut = True
        self.pgconn.finish()

    def __repr__(self) -> str:
        return f"<Link to {self.node}{', cut' if self.is_cut else ''}>"


class Links:
    """All links of a cluster, for as long as their connections live."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, with fresh locks."""
        self._lock = threading.Lock()
        self._known: weakref.WeakSet[Link] = weakref.WeakSet()

    def leave(self) -> None:
        """In a forked child: whatever is done here with the parent's connections, it and its servers hear nothing of.

        A session that was open at the fork is closed in the child, too, be it as its frames are left; which would undo
        the parent's transaction, of which the COMMIT would then be answered all the same.
        """
        for link in list(self._known):  # not under the lock, which a thread of the parent may have held
            link.leave()
        self.begin_anew()

    def add(self, link: Link) -> None:
        """Know one more."""
        with self._lock:
            self._known.add(link)

    def discard(self, link: Link) -> None:
        """Know one less."""
        with self._lock:
            self._known.discard(link)

    def all(self) -> list[Link]:
        """Every link that is known."""
        with self._lock:
            return list(self._known)

    def cut(self, which: Callable[[Link], bool]) -> None:
        """End those that are chosen."""
        for link in self.all():
            if not link.is_cut and which(link):
                link.cut()
