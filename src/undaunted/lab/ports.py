"""Ports on loopback that a lab keeps for its whole life, also while the node that listens on one is down."""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Claim = Callable[[str, int], int | None]

__all__ = ["LOOPBACK", "choose", "is_free", "keep"]

LOOPBACK = "127.0.0.1"
_CLAIMS = "127.0.255.254"
"""Where a lab binds each of its ports as well, which nobody listens on: so other labs see which ports are taken, of
whatever user and wherever their directories are, also before a server has started and while one is down."""
_LOWEST = 15_000
_TRIES = 2_000


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen here now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not count
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(count: int, *, claim: Claim, host: str = LOOPBACK) -> list[int]:
    """Find free ports below those that the kernel gives to outgoing connections, and keep them.

    Above that border, a client's connection could sit on the port of a node that is down, and the node could not
    come back.

    Args:
        count: How many.
        claim: Binds a port for the life of the lab; None, or the `errno` of why it could not be had.
        host: The address to listen on.

    Raises:
        LabError: There are not so many.
    """
    border = _first_ephemeral()
    low, high = (_LOWEST, border) if border > _LOWEST + 1_000 else (_LOWEST, 65_536)
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        port = random.randrange(low, high)  # noqa: S311
        if is_free(port, host) and _is_ours(port, claim):
            found.append(port)
    raise LabError(f"No {count} free ports were found between {low} and {high} on {host}; end another lab first.")


def keep(ports: Sequence[int], *, claim: Claim, host: str = LOOPBACK) -> None:
    """Keep ports that were asked for.

    Args:
        ports: The ports.
        claim: Binds a port for the life of the lab; None, or the `errno` of why it could not be had.
        host: The address to listen on.

    Raises:
        LabError: One is named twice, out of range, in use, or kept by another lab.
    """
    for port in ports:
        if not 1 <= port <= 65_535:
            raise LabError(f"Port {port} does not exist; a port is a number from 1 to 65535.")
        if ports.count(port) > 1:
            raise LabError(f"Port {port} is named twice; every node needs one of its own.")
        if not is_free(port, host):
            raise LabError(f"Port {port} on {host} is in use; name another, or leave it to the lab to find one.")
        if not _is_ours(port, claim):
            raise LabError(f"Port {port} belongs to another lab that is running; name another, or leave it to the lab.")


def _is_ours(port: int, claim: Claim) -> bool:
    # Any other refusal, as of a port that needs rights, says nothing of other labs.
    return claim(_CLAIMS, port) != errno.EADDRINUSE


def _first_ephemeral() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768  # Linux' default
