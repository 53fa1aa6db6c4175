"""The reference of all commands, as Markdown, out of the commands themselves: ``python -m undaunted.cli.reference``."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from undaunted.cli.group import commands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.cli.options import Command

__all__ = ["markdown", "walk"]

_UNSAID = {"as_json", "help", "version"}
"""Options that every command has; the page says so once."""


def markdown() -> str:
    """Return the reference of every command."""
    return "\n".join(part for path, command in walk() for part in _section(path, command))


def walk(group: click.Group | None = None, *, path: str = "undaunted") -> Iterator[tuple[str, Command]]:
    """Yield every command below a group, with the words that call it.

    Args:
        group: The group; default: all commands.
        path: The words that call the group.
    """
    group = group or commands()
    context = click.Context(group, info_name=path)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if isinstance(found, click.Group):
            yield from walk(found, path=f"{path} {name}")
        else:
            yield f"{path} {name}", cast("Command", found)


def _section(path: str, command: Command) -> Iterator[str]:
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    options = [each for each in command.params if isinstance(each, click.Option) and each.name not in _UNSAID]
    words = " ".join([path, *(str(each.metavar or f"{each.name}".upper()) for each in arguments)])
    yield f"## `{words}`\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    if options:
        yield "| option | meaning | default |\n|---|---|---|"
        yield from (_row(each) for each in options)
        yield ""
    yield f"```console\n$ undaunted {command.example}\n```\n"


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    said, _, default = (option.help or "").partition("  [default: ")
    shown: Any = option.default if option.show_default else ""
    return f"| {names} | {said.strip()} | {default.rstrip(']') or (f'`{shown}`' if shown != '' else '')} |"


if __name__ == "__main__":
    sys.stdout.write(markdown())
