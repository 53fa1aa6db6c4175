"""Who may connect to a node now: a few at a time, so that a node lost is no storm of connections on the next one."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

__all__ = ["AT_ONCE", "PATIENCE_S", "Turns"]

AT_ONCE = 2
"""How many connect to one node at a time; as many as pymongo's `maxConnecting` lets.

To connect costs client and server some 10 ms of a processor. A dozen who do so at once are all served at the end of
that time; in turn the first is served at once, and those who have a connection go on working meanwhile.
"""
PATIENCE_S = 0.25
"""How long anybody waits for their turn; it may be that those before hang, and that is no reason to hang, too."""
_LOOK_S = 0.005
"""Tasks look this often whether it is their turn."""


class Turns:
    """One per cluster; for threads and for tasks at once.

    Args:
        patience_s: How long anybody waits.
    """

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._under_way: dict[str, int] = {}

    def are_taken(self, node: str) -> bool:
        """Whether whoever came now would have to wait."""
        return self._under_way.get(node, 0) >= AT_ONCE

    def _take(self, node: str) -> bool:
        if self.are_taken(node):
            return False
        self._enter(node)
        return True

    def _enter(self, node: str) -> None:
        self._under_way[node] = self._under_way.get(node, 0) + 1

    def _leave(self, node: str) -> None:
        with self._changed:
            self._under_way[node] -= 1
            self._changed.notify_all()  # who waits for another node is woken in vain

    @contextlib.contextmanager
    def wait(self, node: str, *, at_most_s: float) -> Generator[None]:
        """Wait in a thread until it is one's turn, or for as long as anybody waits; it lasts as long as the block.

        Args:
            node: The node to connect to.
            at_most_s: How long the caller can wait, where that is shorter.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._take(node), min(at_most_s, self._patience_s)):
                self._enter(node)
        try:
            yield
        finally:
            self._leave(node)

    @contextlib.asynccontextmanager
    async def wait_async(self, node: str, *, at_most_s: float) -> AsyncGenerator[None]:
        """The same for a task."""
        ends_s = time.monotonic() + min(at_most_s, self._patience_s)
        while True:
            with self._changed:
                if self._take(node):
                    break
                if time.monotonic() >= ends_s:
                    self._enter(node)
                    break
            await asyncio.sleep(_LOOK_S)
        try:
            yield
        finally:
            self._leave(node)
