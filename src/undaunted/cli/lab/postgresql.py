"""What only a lab of PostgreSQL can do: promote, rewind, fall behind."""

from __future__ import annotations

import click

from undaunted.cli.lab.chosen import a_node, facts, followed, tell, which_lab
from undaunted.cli.options import as_json, ours
from undaunted.cli.terminal import step

__all__ = ["lag", "promote", "rewind"]


@ours(example="lab promote n2")
@a_node("[NODE]", required=False)
@which_lab
@as_json
def promote(node: str | None, *, name: str | None, as_json: bool) -> None:
    """Make a standby of PostgreSQL the primary: NODE, or the one that has most. The old one is left alone."""
    found = followed(name)
    with step(f"promoting {node or 'a standby'}", is_log=True):
        done = found.promote(node)
    tell(f"{done.name} ({done.address}) is primary.", as_json=as_json, node=facts(done), now="primary")


@ours(example="lab rewind n1")
@a_node("NODE")
@which_lab
@as_json
def rewind(node: str, *, name: str | None, as_json: bool) -> None:
    """Make a node of PostgreSQL, such as an old primary, a standby of the primary."""
    found = followed(name)
    with step(f"{node}: waiting until it follows the primary", is_log=True):
        done = found.rewind(node)
    tell(f"{done.name} ({done.address}) follows the primary.", as_json=as_json, node=facts(done), now="replica")


@ours(example="lab lag n3 on")
@a_node("NODE")
@click.argument("switch", type=click.Choice(["on", "off"]))
@which_lab
@as_json
def lag(node: str, switch: str, *, name: str | None, as_json: bool) -> None:
    """Make a standby of PostgreSQL fall behind (on), or let it catch up (off)."""
    found = followed(name)
    if switch == "on":
        done, now = found.lag(node), "falls behind"
    else:
        (done,), now = found.catch_up(node), "catches up"
    tell(f"{done.name} ({done.address}) {now}.", as_json=as_json, node=facts(done), now=now)
