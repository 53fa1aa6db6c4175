"""Loopback addresses of a lab's own: 127.0.N.1, 127.0.N.2 and so on.

A Cassandra node is known by its address, and all nodes of a cluster share one port, so labs that run side by side need
addresses, not ports, of their own. All of 127.0.0.0/8 is loopback on Linux; elsewhere it is 127.0.0.1 alone.
"""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError
from undaunted.lab.ports import is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["choose_network"]

_CLAIM_PORT = 6999  # beside Cassandra's 7000 (storage), 7199 (JMX) and 9042 (CQL); nothing listens on it


def choose_network(count: int, *, ports: Sequence[int], claim: Callable[[str, int], int | None]) -> list[str]:
    """Find addresses that no other lab of any user has, and keep them.

    They are taken in no order: a client that some test forgot must not find the next lab where the last one was.

    Args:
        count: How many.
        ports: The ports that must be free on each.
        claim: Binds a port for the life of the lab; None, or the `errno` of why it could not be had.

    Raises:
        LabError: There is no free network, or this machine has one loopback address only.
    """
    for number in random.sample(range(1, 255), 254):
        hosts = [f"127.0.{number}.{place}" for place in range(1, count + 1)]
        refused = claim(hosts[0], _CLAIM_PORT)
        if refused == errno.EADDRNOTAVAIL:
            raise LabError(
                f"A lab of Cassandra needs loopback addresses such as {hosts[0]}, and this machine has 127.0.0.1 only; "
                "run it on Linux."
            )
        if refused is None and all(is_free(port, host) for host in hosts for port in ports):
            return hosts
    raise LabError("None of the networks 127.0.1.x to 127.0.254.x is free; end another lab first.")
