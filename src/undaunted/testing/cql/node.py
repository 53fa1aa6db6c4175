"""One node: a server on an address of its own, which can be killed, frozen, thawed and started again."""

from __future__ import annotations

import functools
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from undaunted.testing.cql import requests, wire
from undaunted.testing.cql.answers import LOWEST_VERSION, Answers
from undaunted.testing.cql.connection import Connection
from undaunted.testing.cql.errors import (
    CqlError,
    FakeCassandraError,
    ProtocolError,
    ServerError,
    Unprepared,
)
from undaunted.testing.cql.frames import Opcode
from undaunted.testing.cql.journal import Request
from undaunted.testing.cql.scripts import Action

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from undaunted.testing.cql.answers import Answer, Work
    from undaunted.testing.cql.frames import Frame
    from undaunted.testing.cql.journal import Request
    from undaunted.testing.cql.member import Member
    from undaunted.testing.cql.shared import Shared

__all__ = ["FakeNode", "State"]

State = Literal["up", "down", "frozen", "binary disabled"]


class FakeNode:
    """A node of a fake cluster. All but its attributes is for the thread of the cluster alone.

    Attributes:
        member: What the cluster knows of it.
        state: What it does now.
    """

    def __init__(self, member: Member, members: Sequence[Member], shared: Shared) -> None:
        self.member = member
        self.state: State = "down"
        self._shared = shared
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._accepting: set[asyncio.Task[Any]] = set()
        self._answers = Answers(member, members, shared)
        self._held: list[Callable[[], None]] = []
        self._life = 0

    def __repr__(self) -> str:
        return f"<FakeNode {self.number} {self.address} {self.state}>"

    @property
    def number(self) -> int:
        """From 1."""
        return self.member.number

    @property
    def address(self) -> str:
        """Its address on loopback, without the port."""
        return self.member.address

    @property
    def datacenter(self) -> str:
        """Where it stands."""
        return self.member.datacenter

    # What a test does to it

    def start(self, listener: socket.socket | None = None) -> None:
        """Listen again."""
        if self.state == "frozen":
            raise FakeCassandraError(f"node {self.number} is frozen; thaw it, or kill it first")
        if self.state == "up":
            return
        self._listener = listener or listen(self.address, self.member.port)
        self._shared.thread.loop.add_reader(self._listener, self._accept)
        self.state = "up"
        self.member.alive = True
        self.member.schema_version = self._shared.schema_version

    def stop(self, state: State = "down") -> None:
        """Refuse connections and cut those that are; what was held up in a node that is down is never done."""
        if state == "down":
            self._life += 1
            self._held.clear()
        if self._listener is not None:
            self._shared.thread.loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for connection in tuple(self._connections):
            connection.cut()
        self._connections.clear()
        self.state = state
        self.member.alive = state == "binary disabled"

    def freeze(self) -> None:
        """Accept and read nothing more; the kernel still does."""
        if self.state != "up" or self._listener is None:
            raise FakeCassandraError(f"node {self.number} is {self.state}; only one that is up can be frozen")
        self._shared.thread.loop.remove_reader(self._listener)
        for connection in self._connections:
            connection.pause()
        self.state = "frozen"

    def thaw(self) -> None:
        """Do what was held up, then read on: what has arrived meanwhile is executed now."""
        if self.state == "frozen" and self._listener is not None:
            self.state = "up"
            self.member.schema_version = self._shared.schema_version
            self._shared.thread.loop.add_reader(self._listener, self._accept)
        held, self._held = self._held, []
        for work in held:
            work()
        for connection in self._connections:
            connection.resume()

    def push(self, kind: str, body: bytes) -> None:
        """Send an event to all who want it."""
        if self.state == "up":
            for connection in self._connections:
                connection.push(kind, wire.text(kind) + body)

    def forget_prepared(self) -> None:
        """Know no prepared statement any more."""
        self._answers.forget_prepared()

    def abandon(self) -> None:
        """Close all file descriptors: in a forked child."""
        if self._listener is not None:
            self._listener.close()
        for connection in self._connections:
            connection.abandon()

    # Connections

    def _accept(self) -> None:
        while self._listener is not None:
            try:
                raw, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            raw.setblocking(False)  # noqa: FBT003
            connection = Connection(self, self._shared.next_connection(), raw)
            self._connections.add(connection)
            loop = self._shared.thread.loop
            task = loop.create_task(loop.connect_accepted_socket(functools.partial(_same, connection), raw))
            self._accepting.add(task)
            task.add_done_callback(functools.partial(self._accepted, connection))

    def _accepted(self, connection: Connection, task: asyncio.Task[Any]) -> None:
        self._accepting.discard(task)
        if task.cancelled():
            connection.abandon()
        elif (error := task.exception()) is not None and self.state == "up":
            self._shared.failed(error)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)

    # Requests

    def handle(self, connection: Connection, frame: Frame) -> None:
        """Answer one frame, or do what a script says."""
        greatest = self.member.protocol
        if not LOWEST_VERSION <= frame.version <= greatest:
            said = (
                f"Invalid or unsupported protocol version ({frame.version}); "
                f"the lowest supported version is {LOWEST_VERSION} and the greatest is {greatest}"
            )
            connection.refuse(frame, ProtocolError(said), version=min(greatest, max(frame.version, LOWEST_VERSION)))
            connection.close()
            return
        request, work = self._answers.read(connection, frame)
        self._shared.journal.arrived(request)
        action = self._action(request)

        def act() -> None:
            self._act(connection, frame, request, action, work)

        if action.delay_s:
            self._shared.thread.loop.call_later(action.delay_s, self._unless_held, self._life, act)
        else:
            act()

    def _action(self, request: Request) -> Action:
        """What the scripts say; a predicate of the test that raises is the test's to hear of."""
        try:
            return self._shared.scripts.action(request)
        except Exception as error:  # noqa: BLE001 - raised when the cluster is closed
            self._shared.failed(error)
            return Action()

    def _unless_held(self, life: int, act: Callable[[], None]) -> None:
        """Go on after a delay: with the thaw where the node is frozen now, and never where it was killed since."""
        if life != self._life:
            return
        if self.state == "frozen":
            self._held.append(act)
        else:
            act()

    def _act(self, connection: Connection, frame: Frame, request: Request, action: Action, work: Work) -> None:
        if action.kind == "hang":
            if action.apply:
                self._held.append(lambda: self._do(frame, request, work))
            return
        if action.kind == "drop":
            connection.cut()
            return
        if action.kind == "normal" or action.apply:
            opcode, body = self._done(frame, request, work)
            if action.kind == "normal":
                connection.send(frame.stream, opcode, body)
                if opcode in {Opcode.READY, Opcode.AUTHENTICATE} and frame.opcode == Opcode.STARTUP:
                    self._started(connection, frame, opcode)
                return
        if action.kind == "lose_reply":
            connection.cut()
        elif action.error is not None:
            error = self._completed(action.error, frame)
            connection.refuse(frame, error, consistency=request.consistency or "ONE")

    def _do(self, frame: Frame, request: Request, work: Work) -> None:
        """Do the work of a request that is never answered."""
        self._done(frame, request, work)

    def _done(self, frame: Frame, request: Request, work: Work) -> Answer:
        """Do the work; what goes wrong in the fake itself is kept for the test, and the client is told."""
        try:
            return work()
        except CqlError as error:
            return Opcode.ERROR, self._completed(error, frame).encode(frame.version, request.consistency or "ONE")
        except Exception as error:  # noqa: BLE001 - raised when the cluster is closed
            self._shared.failed(error)
            said = ServerError(f"the fake cluster is at fault: {type(error).__name__}: {error}")
            return Opcode.ERROR, said.encode(frame.version, "ONE")

    @staticmethod
    def _completed(error: CqlError, frame: Frame) -> CqlError:
        if isinstance(error, Unprepared) and error.statement_id is None and frame.opcode == Opcode.EXECUTE:
            return replace(error, statement_id=requests.decode(frame, requests.decode_execute).statement_id)
        return error

    @staticmethod
    def _started(connection: Connection, frame: Frame, opcode: int) -> None:
        connection.ready = opcode == Opcode.READY
        if frame.version >= 5:
            connection.wrap()


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        OSError: It cannot.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(512)
        listener.setblocking(False)  # noqa: FBT003
    except BaseException:
        listener.close()
        raise
    return listener


def _same(connection: Connection) -> Connection:
    return connection
