"""Where a readonly session reads: a node for each transaction, never behind what its reader has written or seen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from undaunted.sqlalchemy.tokens import LAST, remaining_s
from undaunted.sqlalchemy.waiting import can_wait, pause

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import sqlalchemy as sa

    from undaunted.core.policy import Policy, Reads
    from undaunted.sqlalchemy.cluster import Cluster
    from undaunted.sqlalchemy.tokens import Token

__all__ = ["Reader", "preferred"]

_READONLY = "_undaunted_readonly"
_LOOK_S = 0.01
"""Between two looks for a node while none can serve; what the monitors have found is read, nobody is asked."""


def preferred(reads: Reads, *, primary: str | None, replicas: Sequence[str], nearest: Sequence[str] = ()) -> str | None:
    """The node that is to serve a reader; None where none can now.

    Args:
        reads: Where reads go.
        primary: The node that takes writes, where it may be asked.
        replicas: Those that may serve this reader, the best first.
        nearest: All nodes, the nearest first; for ``"any"``.
    """
    replica = replicas[0] if replicas else None
    if reads == "primary":
        return primary
    if reads == "fallback":
        return primary or replica
    if reads == "any":
        return next((node for node in nearest if node == primary or node in replicas), replica or primary)
    return replica or primary


class Reader:
    """What one readonly session knows of one cluster: what it must not be behind, and where it reads.

    Attributes:
        cluster: The cluster.
        token: The position that its user gave; None where none was given.
        node: Where the transaction reads, or the last one did; None before the first.
        engine: The engine of that node while a transaction runs; None where the next statement chooses.
    """

    __slots__ = ("_seen", "_seen_s", "_token_s", "cluster", "engine", "node", "token")

    def __init__(self, cluster: Cluster, token: Token | None = None) -> None:
        self.cluster = cluster
        self.token = token
        self.node: str | None = None
        self.engine: sa.Engine | None = None
        self._seen: Token | None = None
        self._seen_s: float | None = None
        self._token_s: float | None = None

    def saw(self) -> None:
        """Note that its node has just answered: no later answer may come from one that is behind it."""
        self._seen_s = time.monotonic()

    def choose(self, reads: Reads, avoid: Collection[str] = ()) -> str | None:
        """The node for a transaction; None where none can serve it now.

        A replica may that has replayed the token, the last commit of this thread or task, and what this session has
        seen. Where the position of one of them is not known yet, only the primary may, which is behind nobody.

        Args:
            reads: Where reads go.
            avoid: Nodes that have just failed.
        """
        needed, is_known = self._needed()
        primary = self._primary(needed, avoid)
        if primary is not None and reads in ("primary", "fallback"):
            return primary
        replicas = self.cluster.readers(after=needed, avoid=avoid)  # which has the monitors begin, where they have not
        if not is_known:
            replicas = []
        elif self._seen_s is not None:
            replicas = [self.node] if self.node in replicas else self._caught_up(needed, avoid)
        nearest: Sequence[str] = ()
        if reads == "any":
            sights = [sight for sight in self.cluster.sights() if sight.latency_s is not None]
            nearest = [sight.address for sight in sorted(sights, key=lambda sight: sight.latency_s or 0.0)]
        return preferred(reads, primary=primary, replicas=replicas, nearest=nearest)

    def engine_for(self, policy: Policy, *, avoid: Collection[str], is_async: bool) -> sa.Engine:
        """The engine for a transaction, which the server lets read only; waits until a node can serve it.

        Args:
            policy: Says where reads go, and bounds the wait where no deadline is running.
            avoid: Nodes that have just failed; they are asked again where no other comes up.
            is_async: Whether the connection is for asyncio.
        """
        cluster, reads = self.cluster, policy.reads
        node: str | None = None
        if reads == "primary" and self.token is None:
            # While there is none, the engine that writes waits for it; its error says what is missing, too.
            node = None if cluster.primary in avoid else cluster.primary
        elif cluster.is_postgresql:
            node = self.choose(reads, avoid)
            if node is None and can_wait(is_async=is_async):
                node = self._wait(reads, ends_s=time.monotonic() + remaining_s(policy.deadline_s))
        if node is not None:  # the primary, too: the engine that writes waits for the next one, when a replica would do
            engine = cluster.async_engine_of(node).sync_engine if is_async else cluster.engine_of(node)
        else:
            engine = cluster.async_writer.sync_engine if is_async else cluster.writer
            if cluster.is_postgresql:  # the connections of one node's engine read only from the start
                engine = _readonly(engine)
        self.node, self.engine = node, engine
        return engine

    def _wait(self, reads: Reads, *, ends_s: float) -> str | None:
        while time.monotonic() < ends_s:
            pause(_LOOK_S)
            node = self.choose(reads)
            if node is not None:
                return node
        return None

    def _needed(self) -> tuple[Token | None, bool]:
        """The position that its user asks for, and whether it is known."""
        commit = LAST.get().get(self.cluster.name)
        if commit is None:
            return self.token, True
        position = commit.position(self.cluster)
        return (self.token, False) if position is None else (position.joined(self.token), True)

    def _primary(self, needed: Token | None, avoid: Collection[str]) -> str | None:
        """The primary, unless it has just failed, or is one that has been succeeded by another as the token shows."""
        primary = self.cluster.primary
        if primary is None or primary in avoid:
            return None
        if self.token is not None and needed is not None:
            for sight in self.cluster.sights():
                if sight.address == primary and sight.timeline is not None and sight.timeline < needed.timeline:
                    self.cluster.suspect(primary)
                    return None
        return primary

    def _caught_up(self, needed: Token | None, avoid: Collection[str]) -> list[str]:
        """The replicas that are not behind what has been seen; none where that is not known yet."""
        assert self._seen_s is not None  # noqa: S101  # only then it is asked
        if self._token_s != self._seen_s:
            self._seen, self._token_s = None, self._seen_s
        if self._seen is None:
            self._seen = self.cluster.token_since(self._seen_s)
        return [] if self._seen is None else self.cluster.readers(after=self._seen.joined(needed), avoid=avoid)


def _readonly(engine: sa.Engine) -> sa.Engine:
    """The engine whose transactions the server lets read only; one for each, since a session tells them apart by it."""
    found: sa.Engine | None = vars(engine).get(_READONLY)
    if found is None:
        found = engine.execution_options(postgresql_readonly=True)
        setattr(engine, _READONLY, found)
    return found
