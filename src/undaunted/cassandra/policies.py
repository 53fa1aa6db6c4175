"""The driver's policies as we give them: it retries nothing by itself, and it asks well nodes first.

One layer owns retries, and it is ours: the driver's default sends a statement to the next node after a lost
connection whether or not it may be run twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    HostDistance,
    LoadBalancingPolicy,
    RetryPolicy,
    TokenAwarePolicy,
)

from undaunted.cassandra.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from undaunted.cassandra.health import Health

__all__ = ["NoRetry", "NodeOrder"]


class NoRetry(RetryPolicy):  # type: ignore[misc]  # the driver is untyped
    """Hands every failure to the caller, who is the engine."""

    def on_read_timeout(self, *_: Any, **__: Any) -> Any:
        """Hand it over."""
        return self.RETHROW, None

    def on_write_timeout(self, *_: Any, **__: Any) -> Any:
        """Hand it over."""
        return self.RETHROW, None

    def on_unavailable(self, *_: Any, **__: Any) -> Any:
        """Hand it over."""
        return self.RETHROW, None

    def on_request_error(self, *_: Any, **__: Any) -> Any:
        """Hand it over."""
        return self.RETHROW, None


class NodeOrder(LoadBalancingPolicy):  # type: ignore[misc]  # the driver is untyped
    """Home's nodes first, the replicas of the row before the others; then the declared datacenters; sick nodes last.

    Args:
        health: Knows who is sick, and which datacenter is the one to ask.
        home: The local datacenter; None for that of the first contact point that tells its own.
        remote: Datacenters to go on in when home cannot serve, in this order.
    """

    def __init__(self, health: Health, home: str | None, remote: Sequence[str] = ()) -> None:
        super().__init__()
        self._health = health
        self._at_home = DCAwareRoundRobinPolicy(home or "")
        self._home = TokenAwarePolicy(self._at_home)
        self._remote = {name: TokenAwarePolicy(DCAwareRoundRobinPolicy(name)) for name in remote}
        self._all = (self._home, *self._remote.values())
        self._ring: Ring | None = None

    @property
    def home(self) -> str | None:
        """The local datacenter; None until it is known."""
        return self._at_home.local_dc or None

    @property
    def datacenters(self) -> list[str]:
        """Home first, then the declared ones."""
        return [*([self.home] if self.home else []), *self._remote]

    def populate(self, cluster: Any, hosts: Iterable[Any]) -> None:
        """Take the contact points."""
        known = list(hosts)
        for policy in self._all:
            policy.populate(cluster, known)
        if not self._home.shuffle_replicas:  # as scylla-driver does, which also knows rows that are spread otherwise
            self._ring = Ring(cluster.metadata)

    def distance(self, host: Any) -> Any:
        """Near at home and far in the declared datacenters; all others are left alone."""
        if self._home.distance(host) == HostDistance.LOCAL:
            return HostDistance.LOCAL
        return HostDistance.REMOTE if host.datacenter in self._remote else HostDistance.IGNORED

    def check_supported(self) -> None:
        """Make sure that the cluster's partitioner is one that the driver can compute."""
        self._home.check_supported()

    def nearest(self, query: Any) -> Any:
        """The node to ask first, that of `make_query_plan`; None where all are sick."""
        ring, key, keyspace = self._ring, query.routing_key, query.keyspace
        if ring is not None and key is not None and keyspace and not self._remote and not self._health.sick:
            home = self._at_home.local_dc
            for host in ring.replicas(keyspace, key):
                if host.is_up and (host.datacenter or home) == home:
                    return host
        host = next(self.make_query_plan(None, query), None)
        return None if host in self._health.sick else host

    def make_query_plan(self, working_keyspace: str | None = None, query: Any = None) -> Iterator[Any]:
        """The nodes to ask, in this order."""
        if not self._remote and not self._health.sick:  # nearly always
            return self._home.make_query_plan(working_keyspace, query)  # type: ignore[no-any-return]  # untyped
        return self._ordered(working_keyspace, query)

    def _ordered(self, working_keyspace: str | None, query: Any) -> Iterator[Any]:
        sick: list[Any] = []
        for name in self._health.order(self.home or "", tuple(self._remote)):
            policy = self._remote.get(name, self._home)
            for host in policy.make_query_plan(working_keyspace, query):
                if host in self._health.sick:
                    sick.append(host)
                else:
                    yield host
        yield from sick

    def on_up(self, host: Any) -> None:
        """A node has come back."""
        for policy in self._all:
            policy.on_up(host)

    def on_down(self, host: Any) -> None:
        """A node is gone."""
        for policy in self._all:
            policy.on_down(host)

    def on_add(self, host: Any) -> None:
        """A node has been added."""
        for policy in self._all:
            policy.on_add(host)

    def on_remove(self, host: Any) -> None:
        """A node has been removed."""
        for policy in self._all:
            policy.on_remove(host)
