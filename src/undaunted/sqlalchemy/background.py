"""One try to connect, in a thread of its own, so that whoever waits for it may leave at any time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import psycopg

from undaunted.sqlalchemy import sockets

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Background", "Unmade"]


class Unmade(Exception):
    """The connection could not be made; another try may do."""


class Background:
    """One try. Once it has been left, its thread ends as well: psycopg bounds its greeting, and the rest is cut.

    Args:
        make: Makes the connection. It is given a function to call with libpq's connection once that is there.
    """

    def __init__(self, make: Callable[[Callable[[Any], None]], Any]) -> None:
        self._make = make
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._is_left = False
        self._held: tuple[int, sockets.Ends | None] | None = None
        self._connection: Any = None
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="undaunted-connect", daemon=True).start()

    def _run(self) -> None:
        try:
            connection, error = self._make(self._hold), None
        except Exception as failed:  # noqa: BLE001  # raised where it is waited for
            connection, error = None, failed
        with self._lock:
            is_late = self._is_left
            if not is_late:
                self._connection, self._error = connection, error
        self._done.set()
        if is_late and connection is not None:
            connection.close()

    def _hold(self, pgconn: psycopg.pq.abc.PGconn) -> None:
        fd = pgconn.socket
        with self._lock:
            self._held = fd, sockets.ends_of(fd)
            is_late = self._is_left
        if is_late:
            raise Unmade

    def abandon(self) -> None:
        """Have its caller give up."""
        self._done.set()

    def result(self, timeout_s: float) -> Any:
        """The connection.

        Raises:
            Unmade: It was not made, or not in time.
        """
        self._done.wait(timeout_s)
        with self._lock:
            self._is_left = True
            connection, error, held = self._connection, self._error, self._held
            self._connection = self._error = None
        if connection is not None:
            return connection
        if error is None and held is not None:  # a node that has greeted, and says no more
            sockets.cut(*held)
        if error is not None and not isinstance(error, (psycopg.Error, OSError)):
            raise error
        raise Unmade from error
