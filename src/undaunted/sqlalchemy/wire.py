"""A connection of libpq's that never waits for longer than it was told to: what the monitors ask through.

psycopg's own connection waits for ever for a node that is frozen, and does not tell by which SQLSTATE it was refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import time
from typing import TYPE_CHECKING

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

__all__ = ["Refused", "Silent", "Wire"]

_REFUSAL = re.compile(rb'^[^\t\n]*\tB\t\d+\tErrorResponse\t.*? C "([0-9A-Z]{5})"', re.MULTILINE)


_WORDS = (
    (re.compile(rb"password authentication failed"), "28P01"),
    (re.compile(rb'pg_hba\.conf|is not permitted to log in|role "[^"]*" does not exist'), "28000"),
    (re.compile(rb'database "[^"]*" does not exist'), "3D000"),
    (re.compile(rb"too many c|remaining connection slots"), "53300"),
    (re.compile(rb"the database system is "), "57P03"),
)
"""What libpq before 18 leaves of a refusal: its words, in English unless the server was told otherwise."""


class Silent(Exception):
    """Nothing came in the time that was given."""


class Refused(Exception):
    """The node could not be reached, or refused, or the connection ended.

    Attributes:
        sqlstate: What the server said; None where no server said anything.
    """

    def __init__(self, sqlstate: str | None = None) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class Wire:
    """One connection. Used by one thread.

    Args:
        host: Host of the node.
        port: Its port.
        parameters: Further parameters of libpq: user, password, database, TLS.
        listens: Whether to find out the SQLSTATE of a refusal. libpq keeps it to itself, but traces it. Each trace
            leaves some kilobytes behind for good, so it is not for every attempt.
        bell: A file descriptor that becomes readable when nobody wants the answer any more.
    """

    def __init__(
        self, host: str, port: int, parameters: Mapping[str, str], *, listens: bool = False, bell: int | None = None
    ) -> None:
        self._given = (host, port, dict(parameters))
        self._listens = listens
        self._bell = bell
        self._pgconn: pq.abc.PGconn | None = None
        self.said = b""
        """What libpq says of a failure to connect; never shown, since it may hold what it likes."""

    @property
    def server_version(self) -> int:
        """Such as ``150018``."""
        return 0 if self._pgconn is None else self._pgconn.server_version

    def connect(self, ends_s: float) -> None:
        """Connect by a moment (monotonic).

        Raises:
            Silent: It took longer.
            Refused: It cannot be done.
        """
        host, port, parameters = self._given
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name at all
            raise Refused from error
        addresses = [str(each[4][0]) for each in found]
        conninfo = make_conninfo(
            "",
            **{
                **parameters,
                "host": ",".join([host] * len(addresses)),
                "hostaddr": ",".join(addresses),
                "port": ",".join([str(port)] * len(addresses)),
            },
        )
        self._pgconn = pgconn = pq.PGconn.connect_start(conninfo.encode())
        with contextlib.ExitStack() as stack:
            heard = stack.enter_context(_Ear(pgconn)) if self._listens else None
            is_connected = self._connected(pgconn, ends_s)
            if not is_connected:
                self.said = pgconn.error_message
                code = (None if heard is None else heard.sqlstate()) or _sqlstate_said(pgconn)
                self.close()
                raise Refused(code)
        pgconn.nonblocking = 1

    def _connected(self, pgconn: pq.abc.PGconn, ends_s: float) -> bool:
        if pgconn.status == pq.ConnStatus.BAD:
            return False
        while True:
            status = pgconn.connect_poll()
            if status == pq.PollingStatus.OK:
                return True
            if status == pq.PollingStatus.FAILED:
                return False
            is_reading = status == pq.PollingStatus.READING
            self._wait(pgconn.socket, selectors.EVENT_READ if is_reading else selectors.EVENT_WRITE, ends_s)

    def ask(self, query: bytes, ends_s: float) -> list[str | None]:
        """Run a query by a moment, and return its one row as text.

        Raises:
            Silent: It took longer.
            Refused: The connection has ended, or the server has refused the query.
        """
        pgconn = self._pgconn
        if pgconn is None:
            raise Refused
        try:
            pgconn.send_query(query)
            while pgconn.flush():
                self._wait(pgconn.socket, selectors.EVENT_WRITE, ends_s)
            row: list[str | None] = []
            while (result := self._result(pgconn, ends_s)) is not None:
                if result.status != pq.ExecStatus.TUPLES_OK:
                    code = result.error_field(pq.DiagnosticField.SQLSTATE)
                    raise Refused(None if code is None else code.decode())
                values = [result.get_value(0, column) for column in range(result.nfields)]
                row = [None if value is None else value.decode() for value in values]
        except (psycopg.Error, OSError, ValueError) as error:
            raise Refused from error
        return row

    def _result(self, pgconn: pq.abc.PGconn, ends_s: float) -> pq.abc.PGresult | None:
        while pgconn.is_busy():
            self._wait(pgconn.socket, selectors.EVENT_READ, ends_s)
            pgconn.consume_input()
        return pgconn.get_result()

    def _wait(self, fd: int, events: int, ends_s: float) -> None:
        """Wait for the socket until a moment; a last look is taken when that has passed while nobody could look."""
        with _selector() as selector:
            selector.register(fd, events)
            if self._bell is not None:
                selector.register(self._bell, selectors.EVENT_READ)
            ready = selector.select(max(0.0, ends_s - time.monotonic()))
        if not ready:
            raise Silent
        if any(key.fd == self._bell for key, _ in ready):
            raise Refused

    def close(self) -> None:
        """Close it. May be called twice."""
        pgconn, self._pgconn = self._pgconn, None
        if pgconn is not None:
            pgconn.finish()


def _selector() -> selectors.BaseSelector:
    """One that needs no file descriptor of its own, else a process without any left would take its nodes for lost.

    Where something like gevent has put its own in the place of Python's, it is that one.
    """
    usual = selectors.DefaultSelector
    is_pythons = any(usual is getattr(selectors, name, None) for name in ("EpollSelector", "KqueueSelector"))
    return selectors.PollSelector() if is_pythons else usual()


def _sqlstate_said(pgconn: pq.abc.PGconn) -> str | None:
    """The SQLSTATE of a refusal as far as it can be told from its words, where no other sign of it is left."""
    if pgconn.needs_password:  # the server wants one, and there is none
        return "28P01"
    said = pgconn.error_message
    return next((code for words, code in _WORDS if words.search(said)), None)


class _Ear:
    """Hears by which SQLSTATE libpq is refused, from its own trace, which goes through a pipe and is dropped."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pgconn = pgconn
        self._ends: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        reader, writer = self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)
        try:
            self._pgconn.trace(writer)
        except psycopg.NotSupportedError:  # libpq's trace is there on Linux only
            os.close(reader)
            os.close(writer)
            self._ends = None
        return self

    def sqlstate(self) -> str | None:
        """The SQLSTATE of the last refusal; None where no server has refused anything."""
        if self._ends is None:
            return None
        self._pgconn.untrace()  # which writes out what is still in its buffer
        try:
            codes: list[bytes] = _REFUSAL.findall(os.read(self._ends[0], 1 << 16))
        except BlockingIOError:
            return None
        return codes[-1].decode() if codes else None

    def __exit__(self, *_: object) -> None:
        if self._ends is not None:
            with contextlib.suppress(psycopg.Error):  # closed already, and its trace with it
                self._pgconn.untrace()
            for end in self._ends:
                os.close(end)
            self._ends = None
