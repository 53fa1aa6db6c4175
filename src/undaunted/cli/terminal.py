"""How the commands look: tables and colours in a terminal, plain lines elsewhere, JSON for programs.

Colours are rich's, which leaves them out where NO_COLOR is set or nobody can see them; rich is imported when something
is drawn and not before.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from rich.console import Console

    from undaunted.errors import Problem

__all__ = ["STYLES", "console", "headline", "step", "table", "tell_json", "tell_problem"]

STYLES = {
    **dict.fromkeys(("ok", "up", "closed"), "green"),
    "primary": "bold",
    **dict.fromkeys(("degraded", "slow", "half-open", "unknown"), "yellow"),
    **dict.fromkeys(("down", "killed", "frozen", "stopped", "open"), "red"),
}
"""The colour of a word that says how something is; the word itself says the same without it."""


def console(*, err: bool = False) -> Console:
    """Where to draw: the present standard output, or standard error."""
    from rich.console import Console  # noqa: PLC0415 - 60 ms that most commands need not cost

    return Console(stderr=err, highlight=False, emoji=False)


def tell_json(told: Any) -> None:
    """Print what programs read."""
    click.echo(json.dumps(told, indent=2))


def headline(*words: str) -> None:
    """Print a line that begins a part: the first word stands out, a word of a state has its colour."""
    from rich.text import Text  # noqa: PLC0415

    first, *rest = words
    line = Text.assemble((first, "bold"))
    for word in rest:
        line.append("  ").append(word, style=STYLES.get(word, ""))
    console().print(line, soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, indent: int = 0) -> None:
    """Print rows below their columns: fitted to a terminal, and elsewhere each on one line, however long."""
    found = [list(row) for row in rows]
    target = console()
    if not target.is_terminal:
        for line in _plain([list(columns), *found]):
            click.echo(" " * indent + line)
        return
    from rich.padding import Padding  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in found:
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    target.print(Padding(made, (0, 0, 0, indent)))


def _plain(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def tell_problem(problem: Problem) -> None:
    """Print a mistake on standard error: the setting that it concerns, and what to do."""
    from rich.text import Text  # noqa: PLC0415

    line = Text.assemble((f"{problem.path}: " if problem.path else "", "bold"), problem.message)
    console(err=True).print(line, soft_wrap=True)


@contextmanager
def step(text: str, *, is_log: bool = False) -> Generator[Callable[[str], None]]:
    """Show what takes time, on standard error: a line that moves in a terminal, and is gone when it is done.

    Args:
        text: What is being done.
        is_log: Whether to print a line for each step where there is no terminal; else nothing is printed there.

    Yields:
        A function that says what is being done now.
    """
    target = console(err=True)
    if target.is_terminal:
        from rich.live import Live  # noqa: PLC0415
        from rich.spinner import Spinner  # noqa: PLC0415

        spinner = Spinner("dots", text=text)
        # What is printed meanwhile stands above the line, unless it goes elsewhere than to this terminal.
        with Live(spinner, console=target, transient=True, redirect_stdout=sys.stdout.isatty()):
            yield lambda more: spinner.update(text=more)
    elif is_log:
        click.echo(f"{text} ...", err=True)
        yield lambda more: click.echo(f"{more} ...", err=True)
    else:
        yield _quiet


def _quiet(more: str) -> None:
    del more
