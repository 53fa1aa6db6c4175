"""What the running labs are and do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from undaunted.cli.lab.chosen import facts, led, tell, which_lab
from undaunted.cli.options import as_json, ours
from undaunted.cli.terminal import table, tell_json
from undaunted.lab.find import attach, names

if TYPE_CHECKING:
    from undaunted.lab.lab import Lab

__all__ = ["primary", "status"]


@ours(example="lab status")
@click.option("--name", help="Only this lab.")
@as_json
def status(*, name: str | None, as_json: bool) -> None:
    """Show the running labs and what each node is and does."""
    labs = [attach(name)] if name is not None else [attach(found) for found in sorted(names())]
    report = [_report(found) for found in labs]
    if as_json:
        tell_json(report)
    elif not report:
        click.echo("No lab is running.")
    else:
        columns = ("name", "address", "datacenter", "state", "role", "pid")
        rows = [
            (entry["name"], *(str(node[what] or "") for what in columns)) for entry in report for node in entry["nodes"]
        ]
        table(("lab", "node", *columns[1:]), rows)


def _report(found: Lab) -> dict[str, Any]:
    states, roles = found.states(), found.roles()
    nodes = [
        {
            **facts(node),
            "datacenter": node.datacenter,
            "state": str(states[node.name]),
            "role": roles[node.name],
            "pid": node.pid,
        }
        for node in found.nodes
    ]
    return {"name": found.name, "backend": found.backend, "nodes": nodes}


@ours(example="lab primary")
@which_lab
@as_json
def primary(*, name: str | None, as_json: bool) -> None:
    """Print the name and the address of the primary."""
    node = led(name).primary()
    tell(f"{node.name} {node.address}", as_json=as_json, **facts(node))
