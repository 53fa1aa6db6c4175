"""A gate before a real PostgreSQL server, which it lets through, holds back, or answers for: the scripted faults.

It understands as much of the protocol as that takes: where a message ends, which statement it names, and when the
server has answered. What is executed is executed by the server.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field

_GREETINGS = {80877102, 80877103, 80877104}
"""What a client may send in place of its first message: cancel, SSL, GSS."""

_TOO_MANY = b"SERROR\0VERROR\0C53300\0Mtoo many connections\0\0"


@dataclass
class Orders:
    """What shall happen to statements that are still to come; a word is found in their text."""

    lost: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, orders: list[str], text: str) -> bool:
        """Whether one of these orders is for this statement; it is carried out once."""
        with self.lock:
            word = next((word for word in orders if text.startswith(word)), None)
            if word is None:
                return False
            orders.remove(word)
            return True


class PostgresGate:
    """The gate, on a port of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.orders = Orders()
        self.accepted = 0
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._port = 0
        self._listening: socket.socket | None = None
        self._talks: set[Talk] = set()
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Take connections, at the same address as before."""
        self._listening = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def stop(self) -> None:
        """Take none any more, and end those that there are."""
        listening, self._listening = self._listening, None
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for talk in list(self._talks):
            talk.cut()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                self.accepted += 1
                talk = Talk(self, client)
                self._talks.add(talk)
                threading.Thread(target=talk.listen_to_client, daemon=True).start()

    def forget(self, talk: Talk) -> None:
        self._talks.discard(talk)


class Talk:
    """One client, and the server's side of it."""

    def __init__(self, gate: PostgresGate, client: socket.socket) -> None:
        self.gate = gate
        self.client = client
        self.server: socket.socket | None = None
        self.statements: dict[bytes, str] = {}
        self.loses_commit = False
        self.loses_next = False
        self.is_refusing = False

    def cut(self) -> None:
        """End both sides."""
        for side in (self.client, self.server):
            if side is not None:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

    def listen_to_client(self) -> None:
        try:
            self._greet()
            while (message := _typed(self.client)) is not None:
                self.gate.goes_on.wait()
                self._pass_on(*message)
        except OSError:
            pass
        finally:
            self.cut()
            self.client.close()
            self.gate.forget(self)

    def listen_to_server(self) -> None:
        assert self.server is not None
        with contextlib.suppress(OSError):
            while message := self.server.recv(65536):
                self.gate.goes_on.wait()
                if self.loses_next:
                    break  # it was executed, and nobody is told
                self.client.sendall(message)
        self.cut()
        self.server.close()

    def _greet(self) -> None:
        self.gate.goes_on.wait()
        self.server = socket.create_connection(self.gate.target)
        threading.Thread(target=self.listen_to_server, daemon=True).start()
        while True:
            (length,) = struct.unpack("!i", _exactly(self.client, 4))
            body = _exactly(self.client, length - 4)
            self.server.sendall(struct.pack("!i", length) + body)
            if struct.unpack("!i", body[:4])[0] not in _GREETINGS:
                return

    def _pass_on(self, kind: bytes, body: bytes) -> None:
        """One message: noted, and sent on unless it is to be refused."""
        if kind == b"P":
            name, text = body.split(b"\0")[:2]
            self.statements[name] = text.decode()
        if kind == b"B":
            self._begins(self.statements.get(body.split(b"\0")[1], ""))
        elif kind == b"Q":
            self._begins(body.rstrip(b"\0").decode())
        assert self.server is not None
        if self.is_refusing:
            if kind in b"SQ":
                self.is_refusing = False
                self.client.sendall(_message(b"E", _TOO_MANY) + _message(b"Z", b"E"))
            return
        self.server.sendall(_message(kind, body))

    def _begins(self, text: str) -> None:
        orders = self.gate.orders
        if text == "COMMIT":
            self.loses_next = self.loses_commit
            return
        orders.arrived.append(text)
        self.is_refusing = orders.take(orders.refused, text)
        if orders.take(orders.lost, text):
            if text.startswith("SELECT"):
                self.loses_next = True
            else:
                self.loses_commit = True


def _typed(side: socket.socket) -> tuple[bytes, bytes] | None:
    """The next message of a client that has been greeted; None when it has gone."""
    kind = side.recv(1)
    if not kind:
        return None
    (length,) = struct.unpack("!i", _exactly(side, 4))
    return kind, _exactly(side, length - 4)


def _exactly(side: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = side.recv(length - len(found))
        if not part:
            raise ConnectionResetError
        found += part
    return found


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
