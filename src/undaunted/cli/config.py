"""`undaunted config`: shows the settings and where each came from, and checks them without asking a server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import click

from undaunted.cli.group import source_of
from undaunted.config.show import rows
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from undaunted.config.loading import Loaded

__all__ = ["config"]

WRONG_SETTINGS = 3
"""Exit code for settings with mistakes; 0 is fine, 2 a wrong command line."""

_file = click.option("--file", type=click.Path(), help="The settings file; else it is looked for.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def config() -> None:
    """Show and check the settings; asks no server."""


@config.command()
@_file
@_as_json
@click.option("--origin", is_flag=True, help="Say also which source set each value.")
def show(*, file: str | None, as_json: bool, origin: bool) -> None:
    """Print every setting that holds. Secrets are shown as ***."""
    loaded = _loaded(file, as_json=as_json)
    found = rows(loaded)
    if as_json:
        settings = [{"path": r.path, "value": r.value} | ({"origin": r.origin} if origin else {}) for r in found]
        click.echo(json.dumps({"file": loaded.file, "settings": settings}, indent=2))
        return
    table = [("setting", "value", "source"), *((r.path, _text(r.value), r.origin) for r in found)]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for path, value, source in table:
        line = f"{path:<{widths[0]}}  {value:<{widths[1]}}  {source}" if origin else f"{path:<{widths[0]}}  {value}"
        click.echo(line.rstrip())


@config.command()
@_file
@_as_json
def check(*, file: str | None, as_json: bool) -> None:
    """Find every mistake that can be found without asking a server. Exits with 3 when there is one."""
    loaded = _loaded(file, as_json=as_json)
    names = list(loaded.settings.clusters)
    if not names:
        where = loaded.file or "no undaunted.toml, and no pyproject.toml with [tool.undaunted], from here upwards"
        _wrong(f"No cluster is configured ({where}). Add a table [clusters.NAME].", [], as_json=as_json)
    if as_json:
        click.echo(json.dumps({"file": loaded.file, "clusters": names, "problems": []}, indent=2))
        return
    clusters = "1 cluster" if len(names) == 1 else f"{len(names)} clusters"
    click.echo(f"No mistake found: {clusters} ({', '.join(names)}), from {loaded.file or 'the environment'}.")


def _loaded(file: str | None, *, as_json: bool) -> Loaded:
    try:
        return source_of(click.get_current_context()).load(file)
    except ConfigurationError as error:
        problems = [{"path": problem.path, "message": problem.message} for problem in error.problems]
        _wrong(str(error), problems, as_json=as_json)


def _wrong(message: str, problems: list[dict[str, str]], *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"problems": problems or [{"path": "clusters", "message": message}]}, indent=2))
    else:
        click.echo(message, err=True)
    raise click.exceptions.Exit(WRONG_SETTINGS)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
