"""One thread with one event loop, in which all nodes of a cluster live; and how other threads reach it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import TYPE_CHECKING

from undaunted.testing.cql.errors import FakeCassandraError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["LoopThread"]

_PATIENCE_S = 30.0
_LAST_TURNS = 3
"""A transport closes its socket one turn of the loop after it was cut, and is made in two."""


class LoopThread:
    """An event loop in a daemon thread of its own.

    Attributes:
        loop: The loop; only to be touched from its own thread.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the loop's thread, and wait for what it returns or raises.

        Raises:
            FakeCassandraError: The thread is gone, or busy for very long.
        """
        if threading.current_thread() is self._thread:
            return function()
        if not self._thread.is_alive():
            raise FakeCassandraError("the fake cluster is closed")
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits
                answer.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        try:
            return answer.result(_PATIENCE_S)
        except LateError as error:
            if answer.done():
                raise
            raise FakeCassandraError(f"the fake cluster has not come to {function!r} in {_PATIENCE_S} s") from error

    def close(self) -> None:
        """End loop and thread. What was handed to the loop and not begun is not done."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            raise FakeCassandraError("the thread of the fake cluster does not end: a predicate of a script blocks it")

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self.loop.run_until_complete(self._cancel())
        finally:
            self.loop.close()

    async def _cancel(self) -> None:
        """End all tasks, and let transports that were cut close their sockets."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)
