"""SQLAlchemy's own pools, but for one thing: a call's deadline bounds its wait for a connection, too."""

from __future__ import annotations

from typing import Any

from sqlalchemy.pool import AsyncAdaptedQueuePool, QueuePool
from sqlalchemy.util import queue

from undaunted.sqlalchemy.deadlines import remaining_here_s

__all__ = ["AsyncPool", "Pool"]

_FOR_EVER_S = 86400.0


class _Queue(queue.Queue[Any]):
    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  # as SQLAlchemy calls it
        return super().get(block, _bounded_s(timeout) if block else timeout)


class _AsyncQueue(queue.AsyncAdaptedQueue[Any]):
    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002  # as SQLAlchemy calls it
        return super().get(block, _bounded_s(timeout) if block else timeout)


def _bounded_s(timeout_s: float | None) -> float:
    return remaining_here_s(_FOR_EVER_S if timeout_s is None else timeout_s)


class Pool(QueuePool):
    """Connections for threads."""

    _queue_class = _Queue


class AsyncPool(AsyncAdaptedQueuePool):
    """Connections for tasks."""

    _queue_class = _AsyncQueue
