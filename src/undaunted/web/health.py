"""What the state of the clusters means: a verdict on each, and whether the application is ready. Pure, but for `watch`.

A verdict is about a cluster as this process sees it:

- ``ok``: every node answers, and one takes writes;
- ``degraded``: it can be used, though a node is missing; or nobody takes writes, and calls still wait for who will;
- ``down``: no node answers; or nobody has taken writes for longer than calls wait (`fail_fast_after`), while they go to
  the primary alone;
- ``unknown``: no node has been seen yet; or nobody can see any, as with one database behind one URL.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from undaunted.config import Settings

__all__ = ["State", "Verdict", "is_ready", "overall", "verdict_on", "verdicts_of", "watch"]

State = Literal["ok", "degraded", "down", "unknown"]

_FIRST_SIGHT_S = 5.0
"""After which a cluster of which no node was ever heard is down: as long as connecting to it may take."""
_LOOK_S = 0.01
_WORST_FIRST: tuple[State, ...] = ("down", "degraded", "ok", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a cluster's state means.

    Attributes:
        state: See above.
        reason: Why, in a few words for people.
        is_required: Whether the application is not ready without it.
        is_pending: Whether nothing has been seen yet and something soon will be.
    """

    state: State
    reason: str
    is_required: bool
    is_pending: bool = False


def verdict_on(told: Mapping[str, Any], *, is_required: bool) -> Verdict:
    """Judge one cluster by what `undaunted.status` tells of it."""
    state, reason, is_pending = _judged(told)
    return Verdict(state=state, reason=reason, is_required=is_required, is_pending=is_pending)


def _judged(told: Mapping[str, Any]) -> tuple[State, str, bool]:
    nodes: Sequence[Mapping[str, Any]] = told["nodes"]
    outage: Mapping[str, float] = told["outage"]
    if not nodes:
        return _unwatched(outage)
    if not told["begun"]:
        return "unknown", "not watched yet", True
    missing = [node["address"] for node in nodes if node["role"] == "unknown"]
    if len(missing) == len(nodes):
        return _without_node(nodes, outage)
    return _with_nodes(told, missing=len(missing))


def _unwatched(outage: Mapping[str, float]) -> tuple[State, str, bool]:
    if outage["without_node_s"] > 0:
        return "down", "it does not answer", False
    return "unknown", "one database behind one URL: its nodes are not watched", False


def _without_node(nodes: Sequence[Mapping[str, Any]], outage: Mapping[str, float]) -> tuple[State, str, bool]:
    age_s = max(outage["without_primary_s"], outage["without_node_s"])
    if any(node["error"] is None for node in nodes) and age_s < _FIRST_SIGHT_S:
        return "unknown", "no node seen yet", True
    return "down", "no node answers", False


def _with_nodes(told: Mapping[str, Any], *, missing: int) -> tuple[State, str, bool]:
    age_s: float = told["outage"]["without_primary_s"]
    state: State = "degraded"
    if age_s > told["fail_fast_after_s"]:
        state, reason = (
            ("down", "no node takes writes")
            if told["reads"] == "primary"
            else (state, "no node takes writes; reads go on")
        )
    elif age_s > 0:
        reason = "no node takes writes; calls wait for one"
    elif told.get("contested"):
        reason = "two nodes take writes"
    elif missing:
        reason = f"{missing} of {len(told['nodes'])} nodes missing"
    else:
        state, reason = "ok", "every node answers"
    return state, reason, False


def verdicts_of(status: Mapping[str, Any], settings: Settings) -> dict[str, Verdict]:
    """Judge every cluster that `undaunted.status` tells of."""
    required = {name: cluster.required for name, cluster in settings.clusters.items()}
    return {
        name: verdict_on(cast("Mapping[str, Any]", told), is_required=required.get(name, True))
        for name, told in status["clusters"].items()
    }


def is_ready(verdicts: Mapping[str, Verdict]) -> bool:
    """Whether no cluster that the application requires is down."""
    return not any(verdict.is_required and verdict.state == "down" for verdict in verdicts.values())


def overall(verdicts: Mapping[str, Verdict]) -> State:
    """The worst of all; an optional cluster that is down only degrades. ``unknown`` where nothing is known."""
    states = {_weighed(verdict) for verdict in verdicts.values()}
    for state in _WORST_FIRST:
        if state in states:
            return state
    return "ok"


def _weighed(verdict: Verdict) -> State:
    return "degraded" if verdict.state == "down" and not verdict.is_required else verdict.state


def watch(*, at_most_s: float) -> dict[str, Any]:
    """Have every cluster watched, wait a moment for the first sight of those that were not, and return the status.

    Raises:
        ConfigurationError: The settings, which are read where nobody has, are wrong.
    """
    REGISTRY.begin()
    ends_s = time.monotonic() + at_most_s
    while True:
        status = REGISTRY.status()
        verdicts = verdicts_of(status, REGISTRY.loaded.settings)
        if time.monotonic() >= ends_s or not any(verdict.is_pending for verdict in verdicts.values()):
            return status
        time.sleep(_LOOK_S)
