"""What a node answers: the handshake, and each kind of request for the store."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql import requests, result, wire
from undaunted.testing.cql.database import Context
from undaunted.testing.cql.errors import BadCredentials, Invalid, ProtocolError, Unprepared
from undaunted.testing.cql.frames import Opcode
from undaunted.testing.cql.journal import Request, is_internal
from undaunted.testing.cql.paging import page_number
from undaunted.testing.cql.system import about_members

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.testing.cql.connection import Connection
    from undaunted.testing.cql.database import Done
    from undaunted.testing.cql.errors import CqlError
    from undaunted.testing.cql.frames import Frame
    from undaunted.testing.cql.member import Member
    from undaunted.testing.cql.requests import BatchRequest, Options, Query
    from undaunted.testing.cql.schema import Table
    from undaunted.testing.cql.shared import Shared

    Answer = tuple[int, bytes]
    Work = Callable[[], Answer]
    Reader = Callable[["Connection", "Frame", "Request"], tuple["Request", Work]]

__all__ = ["LOWEST_VERSION", "Answers"]

LOWEST_VERSION = 3
_AUTHENTICATOR = "org.apache.cassandra.auth.PasswordAuthenticator"


class Answers:
    """The answers of one node. For the thread of the cluster alone."""

    def __init__(self, member: Member, members: Sequence[Member], shared: Shared) -> None:
        self._member = member
        self._shared = shared
        self._system = about_members(member, members)
        self._prepared: dict[bytes, tuple[str, str | None]] = {}
        self._before_ready: dict[int, Reader] = {
            Opcode.OPTIONS: self._read_options,
            Opcode.STARTUP: self._read_startup,
            Opcode.AUTH_RESPONSE: self._read_token,
        }
        self._once_ready: dict[int, Reader] = {
            Opcode.REGISTER: self._read_events,
            Opcode.PREPARE: self._read_prepare,
            Opcode.QUERY: self._read_query,
            Opcode.EXECUTE: self._read_execute,
            Opcode.BATCH: self._read_batch,
        }

    def forget_prepared(self) -> None:
        """Know no prepared statement any more."""
        self._prepared.clear()

    def read(self, connection: Connection, frame: Frame) -> tuple[Request, Work]:
        """What is asked, and what will answer it; what cannot be read is answered with the error."""
        request = self._request(connection, frame)
        readers = {**self._before_ready, **self._once_ready} if connection.ready else self._before_ready
        reader = readers.get(frame.opcode)
        if reader is None:
            said = f"Unexpected message {request.opcode}" + (
                "" if connection.ready else ", expecting STARTUP or OPTIONS"
            )
            return request, _raising(ProtocolError(said))
        try:
            return reader(connection, frame, request)
        except ProtocolError as error:
            return request, _raising(error)

    def _request(self, connection: Connection, frame: Frame) -> Request:
        try:
            opcode = Opcode(frame.opcode).name
        except ValueError:
            opcode = f"{frame.opcode:#04x}"
        return Request(
            number=self._shared.next_request(),
            node=self._member.number,
            connection=connection.number,
            opcode=opcode,
            keyspace=connection.keyspace,
            at_s=time.monotonic(),
            internal=True,
        )

    def _read_options(self, _connection: Connection, _frame: Frame, request: Request) -> tuple[Request, Work]:
        return request, self._supported

    def _read_startup(self, _connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        requests.decode(frame, requests.decode_map)
        return request, self._start_up

    def _read_token(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        token = requests.decode(frame, requests.decode_token)
        return request, lambda: self._authenticate(connection, token)

    def _read_events(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        events = frozenset(requests.decode(frame, requests.decode_names))
        return request, lambda: self._register(connection, events)

    def _read_prepare(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        asked = requests.decode(frame, requests.decode_prepare)
        keyspace = asked.keyspace or connection.keyspace
        request = replace(request, text=asked.text, internal=is_internal(asked.text))
        return request, lambda: self._prepare(asked.text, keyspace, frame.version)

    def _read_query(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        query = requests.decode(frame, requests.decode_query)
        request = self._described(request, query.text, query.options)
        return request, lambda: self._execute(connection, request, query, query.text, request.keyspace)

    def _read_execute(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        query = requests.decode(frame, requests.decode_execute)
        text = self._prepared.get(query.statement_id, ("", None))[0]
        request = self._described(request, text, query.options)
        return request, lambda: self._execute(connection, request, query, *self._known(query.statement_id))

    def _read_batch(self, connection: Connection, frame: Frame, request: Request) -> tuple[Request, Work]:
        batch = requests.decode(frame, requests.decode_batch)
        text = f"BEGIN {batch.kind} BATCH {' '.join(self._text(p) + ';' for p in batch.parts)} APPLY BATCH"
        request = self._described(request, text, batch.options)
        return request, lambda: self._batch(connection, request, batch)

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
        versions = [f"{version}/v{version}" for version in range(LOWEST_VERSION, self._member.protocol + 1)]
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
        found = self._shared.database.prepare(text, Context(keyspace=keyspace, system=self._system))
        statement_id = hashlib.md5(f"{keyspace}\0{text}".encode(), usedforsecurity=False).digest()
        self._prepared[statement_id] = (text, keyspace)
        return Opcode.RESULT, result.prepared(statement_id, found, version)

    def _known(self, statement_id: bytes) -> tuple[str, str | None]:
        found = self._prepared.get(statement_id)
        if found is None:
            said = f"Prepared query with ID {statement_id.hex()} not found"
            raise Unprepared(said, statement_id=statement_id)
        return found

    def _execute(
        self,
        connection: Connection,
        request: Request,
        query: Query,
        text: str,
        keyspace: str | None,
    ) -> Answer:
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

    def _context(self, keyspace: str | None, options: Options) -> Context:
        def check(table: Table, keys: Sequence[tuple[Any, ...]] | None, conditional: bool) -> None:  # noqa: FBT001
            home = self._member.datacenter
            if conditional:
                self._shared.check(table, keys, options.serial_consistency or "SERIAL", home)
            self._shared.check(table, keys, options.consistency, home)

        return Context(
            keyspace=keyspace,
            timestamp=options.timestamp,
            page_size=options.page_size,
            paging_state=options.paging_state,
            system=self._system,
            check=check,
        )

    def _after(self, connection: Connection, request: Request, done: Done) -> None:
        self._shared.journal.executed(request, applied=done.applied, timestamp=done.timestamp)
        if isinstance(done.result, result.SetKeyspace):
            connection.keyspace = done.result.keyspace
        elif isinstance(done.result, result.SchemaChange):
            self._shared.schema_changed(done.result)


def _raising(error: CqlError) -> Work:
    def work() -> Answer:
        raise error

    return work
