"""Making a connection: to the node that takes writes now or to a given one, for no longer than its caller has."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import psycopg

from undaunted.engine.call import CURRENT
from undaunted.sqlalchemy.background import Background, Unmade
from undaunted.sqlalchemy.deadlines import remaining_here_s
from undaunted.sqlalchemy.diagnosis import refusal
from undaunted.sqlalchemy.errors import NoNodeAvailable
from undaunted.sqlalchemy.interrupted import AsyncConnection, Connection
from undaunted.sqlalchemy.links import KEY, Link
from undaunted.sqlalchemy.turns import Turns
from undaunted.sqlalchemy.urls import libpq_parameters, node_url, place_of
from undaunted.sqlalchemy.wire import Refused, Silent, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import sqlalchemy as sa

    from undaunted.config import SQLAlchemySettings
    from undaunted.engine.guard import Guard
    from undaunted.sqlalchemy.links import Links
    from undaunted.sqlalchemy.watch import Watch

__all__ = ["Connector"]

_PAUSE_S = 0.05
"""Between two tries to connect to a node that seems well, unless something changes sooner."""
_LOOK_S = 0.25
"""Who waits looks this often whether the outage has outlasted its patience."""

_NOTICE_CLIENTS = (
    "SELECT set_config('client_connection_check_interval', '1s', false) "
    "WHERE current_setting('client_connection_check_interval', true) = '0'"
)
"""Has the server look every second whether its client is still there, so that no orphan holds locks."""


class Connector:
    """One per cluster.

    Args:
        guard: The cluster's part.
        settings: Its settings.
        watch: Tells which node is which.
        links: Learns of what is made.
        url: The cluster's URL, which each node's is made from.
        connect_args: What the settings give the driver besides.
        begin: Starts the monitors where they do not run yet.
        suspect: Has a node looked at now.
        fatal: What stands in the way and will not go away by waiting, for a node or for all; None when nothing does.
        diagnose: Says why there is no primary.
        prepare: Given each new connection of psycopg's and its link, before anybody uses it.
    """

    def __init__(
        self,
        guard: Guard,
        settings: SQLAlchemySettings,
        watch: Watch,
        links: Links,
        *,
        url: sa.URL,
        connect_args: Mapping[str, Any],
        begin: Callable[[], None],
        suspect: Callable[[str], None],
        fatal: Callable[[str | None], Exception | None],
        diagnose: Callable[[], str | None],
        prepare: Callable[[Any, Link], None],
    ) -> None:
        self._guard, self._settings, self._watch, self._links = guard, settings, watch, links
        self._url, self._begin, self._suspect, self._fatal = url, begin, suspect, fatal
        self._diagnose, self._prepare = diagnose, prepare
        self._connect_args = connect_args
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, with fresh locks: at the start, and in a forked child."""
        self._lock = threading.Lock()
        self._turns = Turns()
        self._under_way: dict[str, set[Callable[[], None]]] = {}
        self._reasons: dict[str, tuple[float, str | None]] = {}

    def abandon(self, address: str) -> None:
        """A node is lost: whoever waits to be connected to it is told so."""
        with self._lock:
            waiting = tuple(self._under_way.get(address, ()))
        for tell in waiting:
            tell()

    def is_busy(self, address: str | None) -> bool:
        """Whether as many as may are just connecting to a node, or with None to the one that takes writes."""
        node = address or self._watch.primary
        return node is not None and self._turns.are_taken(node)

    # -- threads -------------------------------------------------------------------------------

    def connect(self, dialect: sa.Dialect, record: Any, address: str | None) -> Any:
        """A connection of psycopg's to a node, or with None to the one that takes writes.

        Raises:
            NoNodeAvailable: There was none in the time that the call, or `pool.timeout`, gives.
            ConfigurationError: The nodes answer, and no waiting will help.
        """
        self._begin()
        ends_s = self._ends_s()
        failed: str | None = None
        while True:
            node = self._place(address, ends_s)
            if node is None:
                self._watch.wait_for(address, min(_LOOK_S, max(0.0, ends_s - time.monotonic())))
                continue
            if failed == node:
                self._look_into(node, self._reason(node, ends_s), is_only=address is None)
            try:
                with self._turns.wait(node, at_most_s=ends_s - time.monotonic()):
                    if self._place(address, ends_s) != node:
                        continue  # lost while the turn was waited for
                    return self._open(dialect, record, node, ends_s, for_writes=address is None)
            except Unmade:
                failed = node
                self._suspect(node)
            self._watch.wait(min(_PAUSE_S, max(0.0, ends_s - time.monotonic())))

    def _open(self, dialect: sa.Dialect, record: Any, node: str, ends_s: float, *, for_writes: bool) -> Any:
        epoch = self._watch.epoch(node)
        parameters = self._parameters(dialect, node)
        attempt = Background(lambda hold: self._made(parameters, hold, is_read_only=not for_writes))
        with self._lock:
            self._under_way.setdefault(node, set()).add(attempt.abandon)
        try:
            connection = attempt.result(self._attempt_s(ends_s))
        finally:
            with self._lock:
                self._under_way[node].discard(attempt.abandon)
        return self._accept(connection, record, node, epoch, for_writes=for_writes)

    @staticmethod
    def _made(parameters: dict[str, Any], hold: Callable[[Any], None], *, is_read_only: bool) -> Any:
        connection = Connection.connect(**parameters)
        was = connection.autocommit
        try:
            hold(connection.pgconn)
            connection.autocommit = True
            with contextlib.suppress(psycopg.Error):  # not on every server's platform
                connection.execute(_NOTICE_CLIENTS)
            connection.autocommit = was
            connection.read_only = is_read_only or None
        except BaseException:
            connection.close()
            raise
        return connection

    # -- tasks ---------------------------------------------------------------------------------

    async def connect_async(self, dialect: sa.Dialect, record: Any, address: str | None) -> Any:
        """The same for asyncio: a connection of psycopg's async kind."""
        self._begin()
        ends_s = self._ends_s()
        failed: str | None = None
        with _Alarm(self._watch) as alarm:
            while True:
                node = self._place(address, ends_s)
                if node is None:
                    await alarm.wait(min(_LOOK_S, max(0.0, ends_s - time.monotonic())))
                    continue
                if failed == node:
                    code = await asyncio.to_thread(self._reason, node, ends_s)
                    self._look_into(node, code, is_only=address is None)
                try:
                    async with self._turns.wait_async(node, at_most_s=ends_s - time.monotonic()):
                        if self._place(address, ends_s) != node:
                            continue
                        return await self._open_async(dialect, record, node, ends_s, for_writes=address is None)
                except Unmade:
                    failed = node
                    self._suspect(node)
                await alarm.wait(min(_PAUSE_S, max(0.0, ends_s - time.monotonic())))

    async def _open_async(self, dialect: sa.Dialect, record: Any, node: str, ends_s: float, *, for_writes: bool) -> Any:
        epoch = self._watch.epoch(node)
        task = asyncio.ensure_future(self._made_async(self._parameters(dialect, node), is_read_only=not for_writes))
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[None] = loop.create_future()

        def abandon() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(lost.cancel)

        with self._lock:
            self._under_way.setdefault(node, set()).add(abandon)
        is_wanted = False  # nor is what was made in the very moment in which its caller was cancelled
        try:
            await asyncio.wait({task, lost}, timeout=self._attempt_s(ends_s), return_when=asyncio.FIRST_COMPLETED)
            is_wanted = task.done()
        finally:
            with self._lock:
                self._under_way[node].discard(abandon)
            lost.cancel()
            if not is_wanted:
                task.cancel()
                task.add_done_callback(_close_late)
        if not is_wanted:
            raise Unmade
        try:
            connection = task.result()
        except (psycopg.Error, OSError) as error:
            raise Unmade from error
        return self._accept(connection, record, node, epoch, for_writes=for_writes)

    @staticmethod
    async def _made_async(parameters: dict[str, Any], *, is_read_only: bool) -> Any:
        connection = await AsyncConnection.connect(**parameters)
        was = connection.autocommit
        try:
            await connection.set_autocommit(True)
            with contextlib.suppress(psycopg.Error):
                await connection.execute(_NOTICE_CLIENTS)
            await connection.set_autocommit(was)
            await connection.set_read_only(is_read_only or None)
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    # -- both ----------------------------------------------------------------------------------

    def _parameters(self, dialect: sa.Dialect, node: str) -> dict[str, Any]:
        _, parameters = dialect.create_connect_args(node_url(self._url, node))
        longest_s = max(2, math.ceil(self._settings.connect_timeout))  # psycopg knows no less
        return {**cast("dict[str, Any]", parameters), "connect_timeout": longest_s, **self._connect_args}

    def _ends_s(self) -> float:
        return time.monotonic() + remaining_here_s(self._settings.pool.timeout)

    def _attempt_s(self, ends_s: float) -> float:
        return max(0.0, min(self._settings.connect_timeout, ends_s - time.monotonic()))

    def _place(self, address: str | None, ends_s: float) -> str | None:
        """The node to connect to; None while there is none to wait for longer."""
        fatal = self._fatal(address)
        if fatal is not None:
            raise fatal
        watch = self._watch
        if address is None:
            if watch.primary is not None and time.monotonic() < ends_s:
                return watch.primary
            if time.monotonic() >= ends_s or self._is_hopeless():
                raise NoNodeAvailable(self._told("no node takes writes"))
            return None
        sight = watch.sight(address)
        if sight.is_up and time.monotonic() < ends_s:
            return address
        if sight.error is not None or time.monotonic() >= ends_s:
            raise NoNodeAvailable(self._told(f"{address} cannot be used ({sight.error or 'no answer yet'})"))
        return None

    def _told(self, what: str) -> str:
        said = self._diagnose()
        return f"Cluster {self._guard.cluster!r}: {what}.{f' {said}' if said else ''}"

    def _is_hopeless(self) -> bool:
        """Whether the outage has lasted for longer than its caller waits for a node."""
        call = CURRENT.get()
        policy = call.policy if call is not None and call.is_running else self._guard.policy
        return self._guard.outage.age_s() > policy.patience_s

    def _reason(self, node: str, ends_s: float) -> str | None:
        """Why a node that seems well refuses connections, as a SQLSTATE; asked once a second at most.

        psycopg's connect errors carry none, so one more connection is made that listens for it.
        """
        asked_s, code = self._reasons.get(node, (-math.inf, None))
        if time.monotonic() - asked_s < 1.0:
            return code
        code = None
        wire = Wire(*place_of(node), libpq_parameters(self._url, self._connect_args), listens=True)
        try:
            wire.connect(time.monotonic() + self._attempt_s(ends_s))
        except Refused as refused:
            code = refused.sqlstate
        except Silent:
            pass
        finally:
            wire.close()
        self._reasons[node] = (time.monotonic(), code)
        return code

    def _look_into(self, node: str, code: str | None, *, is_only: bool) -> None:
        """Raise what a node that seems well, and cannot be connected to, leaves to be said; else it is tried again.

        The node that takes writes is waited for; in the place of any other one there may be more.
        """
        error = None if code is None else refusal(self._guard.cluster, node, code)
        if error is not None:
            raise error
        if not is_only:
            raise NoNodeAvailable(self._told(f"{node} cannot be connected to ({code or 'no reason told'})"))

    def _accept(self, connection: Any, record: Any, node: str, epoch: int, *, for_writes: bool) -> Any:
        """Take a new connection over, unless its node has meanwhile been lost, or is not what it was taken for."""
        pgconn = connection.pgconn
        is_standby = pgconn.parameter_status(b"in_hot_standby") == b"on"
        if (for_writes and is_standby) or not self._watch.is_current(node, epoch, for_writes=for_writes):
            pgconn.finish()
            raise Unmade
        link = Link(
            node, epoch, pgconn, for_writes=for_writes, is_async=isinstance(connection, psycopg.AsyncConnection)
        )
        self._links.add(link)
        if not self._watch.is_current(node, epoch, for_writes=for_writes):  # lost before it was known as a link
            self._links.discard(link)
            pgconn.finish()
            raise Unmade
        record.info[KEY] = link
        self._prepare(connection, link)
        return connection


class _Alarm:
    """Wakes a task when a monitor has seen a change."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def __enter__(self) -> _Alarm:  # noqa: PYI034  # nobody inherits from it
        self._watch.add_waker(self._ring)
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.remove_waker(self._ring)

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._changed.set)

    async def wait(self, timeout_s: float) -> None:
        """Wait until something has changed, but not for longer than this."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        self._changed.clear()


def _close_late(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().pgconn.finish()
