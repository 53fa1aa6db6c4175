"""The verdicts, by table: what a cluster tells of itself, and what that means for who asks whether we are ready."""

from __future__ import annotations

from typing import Any

import pytest

from undaunted.web.health import Verdict, is_ready, overall, verdict_on

UP, LOST, UNSEEN = ("secondary", None), ("unknown", "AutoReconnect"), ("unknown", None)
PRIMARY = ("primary", None)


def told(*nodes: tuple[str, str | None], begun: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "nodes": [
            {"address": f"n{i}:1", "role": role, "error": error, "latency_ms": None}
            for i, (role, error) in enumerate(nodes)
        ],
        "begun": begun,
        "outage": {
            "without_primary_s": changes.pop("without_primary_s", 0.0),
            "without_node_s": changes.pop("without_node_s", 0.0),
        },
        "fail_fast_after_s": 15.0,
        "reads": "primary",
        **changes,
    }


@pytest.mark.parametrize(
    ("cluster", "state", "reason"),
    [
        (told(PRIMARY, UP, UP), "ok", "every node answers"),
        (told(PRIMARY, UP, LOST), "degraded", "1 of 3 nodes missing"),
        (told(PRIMARY, LOST, UNSEEN), "degraded", "2 of 3 nodes missing"),
        (told(PRIMARY, PRIMARY, UP, contested=["n0:1", "n1:1"]), "degraded", "two nodes take writes"),
        (told(UP, UP, LOST, without_primary_s=3.0), "degraded", "no node takes writes; calls wait for one"),
        (told(UP, UP, LOST, without_primary_s=15.1), "down", "no node takes writes"),
        (
            told(UP, UP, LOST, without_primary_s=90.0, reads="fallback"),
            "degraded",
            "no node takes writes; reads go on",
        ),
        (told(LOST, LOST, LOST, without_primary_s=0.1, without_node_s=0.1), "down", "no node answers"),
        (told(UNSEEN, LOST, LOST, without_primary_s=4.0), "unknown", "no node seen yet"),
        (told(UNSEEN, UNSEEN, without_primary_s=5.1, without_node_s=5.1), "down", "no node answers"),
        (told(UNSEEN, UNSEEN, begun=False), "unknown", "not watched yet"),
        (told(), "unknown", "one database behind one URL: its nodes are not watched"),
        (told(without_node_s=1.0), "down", "it does not answer"),
    ],
)
def test_verdicts(cluster: dict[str, Any], state: str, reason: str) -> None:
    found = verdict_on(cluster, is_required=True)
    assert (found.state, found.reason) == (state, reason)


@pytest.mark.parametrize(
    ("cluster", "is_pending"),
    [
        (told(UNSEEN, begun=False), True),
        (told(UNSEEN, LOST, without_primary_s=0.2), True),
        (told(LOST, LOST, without_primary_s=0.2), False),
        (told(PRIMARY, UNSEEN), False),
        (told(), False),  # nobody will ever see its nodes
    ],
)
def test_what_is_worth_waiting_for(cluster: dict[str, Any], is_pending: bool) -> None:
    assert verdict_on(cluster, is_required=True).is_pending is is_pending


def verdict(state: Any, *, required: bool = True) -> Verdict:
    return Verdict(state=state, reason="", is_required=required)


@pytest.mark.parametrize(
    ("verdicts", "ready", "worst"),
    [
        ([], True, "ok"),
        ([verdict("ok"), verdict("degraded")], True, "degraded"),
        ([verdict("ok"), verdict("unknown")], True, "ok"),
        ([verdict("unknown")], True, "unknown"),
        ([verdict("ok"), verdict("down", required=False)], True, "degraded"),
        ([verdict("degraded"), verdict("down")], False, "down"),
    ],
)
def test_ready_until_a_required_cluster_is_down(verdicts: list[Verdict], ready: bool, worst: str) -> None:
    by_name = {str(i): each for i, each in enumerate(verdicts)}
    assert is_ready(by_name) is ready
    assert overall(by_name) == worst
