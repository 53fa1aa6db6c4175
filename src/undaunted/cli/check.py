"""`undaunted check`: the settings, and whether the nodes are what the settings say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from undaunted.cli.backends import NODES_CAN_BE_ASKED, NODES_CAN_ONLY_BE_CHECKED, part
from undaunted.cli.group import source_of
from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from undaunted.config import ClusterSettings

__all__ = ["check"]

DEGRADED, WRONG_SETTINGS = 1, 3


@click.command()
@click.argument("clusters", nargs=-1)
@click.option("--file", type=click.Path(), help="The settings file; else it is looked for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(*, clusters: tuple[str, ...], file: str | None, as_json: bool) -> None:
    r"""Check the settings, and ask every node of CLUSTERS (default: all) whether it is what they say.

    Changes nothing. Exits with 0 when all is well, 1 when a node or a login is not, 3 when the settings are wrong.

    \b
    Example: undaunted check orders
    """
    try:
        chosen = _chosen(clusters, file)
        problems = [problem for cluster in chosen for problem in _problems_of(cluster)]
    except ConfigurationError as error:
        _tell(list(error.problems) or [Problem("", str(error))], as_json=as_json)
        raise SystemExit(WRONG_SETTINGS) from None
    _tell(problems, as_json=as_json)
    if problems:
        raise SystemExit(DEGRADED)
    if not as_json:
        click.echo(f"{len(chosen)} cluster{'s' if len(chosen) > 1 else ''} checked: all is well.")


def _chosen(names: tuple[str, ...], file: str | None) -> list[ClusterSettings]:
    settings = source_of(click.get_current_context()).load(file).settings
    chosen = [settings.cluster(name) for name in names] or list(settings.clusters.values())
    if not chosen:
        raise ConfigurationError("No cluster is configured. Add a table [clusters.NAME] to undaunted.toml.")
    return chosen


def _problems_of(cluster: ClusterSettings) -> list[Problem]:
    if cluster.backend not in {*NODES_CAN_BE_ASKED, *NODES_CAN_ONLY_BE_CHECKED}:
        return []
    found: list[Problem] = part(cluster.backend, "check").check(cluster)
    return found


def _tell(problems: list[Problem], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"problems": [{"path": p.path, "message": p.message} for p in problems]}, indent=2))
        return
    for problem in problems:
        click.echo(str(problem), err=True)
