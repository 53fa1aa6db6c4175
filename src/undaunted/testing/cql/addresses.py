"""Addresses of loopback for the nodes of one cluster, which no other cluster on this machine has."""

from __future__ import annotations

import random
import socket

from undaunted.testing.cql.errors import FakeCassandraError
from undaunted.testing.cql.node import listen

__all__ = ["Reservation", "reserve"]

_BLOCKS = range(128, 250)
"""The third number of the addresses: above those that a lab of real servers begins with."""


class Reservation:
    """Addresses that are ours, also while no node listens on them.

    Attributes:
        addresses: One a node.
        port: The same for all.
        listeners: Sockets that listen there already, one a node.
    """

    def __init__(self, lock: socket.socket, addresses: list[str], port: int, listeners: list[socket.socket]) -> None:
        self._lock = lock
        self.addresses = addresses
        self.port = port
        self.listeners = listeners

    def release(self) -> None:
        """Leave them to others."""
        self._lock.close()


def reserve(count: int, port: int) -> Reservation:
    """Find free addresses ``127.0.X.1`` and on.

    A datagram socket on the first address keeps them for as long as it is open: a killed node leaves its port, and
    another cluster must not take it.

    Raises:
        FakeCassandraError: There are none.
    """
    if not 1 <= count <= 250:
        raise FakeCassandraError(f"a fake cluster has 1 to 250 nodes, not {count}")
    start = random.randrange(len(_BLOCKS))  # noqa: S311 - so that two that start together seldom meet
    last: OSError | None = None
    for turn in range(len(_BLOCKS)):
        block = _BLOCKS[(start + turn) % len(_BLOCKS)]
        try:
            return _take(block, count, port)
        except OSError as error:
            last = error
    raise FakeCassandraError(
        f"no addresses 127.0.X.1 to 127.0.X.{count} are free on port {port} ({last}). Where a server listens on that "
        f"port at all addresses, give another port=; where the system has only 127.0.0.1 (macOS), add the others "
        f"first: ifconfig lo0 alias 127.0.128.1"
    ) from last


def _take(block: int, count: int, port: int) -> Reservation:
    addresses = [f"127.0.{block}.{place}" for place in range(1, count + 1)]
    lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listeners: list[socket.socket] = []
    try:
        lock.bind((addresses[0], port))
        for address in addresses:
            listeners.append(listen(address, port))  # noqa: PERF401 - those made so far are closed where one fails
    except BaseException:
        lock.close()
        for listener in listeners:
            listener.close()
        raise
    return Reservation(lock, addresses, port, listeners)
