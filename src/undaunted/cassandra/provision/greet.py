"""Asks a node whether it is there and speaks CQL: one OPTIONS frame, which needs no login and no driver.

It tells a process that is frozen from one that is gone: the kernel goes on to take connections for the frozen one.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass

__all__ = ["REACH_TIMEOUT_S", "Silence", "greet", "host_and_port"]

REACH_TIMEOUT_S = 3.0
"""How long a node is tried before it is out of reach."""

_OPTIONS = struct.pack(">BBhBi", 4, 0, 0, 0x05, 0)
"""Version 4 of the protocol, which every server since 2.2 knows; a newer one answers it too."""
_HEADER = 9
_VERSIONS = range(3, 7)
_ERROR, _SUPPORTED = 0x00, 0x06


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Why a node gives no answer.

    Attributes:
        reason: The end of a sentence that begins with its address.
        is_frozen: Whether it takes connections and then says nothing.
    """

    reason: str
    is_frozen: bool = False


def host_and_port(address: str) -> tuple[str, int]:
    """The two parts of an address as the settings have it."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def greet(  # noqa: PLR0911  # a table
    address: str, *, tls: ssl.SSLContext | None = None, timeout_s: float = REACH_TIMEOUT_S
) -> Silence | None:
    """Ask a node whether it is there; None when it answers as Cassandra does."""
    host, port = host_and_port(address)
    try:
        connection = socket.create_connection((host, port), timeout=timeout_s)
    except socket.gaierror:
        return Silence(reason="has a name that cannot be looked up here")
    except ConnectionRefusedError:
        return Silence(reason="refuses connections, so nothing listens there")
    except TimeoutError:
        return Silence(reason=f"cannot be connected to within {timeout_s:g} s")
    except OSError as error:
        return Silence(reason=f"cannot be connected to ({error.strerror or type(error).__name__})")
    with connection:
        try:
            return _exchange(connection, host, tls, timeout_s)
        except TimeoutError:
            reason = f"accepts connections and gives no answer within {timeout_s:g} s"
            return Silence(reason=reason, is_frozen=True)
        except ssl.SSLError:
            return Silence(reason="cannot be spoken to with these tls settings")
        except OSError:
            return Silence(reason="closes the connection")


def _exchange(connection: socket.socket, host: str, tls: ssl.SSLContext | None, timeout_s: float) -> Silence | None:
    connection.settimeout(timeout_s)
    if tls is None:
        return _ask(connection)
    try:
        secured = tls.wrap_socket(connection, server_hostname=host)
    except TimeoutError:
        reason = f"accepts connections and does not answer the tls handshake within {timeout_s:g} s"
        return Silence(reason=reason, is_frozen=True)
    with secured:
        return _ask(secured)


def _ask(connection: socket.socket) -> Silence | None:
    connection.sendall(_OPTIONS)
    header = b""
    while len(header) < _HEADER:
        part = connection.recv(_HEADER - len(header))
        if not part:
            break
        header += part
    if not header:
        return Silence(reason="closes the connection")
    version, opcode = header[0], header[4] if len(header) == _HEADER else None
    if version & 0x80 and version & 0x7F in _VERSIONS and opcode in {_ERROR, _SUPPORTED}:
        return None
    return Silence(reason="answers, but not as Cassandra does")
