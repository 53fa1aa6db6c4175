"""Who listens to what happens; one bus for the process, held by the registry."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from undaunted.events.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bus"]

E = TypeVar("E", bound=Event)


class Bus:
    """Hands events to listeners, in the thread or task in which they happened, and keeps the last ones.

    A listener that raises is logged, never heard of by the call that was running.

    Args:
        kept: Events to keep for `recent`.
    """

    __slots__ = ("_listeners", "_lock", "_recent")

    def __init__(self, *, kept: int = 100) -> None:
        self._lock = threading.Lock()
        self._recent: deque[Event] = deque(maxlen=kept)
        # Replaced as a whole, never changed, so that `publish` needs no lock.
        self._listeners: tuple[tuple[Callable[[Any], object], tuple[type[Event], ...]], ...] = ()

    def subscribe(self, listener: Callable[[Any], object], *event_types: type[Event]) -> Callable[[], None]:
        """Call `listener` with each event, or with each of the given types and what inherits from them.

        Args:
            listener: A plain function of one argument. It runs within the call that failed, so it must be quick.
            event_types: The types to hear of; none means all.

        Returns:
            A function that ends the subscription; calling it again does nothing.

        Raises:
            TypeError: The listener cannot be called or is a coroutine function, or a type is no event.
        """
        if not callable(listener) or inspect.iscoroutinefunction(listener):
            raise TypeError(
                f"{listener!r} cannot listen: events are handed to a plain function, not to a coroutine function. "
                "Let it put them into a queue that your coroutine reads."
            )
        for each in event_types:
            _check_type(each)
        entry = (listener, event_types or (Event,))
        with self._lock:
            self._listeners = (*self._listeners, entry)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not entry)

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Keep the event and hand it to everybody who listens for its type."""
        self._recent.append(event)
        for listener, event_types in self._listeners:
            if isinstance(event, event_types):
                try:
                    listener(event)
                except Exception as error:  # noqa: BLE001  # a call never fails for who listens to it
                    _log_failure(event, error)

    def recent(self) -> tuple[Event, ...]:
        """The last events, oldest first."""
        # The copy is one step of C code: iterating while another thread appends would raise.
        return tuple(self._recent.copy())

    def after_fork_in_child(self) -> None:
        """Begin anew: another thread of the parent may have held the lock. Listeners stay."""
        self._lock = threading.Lock()


def _check_type(given: object) -> None:
    if not (isinstance(given, type) and issubclass(given, Event)):
        raise TypeError(f"{given!r} is not an event class of undaunted.events")


def _log_failure(event: Event, error: Exception) -> None:
    import logging  # noqa: PLC0415  # a third of the import time of the package, for what should not happen

    logging.getLogger("undaunted.events").error("a listener failed on %s", type(event).__name__, exc_info=error)
