"""The monitors: a thread a node, which asks it again and again how it is, and tells when it has fallen silent."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

from undaunted.sqlalchemy.faults import CREDENTIALS
from undaunted.sqlalchemy.sights import Sight, lsn_of
from undaunted.sqlalchemy.urls import place_of
from undaunted.sqlalchemy.wire import Refused, Silent, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.config import SQLAlchemySettings
    from undaunted.sqlalchemy.watch import Watch

__all__ = ["LOOK", "WHO", "WHO_PLAINLY", "Monitor", "sight_of"]

_LOG = logging.getLogger("undaunted.sqlalchemy")

WHO = b"SELECT (SELECT system_identifier FROM pg_control_system()), pg_postmaster_start_time()"
WHO_PLAINLY = b"SELECT NULL, pg_postmaster_start_time()"
"""For a role that was forbidden to ask."""

LOOK = b"""
SELECT pg_is_in_recovery(),
  CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END,
  CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn() END,
  CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_insert_lsn() END,
  pg_last_wal_replay_lsn(),
  CASE WHEN pg_is_in_recovery() THEN greatest(
    (SELECT timeline_id FROM pg_control_checkpoint()),
    (SELECT min_recovery_end_timeline FROM pg_control_recovery()),
    (SELECT received_tli FROM pg_stat_wal_receiver)) END,
  CASE WHEN pg_is_in_recovery() OR current_setting('synchronous_standby_names') = ''
    OR current_setting('synchronous_commit') IN ('off', 'local') THEN false
  ELSE NOT EXISTS (SELECT FROM pg_stat_get_wal_senders()
    WHERE sync_state IS NULL OR sync_state IN ('sync', 'quorum')) END,
  current_setting('transaction_read_only')
"""
"""What a node is asked, as any role may; one without pg_monitor learns later that a standby follows a new primary."""

_PAGE = 8192
_PAGE_HEADERS = (24, 40)
_SLOW_S = 5.0
"""Between two tries of a login that was refused: it mends only when somebody changes something."""


def sight_of(address: str, row: list[str | None], *, asked_s: float, answered_s: float) -> Sight:
    """Make a value of a node's answer to `LOOK`.

    A primary's `Sight.lsn` is where its log ends, since what was committed without a flush counts, too. At the start of
    a page that is behind the page's header, which no replica reaches before there is something to replay; so then, and
    with everything flushed, it is the position before.
    """
    in_recovery, walfile, flushed, inserted, replayed, received_timeline, waits, read_only = row
    replay_lsn = None if replayed is None else lsn_of(replayed)
    if in_recovery == "t":
        return Sight(
            address=address,
            role="replica",
            timeline=None if received_timeline is None else int(received_timeline),
            lsn=replay_lsn,
            asked_s=asked_s,
            answered_s=answered_s,
            latency_s=answered_s - asked_s,
        )
    flushed_lsn = None if flushed is None else lsn_of(flushed)
    lsn = None if inserted is None else lsn_of(inserted)
    if lsn is not None and flushed_lsn is not None and flushed_lsn % _PAGE == 0 and lsn - flushed_lsn in _PAGE_HEADERS:
        lsn = flushed_lsn
    return Sight(
        address=address,
        role="primary" if read_only == "off" else "replica",  # fenced, by default_transaction_read_only
        timeline=None if walfile is None else int(walfile[:8], 16),
        lsn=lsn,
        flushed_lsn=flushed_lsn,
        fork_lsn=replay_lsn,
        waits_for_standby=waits == "t",
        asked_s=asked_s,
        answered_s=answered_s,
        latency_s=answered_s - asked_s,
    )


class Monitor:
    """Watches one node from a thread of its own.

    Args:
        watch: Is told what is seen.
        address: The node.
        settings: The cluster's settings, for their times.
        parameters: What libpq is given besides host and port.
    """

    def __init__(self, watch: Watch, address: str, settings: SQLAlchemySettings, parameters: Mapping[str, str]) -> None:
        self._watch, self._address, self._settings, self._parameters = watch, address, settings, parameters
        self._place = place_of(address)
        self._wire: Wire | None = None
        self._who: tuple[int | None, str | None] = (None, None)
        self._answered_s: float | None = None
        self._codes: dict[bytes, str | None] = {}
        self._listens = True
        self._is_stopped = False
        self._nudge = threading.Event()
        self._bell, self._button = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=f"undaunted-monitor-{address}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look_now(self) -> None:
        """Ask at once instead of after the pause."""
        self._nudge.set()

    def stop(self) -> None:
        """Have it end; waits for nothing."""
        self._is_stopped = True
        self._nudge.set()
        with contextlib.suppress(OSError):
            self._button.send(b"x")

    def join(self, timeout_s: float) -> bool:
        """Wait until it has ended; whether it has."""
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- in its thread -------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_stopped:
                self._nudge.clear()
                try:
                    seen = self._look()
                except Exception as error:  # noqa: BLE001  # a monitor that dies would leave the cluster blind
                    _LOG.exception("the monitor of %s failed", self._address)
                    seen = self._gone(type(error).__name__)
                if not self._is_stopped:
                    self._tell(seen)
                    self._nudge.wait(self._pause_s(seen))
        finally:
            self._hang_up()
            self._bell.close()
            self._button.close()

    def _tell(self, sight: Sight) -> None:
        restarted, self._has_restarted = self._has_restarted, False
        self._watch.saw(sight, restarted=restarted)

    _has_restarted = False

    def _pause_s(self, seen: Sight) -> float:
        if seen.error in CREDENTIALS:
            return _SLOW_S
        interval_s = self._settings.heartbeat.interval
        return interval_s / 4 if self._watch.primary is None else interval_s

    def _look(self) -> Sight:
        try:
            if self._wire is None:
                self._connect()
            return self._ask()
        except Silent:
            return self._gone("Silent")
        except Refused as error:
            was_up, code = self._answered_s is not None, error.sqlstate
            self._hang_up()
            if not was_up or self._is_stopped:
                return self._gone(code or "Refused")
        # The node was well, and it may be that only this connection was ended. To connect again tells at once.
        try:
            self._connect()
            return self._ask()
        except Silent:
            return self._gone("Silent")
        except Refused as error:
            return self._gone(error.sqlstate or "Refused")

    def _ends_s(self, otherwise_s: float) -> float:
        """Until when to wait: a known node is lost so long after its last answer, whatever was tried since."""
        now_s = time.monotonic()
        if self._answered_s is None:
            return now_s + otherwise_s
        timeout_s = self._settings.heartbeat.timeout
        # Not less than half of it: this thread may have got no turn, and then the silence was its own.
        return max(self._answered_s + timeout_s, now_s + timeout_s / 2)

    def _connect(self) -> None:
        self._wire = wire = Wire(*self._place, self._parameters, listens=self._listens, bell=self._bell.fileno())
        try:
            wire.connect(self._ends_s(self._settings.connect_timeout))
        except Refused as error:
            raise Refused(self._code(wire.said, error.sqlstate)) from None
        self._listens = True
        ends_s = self._ends_s(self._settings.heartbeat.timeout)
        try:
            identifier, started = wire.ask(WHO, ends_s)
        except Refused as error:
            if error.sqlstate is None:
                raise
            identifier, started = wire.ask(WHO_PLAINLY, ends_s)
        before, self._who = self._who[1], (None if identifier is None else int(identifier), started)
        self._has_restarted = before is not None and before != started

    def _code(self, said: bytes, heard: str | None) -> str | None:
        """The SQLSTATE of a refusal. It is listened for only where libpq says what it has not said before."""
        if self._listens:
            if len(self._codes) > 100:
                self._codes.clear()
            self._codes[said] = heard
        self._listens = said not in self._codes
        return self._codes.get(said) or heard

    def _ask(self) -> Sight:
        wire = self._wire
        if wire is None:
            raise Refused
        asked_s = time.monotonic()
        row = wire.ask(LOOK, self._ends_s(self._settings.heartbeat.timeout))
        self._answered_s = answered_s = time.monotonic()
        seen = sight_of(self._address, row, asked_s=asked_s, answered_s=answered_s)
        return seen.known_as(self._who[0], wire.server_version)

    def _gone(self, error: str) -> Sight:
        self._hang_up()
        self._answered_s = None
        return Sight(address=self._address, error=error)

    def _hang_up(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
