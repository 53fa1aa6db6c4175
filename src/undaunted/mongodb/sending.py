"""What the driver calls with a connection: the moment in which a command leaves, and what is learnt of it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import errors as driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.engine.guard import Guard

__all__ = ["HandBack", "Sending", "at_least"]

_AT_LEAST_S = 0.001
_PROMPT_S = 0.05
"""A first attempt that has its connection within this needs no timeout of its own: the socket's is the deadline."""


def at_least(remaining_s: float) -> float:
    """A timeout for pymongo, which takes 0 for "none"; what has run out must still end at once."""
    return max(remaining_s, _AT_LEAST_S)


class HandBack(Exception):  # a signal between two frames, never seen by a caller
    """Takes the next execution out of the driver's hands."""


class Sending:
    """One command on its way. Its clock starts when it is made: it is bounded by the cluster's deadline from then on.

    Attributes:
        is_numbered: Whether its server takes transaction numbers; None as long as no server was asked.
        hands_back: Whether the driver is stopped where it would send it a second time by itself.
        began_s: When it was handed over, on the guard's clock.
        lasts_s: How long it may take from then on.
        node: The address of the node that this run was given a connection to; None as long as nothing was sent.
        error: What the driver's last error was, for a write.
    """

    # As it begins. On the class, since one is made for each command, and every assignment is paid by all of them.
    is_numbered: bool | None = None
    error: driver.PyMongoError | None = None
    node: Any = None

    def __init__(self, guard: Guard, func: Callable[..., Any], bulk: Any, hands_back: bool) -> None:  # noqa: FBT001
        self.func = func
        self.bulk = bulk
        self.hands_back = hands_back
        self.lasts_s = guard.policy.deadline_s
        self.monotonic = monotonic = guard.clock.monotonic
        self.began_s = monotonic()

    def read(self, session: Any, server: Any, conn: Any, read_pref: Any) -> Any:
        """Send a read; bounds the wait for its answer where getting the connection has taken long."""
        self.node = conn.address
        taken_s = self.monotonic() - self.began_s
        if taken_s < _PROMPT_S:
            return self.func(session, server, conn, read_pref)
        with pymongo.timeout(at_least(self.lasts_s - taken_s)):
            return self.func(session, server, conn, read_pref)

    def write(self, session: Any, conn: Any, retryable: Any) -> Any:
        """Send a write; bounded as `read` is.

        Raises:
            HandBack: The driver would send it again by itself.
            AutoReconnect: Another call has just lost the node of this connection. The driver then takes it for one
                without transaction numbers; but it has them, and nothing has been sent yet.
        """
        number = retryable
        if self.is_numbered is not None:
            if self.hands_back and self.node is not None:
                raise HandBack
            if self.bulk is None:
                number = self.is_numbered
        elif self.hands_back and not retryable and (conn.is_repl or conn.is_mongos):
            raise driver.AutoReconnect("The node was lost before the command was sent.")
        else:
            self.is_numbered = bool(retryable)
        self.node = conn.address
        try:
            taken_s = self.monotonic() - self.began_s
            if taken_s < _PROMPT_S:
                return self.func(session, conn, number)
            with pymongo.timeout(at_least(self.lasts_s - taken_s)):
                return self.func(session, conn, number)
        except driver.PyMongoError as error:
            self.error = error
            raise

    def handed_back(self, error: Exception) -> Exception:
        """The error to be judged, where `error` may be no more than the signal that takes a write from the driver."""
        if not isinstance(error, HandBack):
            return error
        assert self.error is not None  # noqa: S101  # a hand-back follows an error
        return self.error
