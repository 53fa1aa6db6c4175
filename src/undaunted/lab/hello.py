"""Asks MongoDB nodes who they are, all at once and within milliseconds.

A `MongoClient` would do, but each starts two threads a node, waits its own time for a frozen node, and has state
that a fork must reset; a lab is asked every few milliseconds, from test processes whose threads are being counted. So
this speaks the one command ``hello`` itself (OP_MSG, MongoDB wire protocol); the encoding is pymongo's.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from undaunted.lab.node import LabNode

__all__ = ["Hello", "ask", "role"]

Hello = dict[str, Any]
_OP_MSG = 2013
_HEADER = struct.Struct("<iiii")


def ask(nodes: Iterable[LabNode], *, timeout_s: float) -> Mapping[str, Hello]:
    """The answers of all nodes that gave one in time, by node name. Refused connections cost no time."""
    import bson  # noqa: PLC0415 - a driver is imported when it is first needed

    body = bson.encode({"hello": 1, "$db": "admin"})
    message = _HEADER.pack(_HEADER.size + 5 + len(body), 1, 0, _OP_MSG) + b"\0\0\0\0\0" + body
    deadline_s = time.monotonic() + timeout_s
    found: dict[str, Hello] = {}
    with selectors.DefaultSelector() as selector:
        for node in nodes:
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.settimeout(0.0)
            connection.connect_ex((node.host, node.port))
            selector.register(connection, selectors.EVENT_WRITE, (node.name, bytearray()))
        try:
            while selector.get_map() and (left_s := deadline_s - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    _turn(selector, key, message, found)
        finally:
            for key in list(selector.get_map().values()):
                _close(key)
    return found


def _decode(body: bytes) -> Hello:
    import bson  # noqa: PLC0415
    from bson.codec_options import CodecOptions  # noqa: PLC0415

    return bson.decode(body, CodecOptions[Hello]())  # pyright: ignore[reportUnknownMemberType] - a bare array in it


def _turn(
    selector: selectors.BaseSelector, key: selectors.SelectorKey, message: bytes, found: dict[str, Hello]
) -> None:
    name, received = key.data
    connection = key.fileobj
    assert isinstance(connection, socket.socket)  # noqa: S101
    try:
        if key.events == selectors.EVENT_WRITE:
            connection.sendall(message)
            selector.modify(connection, selectors.EVENT_READ, key.data)
            return
        part = connection.recv(65_536)
    except OSError:  # refused or reset: it is not there
        part = b""
    received += part
    is_whole = len(received) >= 4 and len(received) >= struct.unpack_from("<i", received)[0]
    if is_whole:
        found[name] = _decode(bytes(received[_HEADER.size + 5 :]))
    if is_whole or not part:
        selector.unregister(connection)
        _close(key)


def _close(key: selectors.SelectorKey) -> None:
    assert isinstance(key.fileobj, socket.socket)  # noqa: S101
    key.fileobj.close()


def role(hello: Hello | None) -> str:
    """The role that a node's answer tells."""
    if hello is None:
        return "unknown"
    if hello.get("isWritablePrimary"):
        return "primary" if "setName" in hello else "standalone"
    if hello.get("secondary"):
        return "secondary"
    return "arbiter" if hello.get("arbiterOnly") else "unknown"
