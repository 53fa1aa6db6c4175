"""The way to the driver's session: made in the background, tried for ever, awaited by each call for its own time."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

import cassandra
from cassandra.cluster import NoHostAvailable

from undaunted.cassandra import seams
from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync
from undaunted.engine.ahead import load_ahead
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.cassandra.health import Health
    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard

__all__ = ["Link"]

_LOG = logging.getLogger("undaunted.cassandra")
_CONNECT = Operation(name="connect", kind=Kind.READ, idempotent=True, needs_primary=False)
_NEWEST = 5
"""The protocol version before one has been agreed on; it decides only how a key is written, as 3 and newer do."""
_PAUSE_S = 0.5
"""Between two tries to connect. A refused one costs 20 ms of CPU, and nobody may wait 2 s longer than the cluster."""
_LOOK_S = 0.25
"""Who waits looks this often whether the outage has outlasted the patience of the call."""


class Link:
    """One cluster's session of the driver. It exists once it has been asked for, and anew in a forked child.

    Args:
        guard: The cluster's part.
        health: Is told of the session.
        make: Makes an unconnected ``Cluster``, the policy that orders its nodes, and the profiles of its statements.
        explain: Makes of a failure to connect the error that no further try can mend; None where one may.
        connected: Told of each new session, before anybody gets it.
    """

    def __init__(
        self,
        guard: Guard,
        health: Health,
        *,
        make: Callable[[], tuple[Any, Any, Any]],
        explain: Callable[[Exception, Any], Exception | None],
        connected: Callable[[Any], None],
    ) -> None:
        self._guard, self._health = guard, health
        self._make, self._explain, self._connected = make, explain, connected
        self._is_closed = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the session: it belongs to another process, whose threads do not exist here."""
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._fatal: Exception | None = None
        self.last_error: Exception | None = None
        self.session: Any = None
        self.cluster: Any = None
        self.policy: Any = None
        self.profiles: Any = None
        self.protocol_version = _NEWEST

    def after_fork_in_child(self) -> None:
        """Abandon what was inherited: to close it would speak on the parent's sockets, and wait for its threads."""
        seams.abandon_loop()
        if self.cluster is not None:
            seams.abandon(self.cluster)
        self._health.begin_anew()
        self.begin_anew()

    def begin(self) -> None:
        """Begin to connect, if nobody has; waits for nothing."""
        if self.session is not None or self._thread is not None or self._fatal is not None:
            return
        load_ahead()
        with self._lock:
            if self._thread is None and self.session is None and self._fatal is None and not self._is_closed:
                self._guard.outage.all_lost()
                self._thread = threading.Thread(target=self._connect, name="undaunted-connector", daemon=True)
                self._thread.start()

    @property
    def is_begun(self) -> bool:
        """Whether it has connected in this process, or is trying to, or has found out that it never will."""
        return self.session is not None or self._thread is not None or self._fatal is not None

    def error_of(self, address: str) -> str | None:
        """Class name of what stands in the way of connecting to a contact point; None once it is connected."""
        if self.session is not None or self.last_error is None:
            return None
        told = {str(endpoint): error for endpoint, error in _errors_of(self.last_error).items()}
        return type(told.get(address, self.last_error)).__name__

    def driver(self, call: Call) -> Any:
        """The driver's session; waits for it as long as the call may.

        Raises:
            ConfigurationError: The nodes answer, and what they say will not change by itself.
            NoHostAvailable: No node could be reached in that time.
        """
        found = self.session
        return found if found is not None else self._wait(call)

    def awaited(self) -> Any:
        """The driver's session for whoever needs it itself, outside of any statement; waits as a read would."""
        return self.session if self.session is not None else sync.run(self._guard, _CONNECT, self.driver)

    def check_open(self) -> None:
        """Make sure that there is something to wait for.

        Raises:
            ConfigurationError: The cluster has been closed.
        """
        if self._is_closed:
            raise ConfigurationError(f"Cluster {self._guard.cluster!r} has been closed.")

    def _wait(self, call: Call) -> Any:
        self.begin()
        waiting = self._guard.waiting
        entry = waiting.begun(call.started_s)
        try:
            return self._connected_session(call)
        finally:
            waiting.ended(entry)

    def _connected_session(self, call: Call) -> Any:
        with self._lock:
            while self.session is None:
                if self._fatal is not None:
                    raise _again(self._fatal)
                self.check_open()
                remaining_s = call.remaining_s()
                if remaining_s <= 0 or self._guard.outage.age_s() > call.policy.patience_s:
                    raise NoHostAvailable("no contact point answers", _errors_of(self.last_error))
                self._lock.wait(min(remaining_s, _LOOK_S))
            return self.session

    def _connect(self) -> None:
        """Try until it succeeds, is in vain for good, or nobody wants it any more."""
        while not self._is_closed:
            cluster: Any = None
            try:
                cluster, policy, profiles = self._make()
                session = cluster.connect()
                self._connected(session)
            except Exception as error:  # noqa: BLE001  # told to those who wait
                if self._failed(error, cluster):
                    return
                with self._lock:
                    self._lock.wait_for(lambda: self._is_closed, _PAUSE_S)
                continue
            self._succeeded(session, cluster, policy, profiles)
            return

    def _succeeded(self, session: Any, cluster: Any, policy: Any, profiles: Any) -> None:
        with self._lock:
            if not self._is_closed:
                self.cluster, self.policy, self.profiles = cluster, policy, profiles
                self.protocol_version = int(cluster.protocol_version)
                self._health.attach(session, policy)
                self.session = session
            self._thread = None
            self._lock.notify_all()
        if self._is_closed:
            cluster.shutdown()

    def _failed(self, error: Exception, cluster: Any) -> bool:
        self.last_error = error
        fatal = self._explain(error, cluster)
        if cluster is not None:
            cluster.shutdown()
        if fatal is None:
            return False
        with self._lock:
            self._fatal = fatal
            self._thread = None
            self._lock.notify_all()
        return True

    def close(self) -> None:
        """Close the session, and end the connecting. May be called twice."""
        with self._lock:
            self._is_closed = True
            cluster, self.cluster, self.session = self.cluster, None, None
            thread = self._thread
            self._lock.notify_all()
        self._health.close()
        if cluster is not None:
            cluster.shutdown()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5.0)
            if thread.is_alive():
                _LOG.warning("cluster %r: connecting had not ended 5 s after it was closed", self._guard.cluster)


def _again(error: Exception) -> Exception:
    """A fresh one of the same kind: an error that many threads raise would collect all their tracebacks."""
    made = type(error)(*error.args)
    made.__cause__ = error.__cause__
    return made


def _errors_of(error: Exception | None) -> dict[Any, Any]:
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict):
        return error.errors
    if isinstance(error, cassandra.DriverException):
        return {"contact points": error}
    return {}
