"""What ``status.json`` says and the page shows: the status with a verdict on each cluster, as plain data."""

from __future__ import annotations

import math
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from undaunted.web.health import is_ready, overall

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from undaunted.web.health import Verdict

__all__ = ["report_of"]

_NODE = ("address", "role", "datacenter", "latency_ms", "error")
_CLUSTER = ("backend", "primary", "replica_set", "datacenter", "keyspace", "budget", "outage", "waiting")
_FAULTS = ("RetryScheduled", "CallFailed", "OutcomeLeftUnknown", "NodeLost")


def report_of(status: Mapping[str, Any], verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Say all that may be shown, key by key: what a backend adds to its status does not get out by itself."""
    events: list[Mapping[str, Any]] = status["events"]
    return {
        "at": time.time(),
        "host": socket.gethostname(),  # containers number their processes alike
        "process": os.getpid(),
        "state": overall(verdicts),
        "ready": is_ready(verdicts),
        "clusters": {
            name: _cluster(told, verdicts[name], [event for event in events if event["cluster"] == name])
            for name, told in status["clusters"].items()
        },
        "events": [_finite(event) for event in events],
    }


def _cluster(told: Mapping[str, Any], verdict: Verdict, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    is_any_known = any(node["role"] != "unknown" for node in told["nodes"])
    faults: dict[str, dict[str, Any]] = {}
    for event in events:  # the oldest first, so that the last one stays
        if event.get("node") and event["event"] in _FAULTS:
            what = event.get("error") or event.get("reason") or event["event"]
            faults[event["node"]] = {"at": event["at"], "fault": event.get("fault") or "LOST", "error": what}
    return {
        "state": verdict.state,
        "reason": verdict.reason,
        "required": verdict.is_required,
        **{key: told[key] for key in _CLUSTER if key in told},
        "nodes": [
            {
                **{key: node[key] for key in _NODE if key in node},
                "breaker": _breaker(node, is_any_known=is_any_known),
                "last_fault": faults.get(node["address"]),
            }
            for node in told["nodes"]
        ],
    }


def _breaker(node: Mapping[str, Any], *, is_any_known: bool) -> str:
    """Whether calls go to a node, by what its monitor or driver makes of it; one not looked at yet is asked."""
    is_lost = node["role"] == "unknown" and (node["error"] is not None or is_any_known)
    return "open" if is_lost else "closed"


def _finite(event: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no infinity, and browsers refuse it."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in event.items()
    }
