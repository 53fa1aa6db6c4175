"""Speaks just enough CQL (native protocol, version 4) to ask Cassandra nodes how they are.

The driver would do, but it starts threads and an event loop that a fork must reset, needs an extension module on
newer Pythons, marks hosts down on its own clock, and is part of what the lab puts to the test. Values come back as
the bytes that were sent: what is asked here is only compared, or read as text.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from typing_extensions import Self

    from undaunted.lab.node import LabNode

__all__ = ["ALL", "ONE", "Connection", "Refused", "answering"]

ONE, ALL = 0x0001, 0x0005
"""Consistency levels."""

Row = dict[str, "bytes | None"]

_REQUEST = 0x04  # of version 4
_ERROR, _STARTUP, _AUTHENTICATE, _OPTIONS, _SUPPORTED, _QUERY, _AUTH_RESPONSE = 0, 1, 3, 5, 6, 7, 15
_HEADER = struct.Struct(">BBhBi")
_WARNING = 0x08  # warnings stand before the answer
_ROWS = 0x0002
_GLOBAL_TABLE = 0x0001
_CUSTOM, _LIST, _MAP, _SET, _UDT, _TUPLE = 0x00, 0x20, 0x21, 0x22, 0x30, 0x31


class Refused(LabError):
    """A node answered with an error."""

    def __init__(self, node: str, code: int, said: str) -> None:
        super().__init__(f"{node} answered with error 0x{code:04x}: {said}")
        self.code = code


def answering(nodes: Iterable[LabNode], *, timeout_s: float) -> dict[str, bool]:
    """The nodes that speak CQL now, by name. They are asked all at once; a refused connection costs no time."""
    request = _frame(_OPTIONS, b"")
    deadline_s = time.monotonic() + timeout_s
    found: dict[str, bool] = {}
    with selectors.DefaultSelector() as selector:
        for node in nodes:
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.settimeout(0.0)
            connection.connect_ex((node.host, node.port))
            selector.register(connection, selectors.EVENT_WRITE, node.name)
        try:
            while selector.get_map() and (left_s := deadline_s - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    _turn(selector, key, request, found)
        finally:
            for key in list(selector.get_map().values()):
                _close(key)
    return found


def _turn(selector: selectors.BaseSelector, key: selectors.SelectorKey, request: bytes, found: dict[str, bool]) -> None:
    connection = key.fileobj
    assert isinstance(connection, socket.socket)  # noqa: S101
    try:
        if key.events == selectors.EVENT_WRITE:
            connection.sendall(request)
            selector.modify(connection, selectors.EVENT_READ, key.data)
            return
        head = connection.recv(_HEADER.size)
    except OSError:  # refused or reset: it is not there
        head = b""
    if len(head) == _HEADER.size and _HEADER.unpack(head)[3] == _SUPPORTED:
        found[key.data] = True
    selector.unregister(connection)
    _close(key)


def _close(key: selectors.SelectorKey) -> None:
    assert isinstance(key.fileobj, socket.socket)  # noqa: S101
    key.fileobj.close()


class Connection:
    """One connection to one node, one request at a time.

    Args:
        node: The node.
        credentials: User name and password, where the cluster asks for them.
        timeout_s: How long a connect and each answer may take.

    Raises:
        Refused: The node did not let us in.
        OSError: It is not there, or is silent.
    """

    __slots__ = ("_name", "_socket", "_timeout_s")

    def __init__(self, node: LabNode, *, credentials: tuple[str, str] | None, timeout_s: float) -> None:
        self._name = node.name
        self._timeout_s = timeout_s
        self._socket = socket.create_connection((node.host, node.port), timeout_s)
        try:
            self._enter(credentials)
        except BaseException:
            self._socket.close()
            raise

    def _enter(self, credentials: tuple[str, str] | None) -> None:
        kind, _ = self._ask(_STARTUP, struct.pack(">H", 1) + _string("CQL_VERSION") + _string("3.0.0"))
        if kind == _AUTHENTICATE and credentials is not None:
            token = "\0".join(("", *credentials)).encode()
            kind, _ = self._ask(_AUTH_RESPONSE, struct.pack(">i", len(token)) + token)
        if kind == _AUTHENTICATE:
            raise Refused(self._name, 0x0100, "it demands a login, and the lab has none")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def query(self, statement: str, *, consistency: int = ONE) -> list[Row]:
        """Run a statement; its rows, or none.

        Raises:
            Refused: The node answered with an error.
            OSError: The node is gone, or silent.
        """
        text = statement.encode()
        _, answer = self._ask(_QUERY, struct.pack(">i", len(text)) + text + struct.pack(">HB", consistency, 0))
        return _rows(answer)

    def _ask(self, kind: int, body: bytes) -> tuple[int, _Reader]:
        self._socket.sendall(_frame(kind, body))
        _, flags, _, answer, length = _HEADER.unpack(self._read(_HEADER.size))
        reader = _Reader(self._read(length))
        if flags & _WARNING:
            for _ in range(reader.number(">H")):
                reader.string()
        if answer == _ERROR:
            raise Refused(self._name, reader.number(">i"), reader.string())
        return answer, reader

    def _read(self, length: int) -> bytes:
        deadline_s = time.monotonic() + self._timeout_s
        found = bytearray()
        while len(found) < length:
            self._socket.settimeout(max(0.001, deadline_s - time.monotonic()))
            part = self._socket.recv(length - len(found))
            if not part:
                raise ConnectionResetError(f"{self._name} closed the connection")
            found += part
        return bytes(found)


class _Reader:
    """Reads the notations of the protocol one after the other."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, length: int) -> bytes:
        found = self._body[self._at : self._at + length]
        self._at += length
        return found

    def number(self, form: str) -> int:
        found: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return found

    def string(self) -> str:
        return self.take(self.number(">H")).decode("utf-8", "replace")

    def value(self) -> bytes | None:
        length = self.number(">i")
        return None if length < 0 else self.take(length)

    def skip_type(self) -> None:
        kind = self.number(">H")
        if kind == _CUSTOM:
            self.string()
        elif kind in {_LIST, _SET}:
            self.skip_type()
        elif kind == _MAP:
            self.skip_type()
            self.skip_type()
        elif kind == _UDT:
            self.string()
            self.string()
            for _ in range(self.number(">H")):
                self.string()
                self.skip_type()
        elif kind == _TUPLE:
            for _ in range(self.number(">H")):
                self.skip_type()


def _rows(reader: _Reader) -> list[Row]:
    if reader.number(">i") != _ROWS:
        return []
    flags, count = reader.number(">i"), reader.number(">i")
    if flags & _GLOBAL_TABLE:
        reader.string()
        reader.string()
    names: list[str] = []
    for _ in range(count):
        if not flags & _GLOBAL_TABLE:
            reader.string()
            reader.string()
        names.append(reader.string())
        reader.skip_type()
    return [{name: reader.value() for name in names} for _ in range(reader.number(">i"))]


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _frame(kind: int, body: bytes) -> bytes:
    return _HEADER.pack(_REQUEST, 0, 0, kind, len(body)) + body
