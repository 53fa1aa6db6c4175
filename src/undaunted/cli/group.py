"""The group of all commands, which imports a command's module only when that command is named.

`commands` makes it: for the program ``undaunted``, and for a framework that has these commands under its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import click

from undaunted.cli.source import Source
from undaunted.errors import ConfigurationError, UndauntedError

__all__ = ["COMMANDS", "WRONG_SETTINGS", "LazyGroup", "commands", "source_of", "undaunted"]

COMMANDS = ("check", "config", "lab", "provision", "status")

WRONG_SETTINGS = 3
"""Exit code of every command for settings with mistakes."""

_HELP = {"help_option_names": ["-h", "--help"]}


class LazyGroup(click.Group):
    """Finds the command ``x`` as ``undaunted.cli.x:x``, beside those that were added to it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command whose module is there, and those that were added."""
        ours = [name for name in COMMANDS if importlib.util.find_spec(f"undaunted.cli.{name}") is not None]
        return sorted({*ours, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; one that was added goes before ours of the same name."""
        added = super().get_command(ctx, cmd_name)
        if added is not None or cmd_name not in self.list_commands(ctx):
            return added
        command: click.Command = getattr(importlib.import_module(f"undaunted.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours is a sentence for its user and not a traceback."""
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            click.echo(str(error), err=True)
            raise click.exceptions.Exit(WRONG_SETTINGS) from None
        except UndauntedError as error:
            raise click.ClickException(str(error)) from error


def commands(source: Source | None = None, *, name: str = "undaunted") -> click.Group:
    """Make the group of all commands.

    Args:
        source: Where they find the settings; default: the file and the environment alone.
        name: What the group is called among a framework's commands.

    Returns:
        A group of its own; `add_command` puts a framework's own commands beside ours.
    """
    help_text = "Keep model code working while database nodes fail."
    context = {**_HELP, "obj": source or Source()}
    return click.version_option(package_name="undaunted")(LazyGroup(name, context_settings=context, help=help_text))


def source_of(ctx: click.Context) -> Source:
    """Where the command that runs finds the settings."""
    return ctx.find_object(Source) or Source()  # `obj` of a context above may be a framework's own


undaunted = commands()
