"""``undaunted lab up``: starts a cluster and keeps it."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from undaunted.cli import toml
from undaunted.cli.options import as_json, ours
from undaunted.cli.terminal import step, tell_json
from undaunted.lab import CassandraLab, MongoLab, PostgresLab

if TYPE_CHECKING:
    from undaunted.lab.lab import Lab
    from undaunted.lab.node import LabNode

__all__ = ["up"]

_POLL_S = 0.2


_called = click.option("--name", help="Name of the lab, to tell several apart.  [default: the backend's name]")
_kept = click.option("--directory", type=click.Path(file_okay=False), help="Keep the data here.  [default: nowhere]")
_detached = click.option("--detach", is_flag=True, help="Come back at once; `undaunted lab down` ends it.")
_ports = click.option(
    "--port", "ports", type=int, multiple=True, help="Port of a node; once for each.  [default: free ones]"
)


@ours(example="lab up mongodb --nodes 3 --port 27017 --port 27018 --port 27019")
@_called
@click.option("--nodes", default=3, show_default=True, help="How many nodes hold data.")
@click.option("--arbiters", default=0, show_default=True, help="How many nodes only vote.")
@click.option("--election-timeout", default="2s", show_default=True, help="How long a silent primary is waited for.")
@click.option("--no-initiate", is_flag=True, help="Leave the nodes empty, for `undaunted provision`.")
@_kept
@_ports
@_detached
@as_json
def mongodb(*, name: str | None, no_initiate: bool, ports: tuple[int, ...], **rest: Any) -> None:
    """A replica set of MongoDB."""
    how = {key: rest.pop(key) for key in ("detach", "as_json")}
    try:
        made = MongoLab(name=name or "mongodb", initiate=not no_initiate, ports=ports or None, **rest)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--election-timeout") from error
    _run(made, **how)


@ours(example="lab up cassandra --nodes 3")
@_called
@click.option("--nodes", default=3, show_default=True, help="How many nodes each datacenter has.")
@click.option("--datacenters", default=1, show_default=True, help="How many datacenters: dc1, dc2, ...")
@click.option(
    "--commitlog-sync",
    type=click.Choice(["batch", "periodic"]),
    default="batch",
    show_default=True,
    help="When a write is on disk: before its answer, or, as Cassandra's own default, within ten seconds.",
)
@click.option("--phi-convict-threshold", default=8.0, show_default=True, help="How sure a node is of another's death.")
@_kept
@_detached
@as_json
def cassandra(*, name: str | None, detach: bool, as_json: bool, **rest: Any) -> None:
    """A cluster of Cassandra. The first one fetches 70 MB."""
    _run(CassandraLab(name=name or "cassandra", **rest), detach=detach, as_json=as_json)


@ours(example="lab up postgresql --auto-failover 2s")
@_called
@click.option("--nodes", default=3, show_default=True, help="How many nodes: a primary, and standbys that follow it.")
@click.option(
    "--synchronous", help="For which standbys a COMMIT waits, as synchronous_standby_names.  [default: FIRST 1 of all]"
)
@click.option("--auto-failover", help="Promote a standby when the primary was gone for so long, such as 2s.")
@click.option("--programs", help="Directory of PostgreSQL's programs, or wheel16 or wheel18.  [default: PATH, wheel16]")
@_kept
@_ports
@_detached
@as_json
def postgresql(*, name: str | None, ports: tuple[int, ...], **rest: Any) -> None:
    """A PostgreSQL primary and its standbys."""
    how = {key: rest.pop(key) for key in ("detach", "as_json")}
    try:
        made = PostgresLab(name=name or "postgresql", ports=ports or None, **rest)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--auto-failover") from error
    _run(made, **how)


@click.group(commands=[mongodb, cassandra, postgresql])
def up() -> None:
    """Start a cluster, print how to reach it, and keep it until Ctrl-C."""


def _run(made: Lab, *, detach: bool, as_json: bool) -> None:
    started_s = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with step(f"starting {made.backend}", is_log=True) as now:
        made.open(progress=now)
    try:
        took_s = time.monotonic() - started_s
        if as_json:
            tell_json(_facts(made, took_s))
        else:
            click.echo(_described(made, took_s))
        say = _quiet if as_json else click.echo
        if detach:
            made.detach()
            say(f"It runs until: undaunted lab down --name {made.name}")
            return
        say("It runs until Ctrl-C, or until this process ends.")
        _keep(made)
    finally:
        made.close()


def _quiet(line: str) -> None:
    del line


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _keep(made: Lab) -> None:
    try:
        while not made.wait_ended(_POLL_S):
            pass
    except KeyboardInterrupt:
        click.echo("\nending the lab", err=True)
    else:
        click.echo("The lab was ended from outside.", err=True)


def _described(made: Lab, took_s: float) -> str:
    nodes = [f"  {node.name}  {node.address}{_remark(node)}" for node in made.nodes]
    head = f"The lab {made.name} is up after {took_s:.1f} s:"
    return "\n".join([head, *nodes, "", made.reach, "", "# undaunted.toml", *_toml(made.settings), ""])


def _remark(node: LabNode) -> str:
    if node.datacenter is not None:
        return f"  ({node.datacenter})"
    return "  (arbiter)" if node.is_arbiter else ""


def _toml(settings: dict[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, cluster in settings["clusters"].items():
        lines += [f"[clusters.{toml.key(name)}]", *(f"{key} = {toml.value(value)}" for key, value in cluster.items())]
    return lines


def _facts(made: Lab, took_s: float) -> dict[str, Any]:
    nodes = [
        {"name": node.name, "address": node.address, "datacenter": node.datacenter, "is_arbiter": node.is_arbiter}
        for node in made.nodes
    ]
    head = {"name": made.name, "backend": made.backend, "took_s": round(took_s, 1)}
    return {**head, "nodes": nodes, "reach": made.reach, "settings": made.settings}
