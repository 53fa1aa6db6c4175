"""Faults that every lab knows, and what undoes each."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from undaunted.cli.lab.chosen import a_node, facts, led, tell, which_lab
from undaunted.cli.options import as_json, ours
from undaunted.cli.terminal import step
from undaunted.lab.find import attach
from undaunted.lab.primaries import Primaries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.lab.lab import Lab
    from undaunted.lab.node import LabNode

__all__ = ["fault", "freeze", "kill", "slow_down", "speed_up", "start", "step_down", "stop", "thaw", "undone"]


@ours(example="lab kill primary")
@a_node()
@which_lab
@as_json
def kill(node: str, *, name: str | None, as_json: bool) -> None:
    """Crash a node: SIGKILL."""
    fault(name, node, "killed", lambda found, chosen: found.kill(chosen), as_json=as_json)


@ours(example="lab freeze n2")
@a_node()
@which_lab
@as_json
def freeze(node: str, *, name: str | None, as_json: bool) -> None:
    """Make a node hang: SIGSTOP. Its connections stay open and nothing answers."""
    fault(name, node, "frozen", lambda found, chosen: found.freeze(chosen), as_json=as_json)


@ours("slow-down", example="lab slow-down n2 --pause 20ms")
@a_node()
@click.option("--pause", default="90ms", show_default=True, help="How long it hangs each time.")
@click.option("--every", default="100ms", show_default=True, help="From one pause to the next.")
@which_lab
@as_json
def slow_down(node: str, *, name: str | None, pause: str, every: str, as_json: bool) -> None:
    """Make a node slow: SIGSTOP and SIGCONT by turns."""
    fault(name, node, "slow", lambda found, chosen: found.slow_down(chosen, pause=pause, every=every), as_json=as_json)


@ours(example="lab stop primary")
@a_node()
@which_lab
@as_json
def stop(node: str, *, name: str | None, as_json: bool) -> None:
    """End a node cleanly: SIGTERM."""
    fault(name, node, "stopped", lambda found, chosen: found.stop(chosen), as_json=as_json)


@ours("step-down", example="lab step-down primary")
@a_node()
@which_lab
@as_json
def step_down(node: str, *, name: str | None, as_json: bool) -> None:
    """Make the primary hand over in good order."""
    found = led(name)
    fault(found.name, node, "stepped down", lambda _found, chosen: found.step_down(chosen), as_json=as_json)


@ours(example="lab thaw n2")
@a_node()
@which_lab
@as_json
def thaw(node: str, *, name: str | None, as_json: bool) -> None:
    """Let a frozen node go on: SIGCONT."""
    undone(attach(name).thaw(node), "goes on", as_json=as_json)


@ours("speed-up", example="lab speed-up n2")
@a_node()
@which_lab
@as_json
def speed_up(node: str, *, name: str | None, as_json: bool) -> None:
    """Let a slow node run on."""
    undone(attach(name).speed_up(node), "is up", as_json=as_json)


@ours(example="lab start n2")
@a_node()
@which_lab
@as_json
def start(node: str, *, name: str | None, as_json: bool) -> None:
    """Start a node that is down: same address, same data."""
    found = attach(name)
    with step(f"starting {node}", is_log=True):
        started = found.start(node)
    undone(started, "is up", as_json=as_json)


def undone(nodes: Sequence[LabNode], what: str, *, as_json: bool) -> None:
    """Say of each node what it does again."""
    sentences = "\n".join(f"{node.name} ({node.address}) {what}." for node in nodes)
    tell(sentences, as_json=as_json, nodes=[facts(node) for node in nodes], now=what)


def fault(name: str | None, which: str, done: str, verb: Callable[[Lab, LabNode], object], *, as_json: bool) -> None:
    """Inject a fault, and say who is primary afterwards if it hit the primary and another can be elected."""
    found = attach(name)
    node = found.node(which)
    was_primary = node.role == "primary"
    started_s = time.monotonic()
    with step(f"{node.name}: waiting until it is {done}", is_log=True):
        verb(found, node)
    told: dict[str, Any] = {"node": facts(node), "now": done}
    sentence = f"{node.name} ({node.address}) is {done}."
    if not as_json:
        click.echo(sentence)
    if was_primary and isinstance(found, Primaries):
        sentence, more = _successor(found, node, started_s)
        told |= more
        if not as_json:
            click.echo(sentence)
    if as_json:
        tell("", as_json=True, **told)


def _successor(found: Primaries, node: LabNode, started_s: float) -> tuple[str, dict[str, Any]]:
    why = found.leaderless()
    if why is not None:
        return why, {"primary": None, "why": why}
    with step("waiting for a new primary", is_log=True):
        took_s = found.wait_primary(other_than=node) - started_s
        new = found.primary()
    sentence = f"{new.name} ({new.address}) is primary, {took_s:.1f} s later."
    return sentence, {"primary": facts(new), "after_s": round(took_s, 1)}
