"""`undaunted check`: the settings, and whether the nodes are what the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from undaunted.cli.backends import NODES_CAN_BE_ASKED, NODES_CAN_ONLY_BE_CHECKED, part
from undaunted.cli.exits import DEGRADED, DOWN, WRONG_SETTINGS
from undaunted.cli.options import as_json, in_file, ours, some_clusters, source_of
from undaunted.cli.terminal import step, tell_json, tell_problem
from undaunted.errors import ConfigurationError, Outage, Problem

if TYPE_CHECKING:
    from undaunted.config import ClusterSettings

__all__ = ["check", "problems_of"]


@ours(example="check orders")
@some_clusters
@in_file
@as_json
@click.pass_context
def check(ctx: click.Context, *, clusters: tuple[str, ...], file: str | None, as_json: bool) -> None:
    """Check the settings, and ask every node of the CLUSTERs (default: all) whether it is what they say.

    Changes nothing. Exits with 0 when all is well, 1 when a node or a login is not, 2 when no node of a required
    cluster answers, 3 when the settings are wrong.
    """
    source = source_of(ctx)
    try:
        chosen = source.chosen(source.load(file), clusters)
        found = [(cluster, problems_of(cluster)) for cluster in chosen]
    except ConfigurationError as error:
        _tell(list(error.problems) or [Problem("", str(error))], [], as_json=as_json)
        raise click.exceptions.Exit(WRONG_SETTINGS) from None
    problems = [problem for _, each in found for problem in each]
    required = [problem for cluster, each in found if cluster.required for problem in each]
    _tell(problems, chosen, as_json=as_json)
    if problems:
        raise click.exceptions.Exit(DOWN if any(isinstance(problem, Outage) for problem in required) else DEGRADED)
    if not as_json:
        click.echo(f"{len(chosen)} cluster{'s' if len(chosen) > 1 else ''} checked: all is well.")


def problems_of(cluster: ClusterSettings) -> list[Problem]:
    """Ask every node of a cluster; what is not as the settings say."""
    if cluster.backend not in {*NODES_CAN_BE_ASKED, *NODES_CAN_ONLY_BE_CHECKED}:
        return []
    with step(f"asking the nodes of {cluster.name}"):
        found: list[Problem] = part(cluster.backend, "check").check(cluster)
    return found


def _tell(problems: list[Problem], checked: list[ClusterSettings], *, as_json: bool) -> None:
    if as_json:
        told = [{"path": problem.path, "message": problem.message} for problem in problems]
        tell_json({"clusters": [cluster.name for cluster in checked], "problems": told})
        return
    for problem in problems:
        tell_problem(problem)
