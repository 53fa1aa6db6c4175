"""Read-your-writes from one request to the next: what a visitor has committed, carried by himself as text.

The text of a cluster is its token, or `UNKNOWN` where no position was known in time. Then the next request reads from
the primary until one is known, which is as correct, and only serves fewer reads from replicas.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING
from weakref import ref

from undaunted.backend import directory
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy.cluster import Cluster
from undaunted.sqlalchemy.tokens import LAST, Commit, Shared, Token

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

__all__ = ["UNKNOWN", "Carried"]

_LOG = logging.getLogger("undaunted.sqlalchemy")

UNKNOWN = "?"

_WAIT_S = 0.05
"""How long the end of a request waits for a position behind its own commits; a monitor that is nudged needs some ms."""
_LOOK_S = 0.002


class Carried:
    """The commits of one request: begun with those of the requests before it, and handed on to the next.

    Args:
        tokens: What `written` gave at the end of the last request; None begins with nothing. What is no token of a
            PostgreSQL cluster is left out.
    """

    def __init__(self, tokens: Mapping[str, str] | None) -> None:
        self._commits = Shared()
        self._before: Mapping[str, Commit] = {}
        for name, text in (tokens or {}).items():
            commit = _commit_of(name, text)
            if commit is None:
                _LOG.debug("a token that a request brought for a cluster was not understood, and is left out")
            else:
                self._commits[name] = commit

    def enter(self) -> None:
        """From here on readonly sessions see these commits, and those that follow; no others of this thread or task."""
        self._before = LAST.get()
        LAST.set(self._commits)

    def leave(self) -> None:
        """What was in force before holds again."""
        LAST.set(self._before)  # not by a token: a framework may leave in another context

    def written(self) -> dict[str, str]:
        """The text of each cluster; waits for some milliseconds where a position is not known yet."""
        for _ in self._waits():
            time.sleep(_LOOK_S)
        return self._texts()

    async def written_async(self) -> dict[str, str]:
        """The same without blocking the event loop."""
        for _ in self._waits():
            await asyncio.sleep(_LOOK_S)
        return self._texts()

    def _waits(self) -> Generator[None]:
        """While a position is not known, of clusters whose primary can tell it; also one that was brought unknown."""
        found = [(c, commit) for name, commit in self._commits.items() if (c := _cluster(name)) is not None]
        waited = [(cluster, commit) for cluster, commit in found if cluster.primary is not None]
        for cluster, commit in waited:
            if commit.position(cluster) is None and cluster.primary is not None:
                cluster.suspect(cluster.primary)  # which has its monitor ask now
        ends_s = time.monotonic() + _WAIT_S
        while time.monotonic() < ends_s and any(commit.position(cluster) is None for cluster, commit in waited):
            yield

    def _texts(self) -> dict[str, str]:
        texts: dict[str, str] = {}
        for name, commit in self._commits.items():
            cluster = _cluster(name)
            if cluster is not None:
                position = commit.position(cluster)
                texts[name] = UNKNOWN if position is None else str(position)
        return texts


def _commit_of(name: str, text: str) -> Commit | None:
    cluster = _cluster(name)
    if cluster is None:
        return None
    if text == UNKNOWN:
        return Commit(time.monotonic())
    try:
        return Commit.at(Token.parse(text), ref(cluster))
    except ValueError:
        return None


def _cluster(name: str) -> Cluster | None:
    """The PostgreSQL cluster of this name; None where the settings have none."""
    found = directory()
    try:
        handle = found.handle(name) if found.knows(name) else None
    except ConfigurationError:  # configured anew since then; whoever uses the cluster is told
        return None
    return handle if isinstance(handle, Cluster) and handle.is_postgresql else None
