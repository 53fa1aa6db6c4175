"""Cuts this process's own connections, as a network does: what was sent has arrived, and no answer comes back."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Generator

    import psycopg

    from undaunted.lab import PostgresLab

__all__ = ["committing", "cut", "freeze_standbys", "waiting"]


@contextmanager
def freeze_standbys(lab: PostgresLab) -> Generator[None]:
    """Within the block no COMMIT is confirmed: it is done on the primary, and waits for a standby."""
    leader = lab.primary()
    frozen = [lab.freeze(node) for node in lab.nodes if node is not leader]
    try:
        yield
    finally:
        for node in frozen:
            lab.thaw(node)


def committing(server: psycopg.Connection) -> list[int]:
    """The client's ports of the sessions whose COMMIT is done on the server, and waits for the synchronous standby."""
    found = server.execute("SELECT client_port FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [port for (port,) in found.fetchall()]


def waiting(server: psycopg.Connection) -> list[int]:
    """The client's ports of the sessions that wait for another one's lock."""
    found = server.execute("SELECT client_port FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return [port for (port,) in found.fetchall()]


def cut(ports: Collection[int]) -> int:
    """Shut the sockets of this process that have these ports of their own; how many there were."""
    count = 0
    for name in os.listdir("/dev/fd"):  # noqa: PTH208  # names alone; the list's own descriptor is gone by then
        # Of what is no socket no copy is made: no object would come to hold it, and close it.
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as found:
                if found.family == socket.AF_INET and found.getsockname()[1] in ports:
                    found.shutdown(socket.SHUT_RDWR)
                    count += 1
    return count
