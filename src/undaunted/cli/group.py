"""The group of all commands, which imports a command's module only when that command is named.

`commands` makes it: for the program ``undaunted``, and for a framework that has these commands under its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any, NoReturn

import click

from undaunted.cli.exits import DEGRADED, WRONG_SETTINGS
from undaunted.cli.options import AS_JSON, source_of
from undaunted.cli.source import Source
from undaunted.cli.terminal import tell_json
from undaunted.errors import ConfigurationError, UndauntedError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "LazyGroup", "commands", "source_of", "undaunted"]

COMMANDS = ("check", "config", "lab", "provision", "status")
"""Those that a framework has, too."""

_HELP = {"help_option_names": ["-h", "--help"]}


class LazyGroup(click.Group):
    """Finds the command ``x`` as ``undaunted.cli.x:x``, beside those that were added to it.

    Args:
        names: The commands that it finds.
        rest: What click takes.
    """

    def __init__(self, *args: Any, names: Sequence[str] = (), **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.names = tuple(names)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, those that were added included."""
        return sorted({*self.names, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; one that was added goes before ours of the same name."""
        added = super().get_command(ctx, cmd_name)
        if added is not None or cmd_name not in self.list_commands(ctx):
            return added
        if importlib.util.find_spec("rich") is None:  # as in an application of Flask, which has click of its own
            raise click.ClickException("The command line needs rich: pip install 'undaunted[cli]'.")
        command: click.Command = getattr(importlib.import_module(f"undaunted.cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error of ours is a sentence for its user and not a traceback."""
        try:
            return super().invoke(ctx)
        except UndauntedError as error:
            _refuse(ctx, error)


def _refuse(ctx: click.Context, error: UndauntedError) -> NoReturn:
    code = WRONG_SETTINGS if isinstance(error, ConfigurationError) else DEGRADED
    if ctx.meta.get(AS_JSON):
        problems = error.problems if isinstance(error, ConfigurationError) else ()
        told = [{"path": problem.path, "message": problem.message} for problem in problems]
        tell_json({"error": str(error), **({"problems": told} if told else {})})
    else:
        click.echo(str(error) if code == WRONG_SETTINGS else f"Error: {error}", err=True)
    raise click.exceptions.Exit(code) from error


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
    names = [*COMMANDS, *(["completion"] if source is None else [])]  # a shell completes programs, not their commands
    made = LazyGroup(name, names=names, context_settings=context, help=help_text)
    return click.version_option(package_name="undaunted")(made)


undaunted = commands()
