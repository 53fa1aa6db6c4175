"""`undaunted status`: what every node is and does now, and whether an application can work."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from undaunted.cli.backends import NODES_CAN_BE_ASKED, part
from undaunted.cli.check import problems_of
from undaunted.cli.exits import DEGRADED, DOWN, FINE
from undaunted.cli.options import as_json, in_file, ours, some_clusters, source_of
from undaunted.cli.terminal import headline, step, table, tell_json
from undaunted.core.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.config import Settings
    from undaunted.web.health import Verdict

__all__ = ["status"]

_POLL_S = 0.02
_NO_FAULT: Mapping[str, Any] = {}


@ours(example="status orders --json")
@some_clusters
@click.option("--timeout", default="5s", show_default=True, help="How long the nodes are waited for.")
@in_file
@as_json
@click.pass_context
def status(ctx: click.Context, *, clusters: tuple[str, ...], timeout: str, file: str | None, as_json: bool) -> None:
    """Show every node of the CLUSTERs (default: all), and whether applications can work.

    The nodes are asked in the way of an application: what it could not reach from here is not reached. Exits with 0
    when every node answers, 1 when a node is missing or an optional cluster is down, 2 when a required cluster is down,
    3 when the settings are wrong.
    """
    from undaunted.web.health import overall, verdicts_of  # noqa: PLC0415 - reads the registry
    from undaunted.web.report import report_of  # noqa: PLC0415

    try:
        timeout_s = seconds(timeout)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from error
    source = source_of(ctx)
    loaded = source.open(file)
    names = [cluster.name for cluster in source.chosen(loaded, clusters)]
    with step("asking the nodes"):
        seen = _heard(_seen(names, timeout_s), loaded.settings)
    verdicts = {
        name: _asked(verdict, loaded.settings, name) for name, verdict in verdicts_of(seen, loaded.settings).items()
    }
    state = overall(verdicts)
    report = report_of(seen, verdicts)
    if as_json:
        tell_json(report)
    else:
        for name, told in report["clusters"].items():
            _show(name, told)
    raise click.exceptions.Exit({"ok": FINE, "down": DOWN}.get(state, DEGRADED))


def _seen(names: list[str], timeout_s: float) -> dict[str, Any]:
    """The status of these clusters, once every node of theirs was heard, or is known to be silent."""
    from undaunted.registry import REGISTRY  # noqa: PLC0415

    for name in names:
        REGISTRY.handle(name).begin()
    ends_s = time.monotonic() + timeout_s
    while True:
        told = REGISTRY.status()
        clusters = {name: told["clusters"][name] for name in names}
        if time.monotonic() >= ends_s or not any(_is_open(cluster) for cluster in clusters.values()):
            return {**told, "clusters": clusters}
        time.sleep(_POLL_S)


def _is_open(cluster: Mapping[str, Any]) -> bool:
    """Whether something is still to come: a node's first word, or that its primary is known to be one."""
    nodes: list[Mapping[str, Any]] = cluster["nodes"]
    unheard = any(node["role"] == "unknown" and node["error"] is None for node in nodes)
    is_led = any(node["role"] == "primary" for node in nodes)
    return bool(nodes) and (not cluster["begun"] or unheard or (is_led and cluster["outage"]["without_primary_s"] > 0))


def _heard(seen: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The same, where a backend's driver cannot tell at once that a node is frozen: then the nodes are asked, too."""
    clusters: dict[str, Any] = {}
    for name, told in seen["clusters"].items():
        well = [node["address"] for node in told["nodes"] if node["role"] != "unknown"]
        ask = getattr(part(told["backend"], "check"), "silent", None) if told["backend"] in NODES_CAN_BE_ASKED else None
        silent: dict[str, str] = ask(settings.clusters[name], well) if ask is not None else {}
        nodes = [
            {**node, "role": "unknown", "error": silent[node["address"]]} if node["address"] in silent else node
            for node in told["nodes"]
        ]
        clusters[name] = {**told, "nodes": nodes}
    return {**seen, "clusters": clusters}


def _asked(verdict: Verdict, settings: Settings, name: str) -> Verdict:
    """The verdict on a database that nobody watches, since it stands behind one URL: it is asked once."""
    if verdict.state != "unknown" or verdict.is_pending:
        return verdict
    problems = problems_of(settings.clusters[name])
    if not problems:
        return replace(verdict, state="ok", reason="it answers")
    return replace(verdict, state="down", reason=problems[0].message)


def _show(name: str, told: Mapping[str, Any]) -> None:
    optional = () if told["required"] else ("(optional)",)
    headline(name, told["backend"], told["state"], told["reason"], *optional)
    if told["nodes"]:
        columns = ("node", "role", "datacenter", "latency", "breaker", "last fault")
        rows = [_row(node) for node in told["nodes"]]
        shown = [place for place, column in enumerate(columns) if column == "node" or any(row[place] for row in rows)]
        table([columns[place] for place in shown], [[row[place] for place in shown] for row in rows], indent=2)


def _row(node: Mapping[str, Any]) -> tuple[str, ...]:
    latency_ms = node.get("latency_ms")
    fault: Mapping[str, Any] = node.get("last_fault") or _NO_FAULT
    return (
        node["address"],
        node["role"],
        node.get("datacenter") or "",
        "" if latency_ms is None else f"{latency_ms:.1f} ms",
        node["breaker"],
        str(node.get("error") or fault.get("error") or ""),
    )
