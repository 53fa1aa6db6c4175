"""What is done to a whole lab."""

from __future__ import annotations

import click

from undaunted.cli.lab.chosen import tell, which_lab
from undaunted.cli.options import as_json, ours
from undaunted.cli.terminal import step
from undaunted.lab import LabError
from undaunted.lab.find import attach, names

__all__ = ["down", "heal", "restart"]


@ours(example="lab heal")
@which_lab
@as_json
def heal(*, name: str | None, as_json: bool) -> None:
    """Undo every fault, and wait until every node is well."""
    found = attach(name)
    with step("healing", is_log=True):
        found.heal()
    tell(f"Every node of {found.name} is well.", as_json=as_json, name=found.name, now="well")


@ours(example="lab restart")
@which_lab
@as_json
def restart(*, name: str | None, as_json: bool) -> None:
    """Restart every node cleanly, one after the other, a primary last."""
    found = attach(name)
    with step("restarting one node after the other", is_log=True):
        found.rolling_restart()
    tell(f"Every node of {found.name} was restarted and is well.", as_json=as_json, name=found.name, now="well")


@ours(example="lab down --all")
@which_lab
@click.option("--all", "is_all", is_flag=True, help="Every lab that runs.")
@as_json
def down(*, name: str | None, is_all: bool, as_json: bool) -> None:
    """End a lab and remove its data."""
    if is_all and name is not None:
        raise LabError("--all and --name say different things; give one of them.")
    ended = [attach(each) for each in sorted(names())] if is_all else [attach(name)]
    for found in ended:
        with step(f"ending {found.name}", is_log=True):
            found.end()
        if not as_json:
            click.echo(f"The lab {found.name} has ended.")
    if as_json:
        tell("", as_json=True, ended=[found.name for found in ended])
