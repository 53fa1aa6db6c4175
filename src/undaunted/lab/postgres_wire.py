"""Asks PostgreSQL nodes something, all at once and within milliseconds.

psycopg would do, but asking several nodes at a time takes threads or a loop of its own, a frozen node takes its whole
timeout for itself, and test processes count their threads. So this speaks the little that one question takes (the
protocol's startup, one simple query, text answers) over the nodes' own sockets, where nobody is asked for a password:
the server knows who is on the other side.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from undaunted.lab.node import LabNode

__all__ = ["OPERATOR", "SOCKET_HOST", "Refused", "ask", "execute"]

OPERATOR = "postgres"
"""The superuser, which may run programs: let in over the nodes' own sockets when it is us or the server's user who
comes, and elsewhere by a password that only we know."""

SOCKET_HOST = "@undaunted-lab"
"""The directory that is none: sockets whose name begins with @ are no files, and need no place that is short enough."""

Row = dict[str, "str | None"]
_PROTOCOL = 196_608
_LENGTH = struct.Struct("!i")
_SHORT = struct.Struct("!h")


class Refused(Exception):
    """The node answered with an error; the message is the server's."""


def ask(nodes: Iterable[LabNode], question: str, *, timeout_s: float) -> Mapping[str, Row]:
    """The first row of the answer of each node that gave one in time, by node name.

    A node that refuses, is not there, or answers with an error has none; that takes no time.
    """
    found: dict[str, Row] = {}
    for name, received in _exchange(nodes, question, timeout_s=timeout_s).items():
        with suppress(Refused):
            row = _first_row(received)
            if row is not None:
                found[name] = row
    return found


def execute(node: LabNode, statement: str, *, timeout_s: float) -> None:
    """Have one node do something as the superuser.

    Raises:
        Refused: It did not do it.
        OSError: It is not there, or gave no answer in time.
    """
    received = _exchange([node], statement, timeout_s=timeout_s).get(node.name)
    if received is None:
        raise TimeoutError(f"it gave no answer within {timeout_s:g} s")
    if _first_row(received) is None:
        raise ConnectionError("it closed the connection")


def _exchange(nodes: Iterable[LabNode], question: str, *, timeout_s: float) -> dict[str, bytes]:
    """All that each node sent until it was done, by node name."""
    parameters = {"user": OPERATOR, "database": OPERATOR, "application_name": "undaunted-lab"}
    words = b"".join(f"{key}\0{value}\0".encode() for key, value in parameters.items()) + b"\0"
    body = _LENGTH.pack(_PROTOCOL) + words
    asked = question.encode() + b"\0"
    # The query and the farewell are sent with the startup: the server reads them when it has let us in.
    message = b"".join(
        (_LENGTH.pack(len(body) + 4), body, b"Q", _LENGTH.pack(len(asked) + 4), asked, b"X", _LENGTH.pack(4))
    )
    deadline_s = time.monotonic() + timeout_s
    found: dict[str, bytes] = {}
    with selectors.DefaultSelector() as selector:
        for node in nodes:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(0.0)
            try:
                connection.connect(f"\0{SOCKET_HOST[1:]}/.s.PGSQL.{node.port}")
                connection.sendall(message)
            except OSError:  # not there, or so busy that nobody is let in just now
                connection.close()
                continue
            selector.register(connection, selectors.EVENT_READ, (node.name, bytearray()))
        try:
            while selector.get_map() and (left_s := deadline_s - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    _turn(selector, key, found)
        finally:
            for key in list(selector.get_map().values()):
                _close(key)
    return found


def _turn(selector: selectors.BaseSelector, key: selectors.SelectorKey, found: dict[str, bytes]) -> None:
    name, received = key.data
    connection = key.fileobj
    assert isinstance(connection, socket.socket)  # noqa: S101
    try:
        part = connection.recv(65_536)
    except OSError:
        part = b""
    received += part
    if not part:
        found[name] = bytes(received)
        selector.unregister(connection)
        _close(key)


def _first_row(received: bytes) -> Row | None:
    """Read what a node sent: the names of the columns (T), the rows (D), and that it is ready (Z), before and after.

    Returns:
        The row, empty where there is none; None if the node did not say that it was done.

    Raises:
        Refused: It sent an error (E).
    """
    names: list[str] = []
    row: Row | None = None
    place, is_ready = 0, 0
    while place + 5 <= len(received):
        kind = received[place : place + 1]
        length: int = _LENGTH.unpack_from(received, place + 1)[0]
        body = received[place + 5 : place + 1 + length]
        place += 1 + length
        if kind == b"E":
            fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0") if field}
            raise Refused(f"{fields.get(b'C', '')} {fields.get(b'M', '')}")
        if kind == b"T":
            names = _names(body)
        elif kind == b"D" and row is None:
            row = dict(zip(names, _values(body), strict=True))
        elif kind == b"Z":
            is_ready += 1
    return (row or {}) if is_ready == 2 else None


def _names(body: bytes) -> list[str]:
    names: list[str] = []
    place = 2
    while place < len(body):
        end = body.index(b"\0", place)
        names.append(body[place:end].decode())
        place = end + 19  # the end of the name, and 18 bytes on the column's type
    return names


def _values(body: bytes) -> list[str | None]:
    values: list[str | None] = []
    place = 2
    for _ in range(_SHORT.unpack_from(body)[0]):
        length: int = _LENGTH.unpack_from(body, place)[0]
        place += 4
        values.append(None if length < 0 else body[place : place + length].decode())
        place += max(0, length)
    return values


def _close(key: selectors.SelectorKey) -> None:
    assert isinstance(key.fileobj, socket.socket)  # noqa: S101
    key.fileobj.close()
