"""One node: a server on an address of its own, which can be killed, frozen, thawed and started again."""

from __future__ import annotations

import hashlib
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from undaunted.testing.cql import requests, result, wire
from undaunted.testing.cql.connection import Connection
from undaunted.testing.cql.database import Context
from undaunted.testing.cql.errors import (
    BadCredentials,
    CqlError,
    FakeCassandraError,
    Invalid,
    ProtocolError,
    ServerError,
    Unprepared,
)
from undaunted.testing.cql.frames import Opcode
from undaunted.testing.cql.journal import Request, is_internal
from undaunted.testing.cql.paging import page_number
from undaunted.testing.cql.system import about_members

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from undaunted.testing.cql.database import Done
    from undaunted.testing.cql.frames import Frame
    from undaunted.testing.cql.member import Member
    from undaunted.testing.cql.requests import BatchRequest, Options, Query
    from undaunted.testing.cql.scripts import Action
    from undaunted.testing.cql.shared import Shared

    Answer = tuple[int, bytes]
    Work = Callable[[], Answer]

__all__ = ["FakeNode", "State"]

State = Literal["up", "down", "frozen", "binary disabled"]
LOWEST_VERSION = 3
_STATEMENTS = {
    Opcode.QUERY: requests.decode_query,
    Opcode.EXECUTE: requests.decode_execute,
}
_AUTHENTICATOR = "org.apache.cassandra.auth.PasswordAuthenticator"


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
        self._system = about_members(member, members)
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._accepting: set[asyncio.Task[Any]] = set()
        self._prepared: dict[bytes, tuple[str, str | None]] = {}
        self._held: list[Callable[[], None]] = []

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
        """Refuse connections and cut those that are; what was held up is never done."""
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
        self._prepared.clear()

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
            raw.setblocking(False)
            connection = Connection(self, self._shared.next_connection(), raw)
            self._connections.add(connection)
            loop = self._shared.thread.loop
            task = loop.create_task(loop.connect_accepted_socket(lambda c=connection: c, raw))
            self._accepting.add(task)
            task.add_done_callback(self._accepted)

    def _accepted(self, task: asyncio.Task[Any]) -> None:
        self._accepting.discard(task)
        if not task.cancelled() and task.exception() is not None and self.state == "up":
            self._shared.failed(task.exception())

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
        request = self._request(connection, frame)
        try:
            request, work = self._read(connection, frame, request)
        except CqlError as error:
            self._shared.journal.arrived(request)
            connection.refuse(frame, error)
            return
        self._shared.journal.arrived(request)
        action = self._shared.scripts.action(request)

        def act() -> None:
            self._act(connection, frame, request, action, work)

        if action.delay_s:
            self._shared.thread.loop.call_later(action.delay_s, self._unless_held, connection, act)
        else:
            act()

    def _unless_held(self, connection: Connection, act: Callable[[], None]) -> None:
        """Go on after a delay: with a thaw where the node is frozen now, and never where it was killed."""
        if self.state == "frozen":
            self._held.append(act)
        elif connection in self._connections or self.state == "up":
            act()

    def _act(self, connection: Connection, frame: Frame, request: Request, action: Action, work: Work) -> None:
        if action.kind == "hang":
            if action.apply:
                self._held.append(lambda: self._done(frame, request, work) and None)
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

    def _request(self, connection: Connection, frame: Frame) -> Request:
        try:
            opcode = Opcode(frame.opcode).name
        except ValueError:
            opcode = f"{frame.opcode:#04x}"
        return Request(
            number=self._shared.next_request(),
            node=self.number,
            connection=connection.number,
            opcode=opcode,
            keyspace=connection.keyspace,
            at_s=time.monotonic(),
            internal=True,
        )

    def _read(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        """What is asked, and what will answer it."""
        if frame.opcode == Opcode.OPTIONS:
            return request, self._supported
        if frame.opcode == Opcode.STARTUP:
            requests.decode(frame, requests.decode_map)
            return request, self._start_up
        if frame.opcode == Opcode.AUTH_RESPONSE:
            token = requests.decode(frame, requests.decode_token)
            return request, lambda: self._authenticate(connection, token)
        if not connection.ready:
            raise ProtocolError(f"Unexpected message {request.opcode}, expecting STARTUP or OPTIONS")
        if frame.opcode == Opcode.REGISTER:
            events = frozenset(requests.decode(frame, requests.decode_names))
            return request, lambda: self._register(connection, events)
        if frame.opcode == Opcode.PREPARE:
            asked = requests.decode(frame, requests.decode_prepare)
            keyspace = asked.keyspace or connection.keyspace
            request = replace(request, text=asked.text, internal=is_internal(asked.text))
            return request, lambda: self._prepare(asked.text, keyspace, frame.version)
        if frame.opcode in _STATEMENTS:
            return self._read_statement(connection, frame, request)
        if frame.opcode == Opcode.BATCH:
            batch = requests.decode(frame, requests.decode_batch)
            text = f"BEGIN {batch.kind} BATCH {' '.join(self._text(p) + ';' for p in batch.parts)} APPLY BATCH"
            request = self._described(request, text, batch.options)
            return request, lambda: self._batch(connection, request, batch)
        raise ProtocolError(f"Unknown or unexpected opcode {frame.opcode:#04x}")

    def _read_statement(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        query = requests.decode(frame, _STATEMENTS[Opcode(frame.opcode)])
        text = query.text or self._prepared.get(query.statement_id, ("", None))[0]
        described = self._described(request, text, query.options)
        return described, lambda: self._execute(connection, frame, described, query)

    def _text(self, part: requests.BatchPart) -> str:
        return part.text or self._prepared.get(part.statement_id, ("<not prepared>", None))[0]

    @staticmethod
    def _described(request: Request, text: str, options: Options) -> Request:
        return replace(
            request,
            text=text,
            consistency=options.consistency,
            serial_consistency=options.serial_consistency,
            timestamp=options.timestamp,
            page_size=options.page_size,
            paging_state=options.paging_state,
            page=page_number(options.paging_state),
            keyspace=options.keyspace or request.keyspace,
            internal=is_internal(text),
        )

    # Answers

    def _supported(self) -> Answer:
        versions = [f"{version}/v{version}" for version in range(LOWEST_VERSION, self.member.protocol + 1)]
        options = {"CQL_VERSION": ["3.4.7"], "COMPRESSION": [], "PROTOCOL_VERSIONS": versions}
        return Opcode.SUPPORTED, wire.text_multimap(options)

    def _start_up(self) -> Answer:
        if self._shared.credentials is None:
            return Opcode.READY, b""
        return Opcode.AUTHENTICATE, wire.text(_AUTHENTICATOR)

    def _authenticate(self, connection: Connection, token: bytes) -> Answer:
        user, _, password = token.partition(b"\0")[2].partition(b"\0")
        if (user.decode(), password.decode()) != self._shared.credentials:
            raise BadCredentials(f"Provided username {user.decode()} and/or password are incorrect")
        connection.ready = True
        return Opcode.AUTH_SUCCESS, wire.value(None)

    @staticmethod
    def _register(connection: Connection, events: frozenset[str]) -> Answer:
        connection.events |= events
        return Opcode.READY, b""

    def _prepare(self, text: str, keyspace: str | None, version: int) -> Answer:
        found = self._shared.database.prepare(text, self._context(keyspace))
        statement_id = hashlib.md5(f"{keyspace}\0{text}".encode(), usedforsecurity=False).digest()
        self._prepared[statement_id] = (text, keyspace)
        return Opcode.RESULT, result.prepared(statement_id, found, version)

    def _known(self, statement_id: bytes) -> tuple[str, str | None]:
        found = self._prepared.get(statement_id)
        if found is None:
            said = f"Prepared query with ID {statement_id.hex()} not found"
            raise Unprepared(said, statement_id=statement_id)
        return found

    def _execute(self, connection: Connection, frame: Frame, request: Request, query: Query) -> Answer:
        text, keyspace = (query.text, request.keyspace)
        if frame.opcode == Opcode.EXECUTE:
            text, keyspace = self._known(query.statement_id)
        options = query.options
        if options.names:
            raise Invalid("values with names are not known to the fake; give them in the order of the markers")
        done = self._shared.database.run(text, self._context(keyspace, options), options.values)
        self._after(connection, request, done)
        body = result.encode(done.result, skip_metadata=options.skip_metadata, known_id=query.metadata_id)
        return Opcode.RESULT, body

    def _batch(self, connection: Connection, request: Request, batch: BatchRequest) -> Answer:
        parts = [(part.text or self._known(part.statement_id)[0], part.values) for part in batch.parts]
        keyspace = next((self._known(p.statement_id)[1] for p in batch.parts if p.statement_id), request.keyspace)
        done = self._shared.database.run_batch(batch.kind, parts, self._context(keyspace, batch.options))
        self._after(connection, request, done)
        return Opcode.RESULT, result.encode(done.result)

    def _context(self, keyspace: str | None, options: Options | None = None) -> Context:
        return Context(
            keyspace=keyspace,
            timestamp=None if options is None else options.timestamp,
            page_size=None if options is None else options.page_size,
            paging_state=None if options is None else options.paging_state,
            system=self._system,
        )

    def _after(self, connection: Connection, request: Request, done: Done) -> None:
        self._shared.journal.executed(request, applied=done.applied, timestamp=done.timestamp)
        if isinstance(done.result, result.SetKeyspace):
            connection.keyspace = done.result.keyspace
        elif isinstance(done.result, result.SchemaChange):
            self._shared.schema_changed(done.result)


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
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
