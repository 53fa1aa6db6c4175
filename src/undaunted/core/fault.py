"""What an error says about the operation that met it."""

from __future__ import annotations

import enum

__all__ = ["Fault"]


class Fault(enum.Enum):
    """The five meanings an error can have; each backend maps its errors to one of them.

    The whole promise hangs on this distinction: a client cannot tell "the reply was lost" from
    "the request was lost", so everything that was sent and not answered is `UNKNOWN`.
    """

    NOT_SENT = "not_sent"
    """No server executed it. Any operation may be run again, on the next node, without a wait."""

    SHED = "shed"
    """A server refused it under load. It may be run again at most twice, after a wait."""

    ROLLED_BACK = "rolled_back"
    """It was certainly undone. Only the whole unit of work may be run again."""

    UNKNOWN = "unknown"
    """It was sent, and no answer says what happened. Only reads and idempotent writes run again."""

    PERMANENT = "permanent"
    """The request itself is wrong. It is never run again, and its error passes untouched."""
