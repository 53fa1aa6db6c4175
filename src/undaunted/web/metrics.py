"""The state of the clusters in the text format of Prometheus, where its client library is installed.

Counters of events are not here: this process keeps the last hundred and counts none. These are gauges of the moment,
made when they are asked for, so nothing is registered with the library's default registry, and nothing is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from undaunted.web.health import Verdict

__all__ = ["text_of"]

_STATES = ("ok", "degraded", "down", "unknown")


def text_of(status: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> tuple[bytes, str]:
    """Write the gauges; returns them and their content type.

    Raises:
        ImportError: ``prometheus-client`` is not installed.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()

    def gauge(name: str, doc: str, *labels: str) -> Gauge:
        return Gauge(f"undaunted_{name}", doc, ["cluster", *labels], registry=registry)

    _fill(gauge, status, verdicts)
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _fill(gauge: Callable[..., Any], status: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> None:
    state = gauge("cluster_state", "1 for the state in which a cluster is.", "state")
    required = gauge("cluster_required", "Whether the application is not ready without a cluster.")
    waiting = gauge("calls_waiting", "Calls that have met a failure and have not ended.")
    longest = gauge("calls_waiting_longest_seconds", "Age of the oldest of them.")
    tokens = gauge("budget_tokens", "Tokens left to pay retries with.")
    primary = gauge("without_primary_seconds", "For how long no node has taken writes.")
    node = gauge("without_node_seconds", "For how long no node has answered.")
    up = gauge("node_up", "Whether a node answers.", "node", "role")
    latency = gauge(
        "node_latency_seconds", "Time of a node's last answer: to its monitor, on Cassandra to a statement.", "node"
    )
    for name, told in status["clusters"].items():
        for each in _STATES:
            state.labels(name, each).set(verdicts[name].state == each)
        required.labels(name).set(verdicts[name].is_required)
        waiting.labels(name).set(told["waiting"]["calls"])
        longest.labels(name).set(told["waiting"]["longest_s"])
        tokens.labels(name).set(told["budget"]["tokens"])
        primary.labels(name).set(told["outage"]["without_primary_s"])
        node.labels(name).set(told["outage"]["without_node_s"])
        for one in told["nodes"]:
            up.labels(name, one["address"], one["role"]).set(one["role"] != "unknown")
            if one["latency_ms"] is not None:
                latency.labels(name, one["address"]).set(one["latency_ms"] / 1000)
