"""What the tests of the engine layer share."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import undaunted
from undaunted.sqlalchemy.cluster import cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from undaunted.sqlalchemy.cluster import Cluster

__all__ = ["Heard", "opened", "ours", "timed", "until"]


def until(holds: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Wait until something holds, and return it."""
    ends_s = time.monotonic() + timeout_s
    while not (found := holds()):
        assert time.monotonic() < ends_s, f"not within {timeout_s} s: {holds}"
        time.sleep(0.005)
    return found


@contextlib.contextmanager
def opened(settings: dict[str, Any]) -> Iterator[Cluster]:
    """The cluster ``ledger`` of these settings, closed at the end with every thread of ours."""
    undaunted.configure(settings)
    try:
        yield cluster_of("ledger")
    finally:
        undaunted.close()
    ends_s = time.monotonic() + 10.0
    while left := ours():
        assert time.monotonic() < ends_s, f"still there: {[thread.name for thread in left]}"
        time.sleep(0.005)


def ours() -> set[threading.Thread]:
    """The threads that undaunted runs."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("undaunted-")}


class Heard:
    """The events of a block, by their class's name."""

    def __enter__(self) -> Self:
        self.events: list[Any] = []
        self._end = undaunted.subscribe(self.events.append)
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def of(self, name: str) -> list[Any]:
        return [event for event in self.events if type(event).__name__ == name]


class timed:  # noqa: N801  # used like a function
    """How long a block took, in seconds."""

    took_s = 0.0

    def __enter__(self) -> Self:
        self._began_s = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.took_s = time.monotonic() - self._began_s
