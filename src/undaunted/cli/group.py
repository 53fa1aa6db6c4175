"""The group of all commands, which imports a command's module only when that command is named."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import click

from undaunted.errors import UndauntedError

__all__ = ["COMMANDS", "undaunted"]

COMMANDS = ("check", "config", "lab", "provision", "status")


class LazyGroup(click.Group):
    """Finds the command ``x`` as ``undaunted.cli.x:x``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command whose module is there."""
        del ctx
        return [name for name in COMMANDS if importlib.util.find_spec(f"undaunted.cli.{name}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = getattr(importlib.import_module(f"undaunted.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours is a sentence for its user and not a traceback."""
        try:
            return super().invoke(ctx)
        except UndauntedError as error:
            raise click.ClickException(str(error)) from error


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="undaunted")
def undaunted() -> None:
    """Keep model code working while database nodes fail."""
