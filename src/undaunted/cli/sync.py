"""`sync`: tables, types, indexes and tables of keys of all models, made in every cluster.

Not a command of the bare ``undaunted``, which imports no models: frameworks put it beside ours, since they do.
"""

from __future__ import annotations

from typing import Any

import click

from undaunted.cli.backends import part
from undaunted.cli.options import as_json, in_file, ours, some_clusters, source_of
from undaunted.cli.terminal import step, tell_json

__all__ = ["sync"]


@ours(example="sync orders")
@some_clusters
@in_file
@as_json
@click.pass_context
def sync(ctx: click.Context, *, clusters: tuple[str, ...], file: str | None, as_json: bool) -> None:
    """Make what the models of the CLUSTERs (default: all) need and is missing.

    Tables and types of Cassandra, collections and indexes of MongoDB, tables of SQLAlchemy with the table of keys.
    Nothing is dropped, and no table of SQL changed that is there. May be run again. Exits with 0 when all is there, 1
    when something could not be made, 3 when the settings are wrong.
    """
    source = source_of(ctx)
    told: list[dict[str, Any]] = []

    def tell(one: Any) -> None:
        told.append({"cluster": one.cluster, "kind": one.kind, "name": one.name, "outcome": one.outcome})
        if not as_json:
            click.echo(f"{one.outcome:9}  {one.kind} {one.name} ({one.cluster})")

    with step("making tables and indexes") as now:
        for cluster in source.chosen(source.open(file), clusters):
            now(f"{cluster.name}: making tables and indexes")
            part(cluster.backend, "schema").sync(clusters=[cluster.name], progress=tell)
    if as_json:
        tell_json({"synced": told})
    elif not told:
        click.echo("No model lives there, so there was nothing to make.")
