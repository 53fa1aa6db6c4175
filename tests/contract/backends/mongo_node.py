"""One primary of a replica set that pymongo really connects to, with scripted faults: the least that a model needs.

It speaks OP_MSG, and OP_QUERY for the handshake. Documents lie in memory. A write with a transaction number that it has
executed before is answered as it was then, as servers do.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import socketserver
import struct
import threading
from typing import TYPE_CHECKING, Any

import bson

if TYPE_CHECKING:
    from collections.abc import Iterator

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
HELLOS = {"hello", "ismaster", "isMaster"}
OF_THE_DRIVER = {*HELLOS, "ping", "endSessions", "killCursors"}


class NotAnswered(Exception):
    """The connection is closed, and the request has no answer."""


class MongoNode:
    """The node. `lose`, `refuse` and `hang` say what becomes of commands that are still to come."""

    replica_set = "scripted"

    def __init__(self) -> None:
        self.documents: dict[str, dict[Any, dict[str, Any]]] = {}
        self.greeted = 0
        self.arrived: list[str] = []
        self.executed: list[str] = []
        self._answers: dict[Any, dict[str, Any]] = {}
        self._lost: list[str] = []
        self._refused: list[str] = []
        self._lock = threading.RLock()
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._connections: set[socket.socket] = set()
        self._server: _Server | None = None
        self._port = 0
        self._numbers = itertools.count(1)
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    # -- what happens to it

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _Talk)
        self._server.node = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="scripted mongod", daemon=True).start()

    def stop(self) -> None:
        """Refuse connections, and cut those that are."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # it has been cut from the other side
                    connection.shutdown(socket.SHUT_RDWR)

    def lose(self, command: str, times: int = 1) -> None:
        """Execute the command, and close the connection without an answer."""
        self._lost += [command] * times

    def refuse(self, command: str, times: int = 1) -> None:
        """Execute it not, for there is too much to do."""
        self._refused += [command] * times

    def hang(self) -> None:
        """Execute and answer nothing, also no heartbeat, until `go_on`; be connected to all the same."""
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    def close(self) -> None:
        self.go_on()
        self.stop()

    # -- what it does

    @contextlib.contextmanager
    def connected(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.discard(connection)

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name not in OF_THE_DRIVER:
            self.arrived.append(name)
        if not self._goes_on.wait(60):
            raise NotAnswered
        if name in HELLOS:
            self.greeted += 1
            return self._hello()
        with self._lock:
            if name in self._refused:
                self._refused.remove(name)
                return {"ok": 0, "code": 462, "codeName": "IngressRequestRateLimitExceeded", "errmsg": "too much"}
            made = self._once(name, command)
            if name in self._lost:
                self._lost.remove(name)
                raise NotAnswered
        return made

    def _hello(self) -> dict[str, Any]:
        return {
            "ok": 1, "helloOk": True, "ismaster": True, "isWritablePrimary": True, "secondary": False,
            "setName": self.replica_set, "setVersion": 1, "hosts": [self.address], "primary": self.address,
            "me": self.address, "electionId": bson.ObjectId("7fffffff0000000000000001"),
            "minWireVersion": 0, "maxWireVersion": 17, "logicalSessionTimeoutMinutes": 30,
            "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000,
            "connectionId": next(self._numbers),
        }  # fmt: skip

    def _once(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        number = command.get("txnNumber")
        if number is None:
            return self._execute(name, command)
        key = (bytes(command["lsid"]["id"]), number)
        if key not in self._answers:
            self._answers[key] = self._execute(name, command)
        return self._answers[key]

    def _execute(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        if name in OF_THE_DRIVER:
            return {"ok": 1}
        does = getattr(self, f"_do_{name}", None)
        if does is None:
            return {"ok": 0, "code": 59, "codeName": "CommandNotFound", "errmsg": f"no such command: '{name}'"}
        self.executed.append(name)
        return {"ok": 1, **does(self.documents.setdefault(command[name], {}), command)}

    def _do_find(self, kept: dict[Any, Any], command: dict[str, Any]) -> dict[str, Any]:
        batch = [found for found in kept.values() if _matches(found, command.get("filter", {}))]
        return {"cursor": {"id": 0, "ns": f"{command['$db']}.{command['find']}", "firstBatch": batch}}

    def _do_insert(self, kept: dict[Any, Any], command: dict[str, Any]) -> dict[str, Any]:
        errors = []
        for index, document in enumerate(command["documents"]):
            if document["_id"] in kept:
                errors.append(
                    {"index": index, "code": 11000, "errmsg": "E11000 duplicate key", "keyPattern": {"_id": 1}}
                )
                continue
            kept[document["_id"]] = document
        made: dict[str, Any] = {"n": len(command["documents"]) - len(errors)}
        return made | ({"writeErrors": errors} if errors else {})

    def _do_update(self, kept: dict[Any, Any], command: dict[str, Any]) -> dict[str, Any]:
        changed = 0
        for update in command["updates"]:
            for document in [found for found in kept.values() if _matches(found, update["q"])]:
                document.update(update["u"].get("$set", {}))
                for field, by in update["u"].get("$inc", {}).items():
                    document[field] = document.get(field, 0) + by
                changed += 1
        return {"n": changed, "nModified": changed}


def _matches(document: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(document.get(field) == value for field, value in wanted.items())


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    node: MongoNode

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that is cut is no error of the node; all else shall end the run, as errors of threads do."""
        raise  # noqa: PLE0704  # within the handler's own `except`


class _Talk(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        node = self.server.node
        with node.connected(self.request), contextlib.suppress(NotAnswered, ConnectionError):
            while (message := self._message()) is not None:
                number, code, body = message
                if code == OP_QUERY:
                    command = bson.decode(body[body.index(b"\0", 4) + 9 :])
                    answer = bson.encode(node.answer(command))
                    self._send(number, OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + answer)
                else:
                    answer = bson.encode(node.answer(_sections(body)))
                    self._send(number, OP_MSG, struct.pack("<iB", 0, 0) + answer)

    def _message(self) -> tuple[int, int, bytes] | None:
        head = self._exactly(16)
        if head is None:
            return None
        length, number, _, code = struct.unpack("<iiii", head)
        body = self._exactly(length - 16)
        return None if body is None else (number, code, body)

    def _exactly(self, count: int) -> bytes | None:
        found = b""
        while len(found) < count:
            more = self.request.recv(count - len(found))
            if not more:
                return None
            found += more
        return found

    def _send(self, answers: int, code: int, body: bytes) -> None:
        self.request.sendall(struct.pack("<iiii", len(body) + 16, 1, answers, code) + body)


def _sections(body: bytes) -> dict[str, Any]:
    """The command of an OP_MSG, with its sequences of documents put where they belong."""
    at, command, sequences = 4, {}, {}
    while at < len(body):
        kind, at = body[at], at + 1
        (length,) = struct.unpack_from("<i", body, at)
        section = body[at : at + length]
        at += length
        if kind == 0:
            command = bson.decode(section)
        else:
            ends = section.index(b"\0", 4)
            sequences[section[4:ends].decode()] = bson.decode_all(section[ends + 1 :])
    return command | sequences
