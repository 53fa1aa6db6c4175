"""``undaunted lab``: real clusters on this machine, and faults for them."""

from __future__ import annotations

import click

from undaunted.cli.lab import cassandra, faults, postgresql, show, up, whole

__all__ = ["lab"]


@click.group(short_help="Start real clusters on this machine, and make their nodes fail.")
def lab() -> None:
    """Start real clusters on this machine, and kill, freeze, stop and demote their nodes."""


lab.add_command(up.up)
for command in (
    *(show.status, show.primary),
    *(faults.kill, faults.freeze, faults.thaw, faults.slow_down, faults.speed_up, faults.stop, faults.start),
    *(faults.step_down, postgresql.promote, postgresql.rewind, postgresql.lag),
    *(cassandra.disable_binary, cassandra.enable_binary),
    *(whole.heal, whole.restart, whole.down),
):
    lab.add_command(command)
