"""`sync`: tables, types, indexes and tables of keys of all models, made in every cluster.

Not a command of the bare ``undaunted``, which imports no models: frameworks put it beside ours, since they do.
"""

from __future__ import annotations

import json
from typing import Any

import click

from undaunted.cli.backends import part
from undaunted.cli.group import source_of
from undaunted.errors import ConfigurationError

__all__ = ["sync"]


@click.command()
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def sync(ctx: click.Context, *, clusters: tuple[str, ...], as_json: bool) -> None:
    r"""Make what the models need and is missing, of the CLUSTERs named, else of all.

    Tables and types of Cassandra, collections and indexes of MongoDB, tables of SQLAlchemy with the table of keys.
    Nothing is dropped, and no table of SQL changed that is there. May be run again. Exits with 0 when all is there, 1
    when something could not be made, 3 when the settings are wrong.

    \b
    Example: sync orders
    """
    settings = source_of(ctx).open().settings
    names = clusters or tuple(settings.clusters)
    if not names:
        raise ConfigurationError("No cluster is declared, so there is nothing to make.")
    told: list[dict[str, Any]] = []

    def tell(one: Any) -> None:
        told.append({"cluster": one.cluster, "kind": one.kind, "name": one.name, "outcome": one.outcome})
        if not as_json:
            click.echo(f"{one.outcome:9}  {one.kind} {one.name} ({one.cluster})")

    for name in names:
        backend = settings.cluster(name).backend
        part(backend, "schema").sync(clusters=[name], progress=tell)
    if as_json:
        click.echo(json.dumps({"synced": told}, indent=2))
    elif not told:
        click.echo("No model lives there, so there was nothing to make.")
