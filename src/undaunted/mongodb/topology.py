"""What the driver's monitors see, told to the cluster's outage clock and to its listeners."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pymongo import monitoring

from undaunted import backend, events
from undaunted.core.budget import Budget
from undaunted.core.outage import Outage
from undaunted.core.policy import BudgetPolicy, Policy
from undaunted.engine.guard import Guard
from undaunted.mongodb.errors import error_classes
from undaunted.mongodb.faults import classify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymongo.server_description import ServerDescription
    from pymongo.topology_description import TopologyDescription

__all__ = ["TopologyWatch", "default_guard", "make_guard", "nodes_of"]

_ROLES = {
    "RSPrimary": "primary",
    "RSSecondary": "secondary",
    "RSArbiter": "arbiter",
    "RSOther": "other",
    "RSGhost": "uninitiated",
    "Standalone": "standalone",
    "Mongos": "router",
    "LoadBalancer": "load balancer",
}


def make_guard(cluster: str, *, policy: Policy, budget: BudgetPolicy, publish: Callable[[events.Event], None]) -> Guard:
    """What the calls of one MongoDB cluster are guarded with."""
    return Guard(
        cluster=cluster,
        backend="mongodb",
        policy=policy,
        budget=Budget(budget),
        outage=Outage(),
        classify=classify,
        errors=error_classes(),
        publish=publish,
    )


def default_guard() -> Guard:
    """The guard of a client that was made without settings."""
    return make_guard("mongodb", policy=Policy(), budget=BudgetPolicy(), publish=backend.directory().publish)


def nodes_of(description: TopologyDescription) -> list[dict[str, Any]]:
    """The nodes that a topology knows, as plain data."""
    return [_node(server) for _, server in sorted(description.server_descriptions().items())]


def _node(server: ServerDescription) -> dict[str, Any]:
    latency = server.round_trip_time
    return {
        "address": _name(server.address),
        "role": _ROLES.get(server.server_type_name, "unknown"),
        "latency_ms": None if latency is None else round(latency * 1000, 2),
        "error": None if server.error is None else type(server.error).__name__,
    }


def _name(address: tuple[str, int | None]) -> str:
    host, port = address
    return host if port is None else f"{host}:{port}"


def _primary(servers: Mapping[Any, ServerDescription]) -> str | None:
    for address, server in servers.items():
        if server.is_writable:
            return _name(address)
    return None


class TopologyWatch(monitoring.TopologyListener):
    """Listens to one client's topology. Its methods run in a thread of the driver's, one event after another."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._last_primary: str | None = None
        self._lost_s: float | None = None
        self._without_node_s: float | None = None

    def opened(self, event: monitoring.TopologyOpenedEvent) -> None:  # noqa: ARG002
        """Monitoring begins, in this process: nothing is known yet, and the outage clock runs."""
        self._guard.outage.primary_lost()

    def closed(self, event: monitoring.TopologyClosedEvent) -> None:  # noqa: ARG002
        """The client was closed."""
        self._guard.outage.reset()

    def description_changed(self, event: monitoring.TopologyDescriptionChangedEvent) -> None:
        """Some node has changed its role, come or gone."""
        before = event.previous_description.server_descriptions()
        after = event.new_description.server_descriptions()
        self._tell_nodes(before, after)
        self._tell_outage(any(server.is_server_type_known for server in after.values()))
        self._tell_primary(_primary(before), _primary(after))

    def _tell_nodes(self, before: Mapping[Any, ServerDescription], after: Mapping[Any, ServerDescription]) -> None:
        guard = self._guard
        for address, server in after.items():
            was_known = address in before and before[address].is_server_type_known
            if server.is_server_type_known and not was_known:
                role = _ROLES.get(server.server_type_name, "unknown")
                guard.publish(
                    events.NodeFound(cluster=guard.cluster, backend=guard.backend, node=_name(address), role=role)
                )
            elif was_known and not server.is_server_type_known:
                reason = None if server.error is None else type(server.error).__name__
                guard.publish(
                    events.NodeLost(cluster=guard.cluster, backend=guard.backend, node=_name(address), reason=reason)
                )

    def _tell_outage(self, is_any_known: bool) -> None:  # noqa: FBT001
        guard = self._guard
        if is_any_known:
            if guard.outage.any_found() and self._without_node_s is not None:
                elapsed_s = time.monotonic() - self._without_node_s
                guard.publish(events.OutageEnded(cluster=guard.cluster, backend=guard.backend, elapsed_s=elapsed_s))
            self._without_node_s = None
        elif guard.outage.all_lost():
            self._without_node_s = time.monotonic()
            guard.publish(events.OutageBegan(cluster=guard.cluster, backend=guard.backend))

    def _tell_primary(self, before: str | None, after: str | None) -> None:
        guard = self._guard
        if after is None:
            guard.outage.primary_lost()
            if before is not None:
                self._last_primary, self._lost_s = before, time.monotonic()
                guard.publish(events.PrimaryLost(cluster=guard.cluster, backend=guard.backend, node=before))
            return
        guard.outage.primary_found()
        if after == before:
            return
        guard.publish(events.PrimaryFound(cluster=guard.cluster, backend=guard.backend, node=after))
        lost = before or self._last_primary
        if lost is not None and lost != after:
            elapsed_s = 0.0 if self._lost_s is None else time.monotonic() - self._lost_s
            guard.publish(
                events.FailoverCompleted(
                    cluster=guard.cluster, backend=guard.backend, from_node=lost, to_node=after, elapsed_s=elapsed_s
                )
            )
        self._lost_s = None
