"""`undaunted completion`: what a shell needs to complete commands, options, and names of clusters, labs and nodes."""

from __future__ import annotations

from typing import cast

import click
from click.shell_completion import get_completion_class

from undaunted.cli.options import as_json, ours
from undaunted.cli.terminal import tell_json

__all__ = ["completion"]

_PROGRAM = "undaunted"
_VARIABLE = "_UNDAUNTED_COMPLETE"
_WHERE = {
    "bash": 'eval "$(undaunted completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(undaunted completion zsh)"   # in ~/.zshrc, after compinit',
    "fish": "undaunted completion fish > ~/.config/fish/completions/undaunted.fish",
}


@ours(example='completion bash   # as in: eval "$(undaunted completion bash)"')
@click.argument("shell", type=click.Choice(list(_WHERE)))
@as_json
@click.pass_context
def completion(ctx: click.Context, *, shell: str, as_json: bool) -> None:
    """Print the script by which SHELL completes commands, options, and names of clusters, labs and nodes."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  # click knows all three
    group = cast("click.Group", ctx.find_root().command)
    script = kind(group, {}, _PROGRAM, _VARIABLE).source()
    if as_json:
        tell_json({"shell": shell, "script": script, "install": _WHERE[shell]})
    else:
        click.echo(script)
