"""Read-your-writes: what a thread, task or request has committed, and the token that carries it to another process."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType, ref

from undaunted.engine.call import current_call
from undaunted.engine.context import current_options
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from undaunted.sqlalchemy.cluster import Cluster

__all__ = [
    "LAST",
    "Commit",
    "Shared",
    "Token",
    "await_token",
    "note_commit",
    "reading_own_writes",
    "remaining_s",
    "token",
]

_WRITTEN = re.compile(r"(\d{1,10})-([0-9A-Fa-f]{1,16})")
_LOOK_S = 0.005


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """A position in a cluster's log of changes: who has reached it has everything that was committed before.

    ``str(token)`` is made of letters, digits and ``-``, so it fits into a cookie, a header, a queue's message or a URL;
    `Token.parse` reads it again, in any process.

    Attributes:
        timeline: PostgreSQL's timeline, one more with each promotion.
        lsn: The position in it, PostgreSQL's LSN as a number of bytes.
    """

    timeline: int
    lsn: int

    def __str__(self) -> str:
        return f"{self.timeline}-{self.lsn:X}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read what ``str(token)`` has written.

        Raises:
            ValueError: It is no token.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:40]!r} is no token; pass on what str(session.token()) gave, such as '1-3000148'.")
        return cls(int(found[1]), int(found[2], 16))

    def joined(self, other: Token | None) -> Token:
        """The position that is reached where both are."""
        if other is None:
            return self
        return Token(max(self.timeline, other.timeline), max(self.lsn, other.lsn))


class Commit:
    """The last commit of a thread or task on one cluster: first only its moment, later its token.

    Attributes:
        at_s: When it had returned, on `time.monotonic`.
        token: A position behind it, the first that became known; None until then. It is kept, since each later one
            is farther ahead, and replicas would never reach it under load.
    """

    __slots__ = ("_cluster", "at_s", "token")

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self.token: Token | None = None
        self._cluster: ReferenceType[Cluster] | None = None

    @classmethod
    def at(cls, token: Token, cluster: ReferenceType[Cluster]) -> Commit:
        """One of an earlier request, or of another process, of which the position is known."""
        commit = cls(time.monotonic())
        commit.token, commit._cluster = token, cluster
        return commit

    def position(self, cluster: Cluster) -> Token | None:
        """A position behind it; None while none is known, so that only the primary will do."""
        if self.token is None or self._cluster is None or self._cluster() is not cluster:  # other settings since then
            self.token, self._cluster = cluster.token_since(self.at_s), ref(cluster)
        return self.token


class Shared(dict[str, Commit]):
    """The commits of everything that runs within one `reading_own_writes`, or one request."""


LAST: ContextVar[Mapping[str, Commit]] = ContextVar("undaunted_sqlalchemy_commits", default={})  # noqa: B039  # only a `Shared` is written to


def note_commit(cluster: str) -> Commit:
    """Note that this thread or task has just committed something on a cluster, or may have."""
    commit = Commit(time.monotonic())
    last = LAST.get()
    if isinstance(last, Shared):
        last[cluster] = commit
    else:
        LAST.set({**last, cluster: commit})
    return commit


@contextmanager
def reading_own_writes() -> Generator[None]:
    """Take everything that runs within the block for one: readonly sessions see what any part of it has committed.

    Without it each thread and each task remembers only what it has committed itself. Put it around a request that has
    its work done by several tasks, or partly in threads, as `asyncio.gather`, `asyncio.to_thread` and frameworks with
    thread pools do; they must inherit its context, as all of these do. What was committed before counts as well.
    """
    before = LAST.get()
    LAST.set(Shared(before))
    try:
        yield
    finally:
        LAST.set(before)  # not by a token: a framework may leave the block in another context


def token(target: Any) -> Token | None:
    """The position behind what this thread or task has last committed on a cluster, to be handed to another process.

    It asks no server where the cluster's monitors know the answer already, else it waits for their next one. In
    coroutines use ``await session.token()``, which waits without blocking.

    Args:
        target: A base, a mapped class, or the name of a cluster.

    Returns:
        The token for ``Session(..., readonly=True, token=...)``; None where nothing has been committed here.

    Raises:
        ConfigurationError: The cluster is no PostgreSQL.
        OperationalError: There was no primary within the deadline; undaunted's, and SQLAlchemy's.
    """
    cluster = cluster_of(target)
    return await_token(cluster, LAST.get().get(cluster.name), time.sleep)


def await_token(cluster: Cluster, commit: Commit | None, sleep: Callable[[float], object]) -> Token | None:
    """The position behind a commit; waits for it with `sleep`.

    Raises:
        ConfigurationError: The cluster is no PostgreSQL.
        OperationalError: It was not known by the deadline.
    """
    if not cluster.is_postgresql:
        raise ConfigurationError(
            f"Cluster {cluster.name!r} is no PostgreSQL, so it has no tokens. Leave the token out: with one database "
            "there is no replica that could be behind."
        )
    if commit is None:
        return None
    ends_s = time.monotonic() + remaining_s(cluster.guard.policy.deadline_s)
    cluster.readers(after=None)  # which has the monitors begin: in a forked child they have not yet
    if commit.position(cluster) is None and cluster.primary is not None:
        cluster.suspect(cluster.primary)  # which has its monitor ask now
    while commit.position(cluster) is None:
        if time.monotonic() >= ends_s:
            raise cluster.guard.errors.no_node_available(
                f"cluster {cluster.name!r}: no primary has said within the deadline how far its log has come, so there "
                "is no token for the last commit. Start a node, or raise `retry.deadline`."
            )
        sleep(_LOOK_S)
    return commit.token


def remaining_s(otherwise_s: float) -> float:
    """Seconds that the running call, or the block around, still has; `otherwise_s` where nothing bounds it."""
    call = current_call()
    if call is not None:
        return call.remaining_s()
    options = current_options()
    if options is None or options.deadline is None:
        return otherwise_s
    return options.deadline.remaining_s(time.monotonic())
