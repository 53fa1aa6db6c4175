"""What is heard of every engine's connections: lent and given back, begun and committed, and lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import event, exc

from undaunted.engine.call import CURRENT
from undaunted.events import DurabilityWeakened
from undaunted.sqlalchemy.deadlines import deadline_here_s
from undaunted.sqlalchemy.errors import DeadlineExceeded, NoNodeAvailable
from undaunted.sqlalchemy.faults import SQLSTATES, Sign, sqlstate_of
from undaunted.sqlalchemy.links import KEY, Link
from undaunted.sqlalchemy.sights import lsn_of
from undaunted.sqlalchemy.tokens import Token

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from undaunted.engine.guard import Guard
    from undaunted.sqlalchemy.deadlines import Deadlines
    from undaunted.sqlalchemy.links import Links
    from undaunted.sqlalchemy.watch import Watch

__all__ = ["Listeners"]

_SYNC_WAIT = "SyncRepWaitForLSN"
"""The server's function that waits for a synchronous standby; its only notices are that this wait was given up."""


class Listeners:
    """One per cluster, attached to each of its engines.

    Args:
        guard: The cluster's part.
        watch: Tells which node is which.
        links: The connections.
        deadlines: Keeps the deadlines of those who have one.
        suspect: Has a node looked at now.

    Attributes:
        weakened: COMMITs that were answered although no standby had confirmed them.
    """

    def __init__(
        self, guard: Guard, watch: Watch, links: Links, deadlines: Deadlines, suspect: Callable[[str], None]
    ) -> None:
        self._guard, self._watch, self._links = guard, watch, links
        self._deadlines, self._suspect = deadlines, suspect
        self.weakened = 0

    def attach(self, engine: sa.Engine) -> None:
        """Hear what happens on an engine; of an async one, on its sync engine.

        Nothing is of SQLAlchemy's own connections, whose events would cost each of them a dispatcher of its own; before
        a COMMIT, psycopg's connection tells.
        """
        event.listen(engine, "checkout", self._lent)
        event.listen(engine, "checkin", self._given_back)
        event.listen(engine, "close", self._closed)
        event.listen(engine, "handle_error", self._failed)

    def prepare(self, connection: Any, link: Link) -> None:
        """Hear the server's notices on a new connection of psycopg's, and when it is about to commit."""

        def notice(said: Any) -> None:
            if said.source_function == _SYNC_WAIT:
                self._weakened(link)

        connection.add_notice_handler(notice)
        connection.before_commit = partial(self._committing, link)

    # -- the pool's --------------------------------------------------------------------------------

    def _lent(self, _connection: Any, record: Any, _proxy: Any) -> None:
        link: Link | None = record.info.get(KEY)
        if link is None:
            return
        is_current = not link.is_cut and self._watch.is_current(link.node, link.epoch, for_writes=link.for_writes)
        if (
            link.is_fresh and not is_current
        ):  # lost within the blink of an eye; the pool would try once more, and give up
            raise NoNodeAvailable(
                f"Cluster {self._guard.cluster!r}: {link.node} was lost as soon as it was connected to."
            )
        if not is_current or (not link.is_fresh and link.has_ended()):
            raise exc.DisconnectionError("its node has been lost, or takes no writes any more")
        deadline_s = deadline_here_s()
        link.lend(deadline_s)
        call = CURRENT.get()
        if call is not None and call.is_running and call.guard is self._guard:
            call.node = link.node
        if deadline_s is not None:
            self._deadlines.keep(deadline_s)

    def _given_back(self, connection: Any, record: Any) -> None:
        link: Link | None = record.info.get(KEY)
        if link is None:
            return
        link.give_back()
        commit_at, link.commit_at = link.commit_at, None
        if commit_at is not None and connection is not None:  # the COMMIT was answered, and the connection lives
            self._watch.acknowledged(Token(*commit_at))

    def _closed(self, _connection: Any, record: Any) -> None:
        link: Link | None = record.info.pop(KEY, None)
        if link is not None:
            self._links.discard(link)

    # -- the connection's --------------------------------------------------------------------------

    def _committing(self, link: Link, written_at: bytes | None) -> None:
        call = CURRENT.get()
        if call is not None and call.is_running and call.guard is self._guard:
            call.sent = True
            call.node = link.node
        link.is_weakened = False
        link.commit_at = flushed = self._watch.flushed(link.node)
        if written_at is not None and flushed is not None:  # known better than by the monitor's last look
            link.commit_at = flushed[0], max(flushed[1], lsn_of(written_at.decode()))

    def _failed(self, context: Any) -> Exception | None:
        """Look at an error; returns what is to be raised in its place, if anything."""
        connection: sa.Connection | None = context.connection
        link = None if connection is None else _link_of(connection)
        if link is None:
            return None
        link.commit_at = None
        if not context.is_disconnect:
            if not self._ends(link, context.original_exception):
                return None
            context.is_disconnect = True
        # Of the others in the pool each is looked at before it is lent: what one has met says nothing about them.
        context.invalidate_pool_on_disconnect = False
        call = CURRENT.get()
        if call is not None and call.is_running:
            if call.guard is self._guard:
                call.node = link.node
        elif link.is_overdue:
            return DeadlineExceeded(_OVERDUE.format(cluster=self._guard.cluster, node=link.node))
        if not link.is_overdue:
            self._suspect(link.node)
        return None

    @staticmethod
    def _ends(link: Link, error: BaseException) -> bool:
        """Whether the connection must be given up, although the driver finds nothing wrong with it."""
        state = sqlstate_of(error)
        if state is None:
            # A server that was killed makes psycopg say "connection socket closed", while libpq has not looked yet.
            return link.is_cut or isinstance(error, psycopg.OperationalError)
        sign = SQLSTATES.get(state)
        if sign is Sign.DEMOTED:
            # Also what a transaction gets that was declared read-only, or was sent to a replica, and then the node is
            # what it should be.
            pgconn = link.pgconn
            return link.for_writes and (
                pgconn.parameter_status(b"in_hot_standby") == b"on"
                or pgconn.parameter_status(b"default_transaction_read_only") == b"on"
            )
        return sign is Sign.LOST

    def _weakened(self, link: Link) -> None:
        link.is_weakened = True
        self.weakened += 1
        self._guard.publish(
            DurabilityWeakened(cluster=self._guard.cluster, backend=self._guard.backend, node=link.node)
        )


_OVERDUE = (
    "Cluster {cluster!r}: the deadline passed while {node} had not answered, so the connection was ended. What was not "
    "committed is undone; if it was the COMMIT that was not answered, look whether it was applied."
)


def _link_of(connection: sa.Connection) -> Link | None:
    try:
        link: Link | None = connection.info.get(KEY)
    except exc.SQLAlchemyError:  # invalidated already
        return None
    return link
