"""Which nodes are asked: who does not answer is left alone by everybody, until a probe has found it well.

The driver keeps a frozen node for up to 80 s, since its sockets stay open, and each call that meets it waits. Here
the first call that waits in vain marks the node as sick; from then on only the prober asks it.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from cassandra.policies import HostDistance

from undaunted import events

if TYPE_CHECKING:
    from collections.abc import Iterable

    from undaunted.engine.guard import Guard

__all__ = ["Health", "name_of"]

_LOG = logging.getLogger("undaunted.cassandra")

_PROBE = "SELECT key FROM system.local WHERE key='local'"
_FIRST_PROBE_S = 0.5
"""A node that answers this soon was well, and the statement that it had not answered was a slow one."""
_PROBE_S = 1.0
_PAUSE_S = 0.5


def name_of(host: Any) -> str:
    """A node's address as ``"host:port"``."""
    endpoint = host.endpoint
    return f"{endpoint.address}:{endpoint.port}"


class Health:
    """One per cluster. The driver tells it of nodes that come and go; calls tell it of those that do not answer.

    Args:
        guard: The cluster's part; its outage clock is fed from here.
        failback_s: Seconds for which the home datacenter must have been well before it is asked again.

    Attributes:
        sick: The nodes that are left alone; replaced as a whole and never changed, so it is read without a lock.
        took_s: Of each node, the seconds that its last answer took.
    """

    def __init__(self, guard: Guard, *, failback_s: float) -> None:
        self._guard = guard
        self._failback_s = failback_s
        self.sick: frozenset[Any] = frozenset()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all, with fresh locks: after a fork, and before each connecting."""
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._session: Any = None
        self._policy: Any = None
        self._probers: dict[Any, threading.Thread] = {}
        self.sick = frozenset()
        self.took_s: dict[Any, float] = {}
        self._lost: set[Any] = set()
        self._is_away = False
        self._home_well_since_s: float | None = None
        self._outage_began_s: float | None = None

    # -- what is known -------------------------------------------------------------------------

    def attach(self, session: Any, policy: Any) -> None:
        """The driver has connected."""
        self._session, self._policy = session, policy
        session.cluster.register_listener(self)
        self._weigh()

    def order(self, home: str, remote: tuple[str, ...]) -> tuple[str, ...]:
        """The datacenters in the order in which they are asked now."""
        if not self._is_away:
            return (home, *remote)
        since_s = self._home_well_since_s
        if since_s is not None and time.monotonic() - since_s >= self._failback_s:
            self._is_away = False
            return (home, *remote)
        return (*remote, home)

    def wait(self, timeout_s: float) -> None:
        """Wait until something about the nodes has changed, but not for longer than this."""
        with self._changed:
            self._changed.wait(timeout_s)

    def hosts(self) -> list[Any]:
        """Every node that the driver knows and that is not left alone by the settings."""
        if self._session is None:
            return []
        known: Iterable[Any] = self._session.cluster.metadata.all_hosts()
        return [host for host in known if self._policy.distance(host) != HostDistance.IGNORED]

    def is_well(self, host: Any) -> bool:
        """Whether calls may go there, as far as is known."""
        return bool(host.is_up) and host not in self.sick

    def latency_ms(self, host: Any) -> float | None:
        """Milliseconds that a node's last answer to a statement took; None where it is lost, or was never asked."""
        took_s = self.took_s.get(host) if self.is_well(host) else None
        return None if took_s is None else round(took_s * 1000, 2)

    def are_all_well(self) -> bool:
        """Whether no node is known to be down or silent; one that was only waited for is not, until it was probed."""
        return not self._lost and all(host.is_up is not False for host in self.hosts())

    def diagnose(self) -> str | None:
        """Why no node can be asked, in a sentence or two; None where one can."""
        session, policy, name = self._session, self._policy, self._guard.cluster
        if session is None or any(self.is_well(host) for host in self.hosts()):
            return None
        declared = policy.datacenters
        others = sorted({host.datacenter for host in session.cluster.metadata.all_hosts()} - {None, *declared})
        if not others:
            return f"No node of cluster {name!r} answers."
        there = f"{' and '.join(others)} {'is' if len(others) == 1 else 'are'} not declared"
        return (
            f"clusters.{name}.remote_datacenters: no node of {' and '.join(declared)} answers, and {there}. "
            "Declare where to go on."
        )

    # -- what calls tell -----------------------------------------------------------------------

    def unanswered(self, host: Any) -> None:
        """A call has waited for this node in vain."""
        if host in self.sick:
            return  # of all who met it together only the first has anything to do
        # A prober for each node: one that was only waited for, because a replica is dead, is well within
        # milliseconds, and must not wait until another one has had its time to answer.
        prober = threading.Thread(target=self._probe, args=(host,), name="undaunted-prober", daemon=True)
        with self._changed:
            if host in self.sick or self._session is None:
                return
            self.sick |= {host}
            self._probers[host] = prober
        prober.start()  # outside of the lock: it waits until the thread runs, and a busy machine takes its time
        self._weigh()

    def none_left(self) -> None:
        """A call has found no node that could be asked at all."""
        self._weigh()

    # -- what the driver tells -----------------------------------------------------------------

    def on_up(self, host: Any) -> None:
        """The driver has connected to a node again."""
        self._well(host)

    def on_down(self, host: Any) -> None:
        """The driver has lost a node."""
        self._tell_lost(host, "ConnectionShutdown")
        self._weigh()

    def on_add(self, host: Any) -> None:  # noqa: ARG002  # the driver's signature
        """The cluster has grown by a node, or the driver has first heard of it."""
        self._weigh()

    def on_remove(self, host: Any) -> None:
        """A node has left the cluster."""
        with self._changed:
            self.sick -= {host}
            self._probers.pop(host, None)
            self._lost.discard(host)
            self.took_s.pop(host, None)
        self._weigh()

    # -- probing -------------------------------------------------------------------------------

    def _probe(self, host: Any) -> None:
        """Ask a sick node again and again; ends when it is well, or when a later prober has taken its place."""
        timeout_s = _FIRST_PROBE_S
        stop, own = self._stop, threading.current_thread()
        while not stop.is_set() and host in self.sick and self._probers.get(host) is own:
            future = self._ask(host, timeout_s)
            if future is not None and self._answers(future):
                self._well(host)
                return
            if host in self.sick:
                self._tell_lost(host, "OperationTimedOut")
            timeout_s = _PROBE_S
            stop.wait(_PAUSE_S)

    def _ask(self, host: Any, timeout_s: float) -> Any:
        try:
            return self._session.execute_async(_PROBE, timeout=timeout_s, host=host)
        except Exception:  # noqa: BLE001  # whatever it is, the node stays sick and is asked again
            if not self._stop.is_set():
                _LOG.warning("a probe could not be sent", exc_info=True)
            return None

    @staticmethod
    def _answers(future: Any) -> bool:
        try:
            future.result()
        except Exception:  # noqa: BLE001  # whatever it is, it is no answer
            return False
        return True

    # -- what follows --------------------------------------------------------------------------

    def _well(self, host: Any) -> None:
        with self._changed:
            self.sick -= {host}
            self._probers.pop(host, None)
            was_lost = host in self._lost
            self._lost.discard(host)
        if was_lost:
            guard = self._guard
            guard.publish(
                events.NodeFound(cluster=guard.cluster, backend=guard.backend, node=name_of(host), role="replica")
            )
        self._weigh()

    def _tell_lost(self, host: Any, reason: str) -> None:
        with self._changed:
            if host in self._lost:
                return
            self._lost.add(host)
        guard = self._guard
        guard.publish(events.NodeLost(cluster=guard.cluster, backend=guard.backend, node=name_of(host), reason=reason))

    def _weigh(self) -> None:
        """Tell the outage clock, and those who wait, what the nodes are now."""
        well = [host for host in self.hosts() if self.is_well(host)]
        home = self._policy.home if self._policy is not None else None
        with self._changed:
            if self._policy is not None and len(self._policy.datacenters) > 1:
                self._weigh_home(is_well=any(host.datacenter == home for host in well))
            self._changed.notify_all()
        self._tell_outage(is_any_well=bool(well))

    def _weigh_home(self, *, is_well: bool) -> None:
        if not is_well:
            self._is_away, self._home_well_since_s = True, None
        elif self._is_away and self._home_well_since_s is None:
            self._home_well_since_s = time.monotonic()

    def _tell_outage(self, *, is_any_well: bool) -> None:
        guard = self._guard
        if is_any_well:
            if guard.outage.primary_found() and self._outage_began_s is not None:
                elapsed_s = time.monotonic() - self._outage_began_s
                guard.publish(events.OutageEnded(cluster=guard.cluster, backend=guard.backend, elapsed_s=elapsed_s))
            self._outage_began_s = None
        elif guard.outage.all_lost() and self._session is not None:
            self._outage_began_s = time.monotonic()
            guard.publish(events.OutageBegan(cluster=guard.cluster, backend=guard.backend))

    def close(self) -> None:
        """End the prober, and let nobody wait any more."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
