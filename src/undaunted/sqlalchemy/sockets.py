"""Ending a connection from outside: whoever waits on its socket comes free at once, in any thread or event loop."""

from __future__ import annotations

import os
import select
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ends", "cut", "ends_of", "leave", "news_of"]

Ends = tuple[Any, Any]
"""Both addresses of a TCP connection. No two connections have the same, so they tell it from what gets its file
descriptor after it."""


def ends_of(fd: int) -> Ends | None:
    """Both addresses of the socket behind a file descriptor; None where it is no connected socket."""
    try:
        with socket.socket(fileno=os.dup(fd)) as twin:
            return _ends(twin)
    except OSError:
        return None


def cut(fd: int, ends: Ends | None) -> bool:
    """Shut a connection down; its owner reads its end, and closes the file descriptor by itself.

    The descriptor may have been closed and given to somebody else by now. So it is duplicated first, which holds fast
    whatever it is, and is shut down only if it is still the same connection.

    Args:
        fd: The descriptor that the connection had.
        ends: Its addresses, noted when it was made; with None nothing is done.

    Returns:
        Whether it was shut down.
    """
    if ends is None:
        return False
    try:
        with socket.socket(fileno=os.dup(fd)) as twin:
            if _ends(twin) != ends:
                return False
            twin.shutdown(socket.SHUT_RDWR)
    except OSError:  # gone already
        return False
    return True


def leave(fd: int, ends: Ends | None) -> bool:
    """Let go of a connection in this process alone, as of one that belongs to the process that this was forked off.

    Its descriptor stays in use, so that its owner may close it, but what is sent there reaches nobody.

    Args:
        fd: The descriptor that the connection had.
        ends: Its addresses, noted when it was made; with None nothing is done.

    Returns:
        Whether it was let go.
    """
    if ends is None:
        return False
    try:
        with socket.socket(fileno=os.dup(fd)) as twin:
            if _ends(twin) != ends:
                return False
            with socket.socket(twin.family, twin.type) as nobody:
                os.dup2(nobody.fileno(), fd, inheritable=False)
    except OSError:  # ended already, or no descriptors are left
        return False
    return True


def _ends(twin: socket.socket) -> Ends | None:
    if twin.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    return twin.getsockname(), twin.getpeername()


def news_of(fd: int) -> Callable[[], Any]:
    """What tells, without waiting, whether something has come in on an idle connection: most often its end."""
    poll = getattr(select, "poll", None)
    if poll is None:
        return lambda: select.select([fd], [], [], 0)[0]
    poller = poll()
    poller.register(fd, select.POLLIN)
    return partial(poller.poll, 0)
