"""What the commands have in common: their options, an example in each help, and what completes an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from undaunted.cli.source import Source
from undaunted.errors import UndauntedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["AS_JSON", "Command", "as_json", "in_file", "ours", "some_clusters", "source_of"]

AS_JSON = "undaunted.json"
"""Where a context's `meta` remembers ``--json``, for errors."""

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def source_of(ctx: click.Context) -> Source:
    """Where the command that runs finds the settings."""
    return ctx.find_object(Source) or Source()  # `obj` of a context above may be a framework's own


class Command(click.Command):
    """A command whose help ends with an example.

    Args:
        example: The example, without the program's name: ``"check orders"``.
        rest: What click takes.
    """

    def __init__(self, *, example: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.example = example

    def get_short_help_str(self, limit: int = 100) -> str:
        """The first sentence, for the list of commands, which wraps it rather than cutting it off."""
        return super().get_short_help_str(max(limit, 100))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example as its user would call it."""
        with formatter.section("Example"):
            formatter.write(f"{'':{formatter.current_indent}}{source_of(ctx).program} {self.example}\n")


def ours(name: str | None = None, *, example: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command.

    Args:
        name: What it is called; default: as the function, with hyphens.
        example: See `Command`.
    """
    return click.command(name, cls=Command, example=example)


def _remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> bool:  # noqa: FBT001 - click's way
    del parameter
    ctx.meta[AS_JSON] = value
    return value


as_json = click.option("--json", "as_json", is_flag=True, callback=_remember, is_eager=True, help="Print JSON.")
in_file = click.option("--file", type=click.Path(), help="The settings file; else it is looked for.")


def _clusters(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[str]:
    del parameter
    try:
        names = source_of(ctx).load(ctx.params.get("file")).settings.clusters
    except UndauntedError:  # a shell that completes a word is no place to say so
        return []
    return [name for name in names if name.startswith(incomplete)]


def some_clusters(function: _Function) -> _Function:
    """Take the names of clusters."""
    return click.argument("clusters", nargs=-1, metavar="[CLUSTER]...", shell_complete=_clusters)(function)
