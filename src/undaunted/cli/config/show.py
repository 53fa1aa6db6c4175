"""`undaunted config show` and `check`: the settings that hold, and every mistake that asking no server finds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import click

from undaunted.cli.exits import WRONG_SETTINGS
from undaunted.cli.options import as_json, in_file, ours, source_of
from undaunted.cli.terminal import table, tell_json
from undaunted.config.show import rows
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from undaunted.cli.source import Source
    from undaunted.config.loading import Loaded

__all__ = ["check", "show"]


@ours(example="config show --origin")
@click.option("--origin", is_flag=True, help="Say also which source set each value.")
@in_file
@as_json
@click.pass_context
def show(ctx: click.Context, *, file: str | None, as_json: bool, origin: bool) -> None:
    """Print every setting that holds. Secrets are shown as ***."""
    loaded = _loaded(source_of(ctx), file, as_json=as_json)
    found = rows(loaded)
    if as_json:
        settings = [{"path": r.path, "value": r.value} | ({"origin": r.origin} if origin else {}) for r in found]
        tell_json({"file": loaded.file, "settings": settings})
        return
    columns = ("setting", "value", "source") if origin else ("setting", "value")
    table(columns, [(r.path, _text(r.value), r.origin)[: len(columns)] for r in found])


@ours(example="config check --file undaunted.toml")
@in_file
@as_json
@click.pass_context
def check(ctx: click.Context, *, file: str | None, as_json: bool) -> None:
    """Find every mistake that can be found without asking a server. Exits with 3 when there is one."""
    source = source_of(ctx)
    loaded = _loaded(source, file, as_json=as_json)
    names = list(loaded.settings.clusters)
    if not names:
        _wrong(source.nothing_configured(loaded), [], as_json=as_json)
    if as_json:
        tell_json({"file": loaded.file, "clusters": names, "problems": []})
        return
    clusters = "1 cluster" if len(names) == 1 else f"{len(names)} clusters"
    click.echo(f"No mistake found: {clusters} ({', '.join(names)}), from {loaded.file or source.elsewhere}.")


def _loaded(source: Source, file: str | None, *, as_json: bool) -> Loaded:
    try:
        return source.load(file)
    except ConfigurationError as error:
        problems = [{"path": problem.path, "message": problem.message} for problem in error.problems]
        _wrong(str(error), problems, as_json=as_json)


def _wrong(message: str, problems: list[dict[str, str]], *, as_json: bool) -> NoReturn:
    if as_json:
        tell_json({"problems": problems or [{"path": "clusters", "message": message}]})
    else:
        click.echo(message, err=True)
    raise click.exceptions.Exit(WRONG_SETTINGS)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
