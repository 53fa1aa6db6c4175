"""``undaunted lab``: real clusters on this machine, and faults for them."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console
from rich.table import Table

from undaunted.lab import CassandraLab, LabError, MongoLab, PostgresLab
from undaunted.lab.find import attach, names
from undaunted.lab.primaries import Primaries

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from undaunted.lab.lab import Lab
    from undaunted.lab.node import LabNode

__all__ = ["lab"]

_progress = Console(stderr=True)
_POLL_S = 0.2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """Start real clusters on this machine, and kill, freeze, stop and demote their nodes."""


@contextmanager
def _step(text: str) -> Generator[Callable[[str], None]]:
    """Show what takes time: a line that moves in a terminal, plain lines elsewhere."""
    if not _progress.is_terminal:
        click.echo(f"{text} ...", err=True)
        yield lambda more: click.echo(f"{more} ...", err=True)
        return
    with _progress.status(text) as status:
        yield status.update


@lab.group()
def up() -> None:
    """Start a cluster, print how to reach it, and keep it until Ctrl-C."""


_called = click.option("--name", help="Name of the lab, to tell several apart.  [default: the backend's name]")
_kept = click.option("--directory", type=click.Path(file_okay=False), help="Keep the data here.  [default: nowhere]")
_detached = click.option("--detach", is_flag=True, help="Come back at once; `undaunted lab down` ends it.")


@up.command()
@_called
@click.option("--nodes", default=3, show_default=True, help="How many nodes hold data.")
@click.option("--arbiters", default=0, show_default=True, help="How many nodes only vote.")
@click.option("--election-timeout", default="2s", show_default=True, help="How long a silent primary is waited for.")
@click.option("--no-initiate", is_flag=True, help="Leave the nodes empty, for `undaunted provision`.")
@_kept
@click.option("--port", "ports", type=int, multiple=True, help="Port of a node; once for each.  [default: free ones]")
@_detached
def mongodb(*, name: str | None, detach: bool, no_initiate: bool, ports: tuple[int, ...], **rest: Any) -> None:
    """A replica set of MongoDB."""
    try:
        made = MongoLab(name=name or "mongodb", initiate=not no_initiate, ports=ports or None, **rest)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--election-timeout") from error
    _run(made, detach=detach)


@up.command()
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
def cassandra(*, name: str | None, detach: bool, **rest: Any) -> None:
    """A cluster of Cassandra. The first one fetches 70 MB."""
    _run(CassandraLab(name=name or "cassandra", **rest), detach=detach)


@up.command()
@_called
@click.option("--nodes", default=3, show_default=True, help="How many nodes: a primary, and standbys that follow it.")
@click.option(
    "--synchronous", help="For which standbys a COMMIT waits, as synchronous_standby_names.  [default: FIRST 1 of all]"
)
@click.option("--auto-failover", help="Promote a standby when the primary was gone for so long, such as 2s.")
@click.option("--programs", help="Directory of PostgreSQL's programs, or wheel16 or wheel18.  [default: PATH, wheel16]")
@_kept
@click.option("--port", "ports", type=int, multiple=True, help="Port of a node; once for each.  [default: free ones]")
@_detached
def postgresql(*, name: str | None, detach: bool, ports: tuple[int, ...], **rest: Any) -> None:
    """A PostgreSQL primary and its standbys."""
    try:
        made = PostgresLab(name=name or "postgresql", ports=ports or None, **rest)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--auto-failover") from error
    _run(made, detach=detach)


def _run(made: Lab, *, detach: bool) -> None:
    started_s = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with _step(f"starting {made.backend}") as say:
        made.open(progress=say)
    try:
        click.echo(_described(made, time.monotonic() - started_s))
        if detach:
            made.detach()
            click.echo(f"It runs until: undaunted lab down --name {made.name}")
            return
        click.echo("It runs until Ctrl-C, or until this process ends.")
        _keep(made)
    finally:
        made.close()


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
    """The settings of a lab as TOML: strings, lists of strings and tables of them, whose JSON form TOML shares."""
    lines: list[str] = []
    for name, cluster in settings["clusters"].items():
        lines += [f"[clusters.{name}]", *(f"{key} = {_value(value)}" for key, value in cluster.items())]
    return lines


def _value(value: object) -> str:
    if isinstance(value, dict):
        table = cast("dict[str, object]", value)
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in table.items()) + " }"
    return json.dumps(value)


@lab.command()
@click.option("--name", help="Only this lab.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(*, name: str | None, as_json: bool) -> None:
    """Show the running labs and what each node is and does."""
    labs = [attach(name)] if name is not None else [attach(found) for found in sorted(names())]
    report = [_report(found) for found in labs]
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    if not report:
        click.echo("No lab is running.")
        return
    table = Table("lab", "node", "address", "datacenter", "state", "role", "pid")
    for entry in report:
        for node in entry["nodes"]:
            told = [str(node[what] or "") for what in ("name", "address", "datacenter", "state", "role", "pid")]
            table.add_row(entry["name"], *told)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _report(found: Lab) -> dict[str, Any]:
    states, roles = found.states(), found.roles()
    nodes = [
        {
            "name": node.name,
            "address": node.address,
            "datacenter": node.datacenter,
            "state": str(states[node.name]),
            "role": roles[node.name],
            "pid": node.pid,
        }
        for node in found.nodes
    ]
    return {"name": found.name, "backend": found.backend, "nodes": nodes}


_node = click.argument("node", metavar="NODE|primary")
_which = click.option("--name", help="Which lab.  [default: the only one that runs]")


@lab.command()
@_node
@_which
def kill(node: str, *, name: str | None) -> None:
    """Crash a node: SIGKILL."""
    _fault(name, node, "killed", lambda found, chosen: found.kill(chosen))


@lab.command()
@_node
@_which
def freeze(node: str, *, name: str | None) -> None:
    """Make a node hang: SIGSTOP. Its connections stay open and nothing answers."""
    _fault(name, node, "frozen", lambda found, chosen: found.freeze(chosen))


@lab.command("slow-down")
@_node
@click.option("--pause", default="90ms", show_default=True, help="How long it hangs each time.")
@click.option("--every", default="100ms", show_default=True, help="From one pause to the next.")
@_which
def slow_down(node: str, *, name: str | None, pause: str, every: str) -> None:
    """Make a node slow: SIGSTOP and SIGCONT by turns."""
    _fault(name, node, "slow", lambda found, chosen: found.slow_down(chosen, pause=pause, every=every))


@lab.command()
@_node
@_which
def stop(node: str, *, name: str | None) -> None:
    """End a node cleanly: SIGTERM."""
    _fault(name, node, "stopped", lambda found, chosen: found.stop(chosen))


@lab.command("step-down")
@_node
@_which
def step_down(node: str, *, name: str | None) -> None:
    """Make the primary hand over in good order."""
    led = _led(name)
    _fault(led.name, node, "stepped down", lambda _found, chosen: led.step_down(chosen))


@lab.command()
@click.argument("node", required=False)
@_which
def promote(node: str | None, *, name: str | None) -> None:
    """Make a standby of PostgreSQL the primary: NODE, or the one that has most. The old one is left alone."""
    found = _followed(name)
    with _step(f"promoting {node or 'a standby'}"):
        done = found.promote(node)
    click.echo(f"{done.name} ({done.address}) is primary.")


@lab.command()
@click.argument("node")
@_which
def rewind(node: str, *, name: str | None) -> None:
    """Make a node of PostgreSQL, such as an old primary, a standby of the primary."""
    found = _followed(name)
    with _step(f"{node}: waiting until it follows the primary"):
        done = found.rewind(node)
    click.echo(f"{done.name} ({done.address}) follows the primary.")


@lab.command()
@click.argument("node")
@click.argument("switch", type=click.Choice(["on", "off"]))
@_which
def lag(node: str, switch: str, *, name: str | None) -> None:
    """Make a standby of PostgreSQL fall behind (on), or let it catch up (off)."""
    found = _followed(name)
    if switch == "on":
        done = found.lag(node)
        click.echo(f"{done.name} ({done.address}) falls behind.")
    else:
        (done,) = found.catch_up(node)
        click.echo(f"{done.name} ({done.address}) catches up.")


def _followed(name: str | None) -> PostgresLab:
    """The lab, if it holds PostgreSQL."""
    found = attach(name)
    if not isinstance(found, PostgresLab):
        raise LabError(f"The lab {found.name} holds {found.backend}, which does this in no way; it is for PostgreSQL.")
    return found


@lab.command("disable-binary")
@_node
@_which
def disable_binary(node: str, *, name: str | None) -> None:
    """Make a node of Cassandra refuse clients, while the other nodes see it up."""
    ring = _ring(name)
    _fault(ring.name, node, "closed to clients", lambda _found, chosen: ring.disable_binary(chosen))


@lab.command("enable-binary")
@_node
@_which
def enable_binary(node: str, *, name: str | None) -> None:
    """Let clients of Cassandra in again."""
    done = _ring(name).enable_binary(node)
    click.echo(f"{done.name} ({done.address}) lets clients in.")


def _ring(name: str | None) -> CassandraLab:
    """The lab, if it holds Cassandra."""
    found = attach(name)
    if not isinstance(found, CassandraLab):
        raise LabError(f"The lab {found.name} holds {found.backend}, which does this in no way; it is for Cassandra.")
    return found


def _led(name: str | None) -> Primaries:
    """The lab, if it has a primary."""
    found = attach(name)
    if not isinstance(found, Primaries):
        raise LabError(f"The lab {found.name} holds {found.backend}, whose nodes are all alike: it has no primary.")
    return found


def _fault(name: str | None, which: str, done: str, verb: Callable[[Lab, LabNode], object]) -> None:
    """Inject a fault, and show who is primary afterwards if it hit the primary and another can be elected."""
    found = attach(name)
    node = found.node(which)
    was_primary = node.role == "primary"
    started_s = time.monotonic()
    with _step(f"{node.name}: waiting until it is {done}"):
        verb(found, node)
    click.echo(f"{node.name} ({node.address}) is {done}.")
    if was_primary and isinstance(found, Primaries):
        _tell_successor(found, node, started_s)


def _tell_successor(found: Primaries, node: LabNode, started_s: float) -> None:
    why = found.leaderless()
    if why is not None:
        click.echo(why)
        return
    with _step("waiting for a new primary"):
        at_s = found.wait_primary(other_than=node)
        new = found.primary()
    click.echo(f"{new.name} ({new.address}) is primary, {at_s - started_s:.1f} s later.")


@lab.command()
@_node
@_which
def thaw(node: str, *, name: str | None) -> None:
    """Let a frozen node go on: SIGCONT."""
    for done in attach(name).thaw(node):
        click.echo(f"{done.name} ({done.address}) goes on.")


@lab.command("speed-up")
@_node
@_which
def speed_up(node: str, *, name: str | None) -> None:
    """Let a slow node run on."""
    for done in attach(name).speed_up(node):
        click.echo(f"{done.name} ({done.address}) is up.")


@lab.command()
@_node
@_which
def start(node: str, *, name: str | None) -> None:
    """Start a node that is down: same address, same data."""
    found = attach(name)
    with _step(f"starting {node}"):
        started = found.start(node)
    for done in started:
        click.echo(f"{done.name} ({done.address}) is up.")


@lab.command()
@_which
def heal(*, name: str | None) -> None:
    """Undo every fault, and wait until every node is well."""
    found = attach(name)
    with _step("healing"):
        found.heal()
    click.echo(f"Every node of {found.name} is well.")


@lab.command()
@_which
def restart(*, name: str | None) -> None:
    """Restart every node cleanly, one after the other, a primary last."""
    found = attach(name)
    with _step("restarting one node after the other"):
        found.rolling_restart()
    click.echo(f"Every node of {found.name} was restarted and is well.")


@lab.command()
@_which
def primary(*, name: str | None) -> None:
    """Print the name and the address of the primary."""
    node = _led(name).primary()
    click.echo(f"{node.name} {node.address}")


@lab.command()
@_which
@click.option("--all", "is_all", is_flag=True, help="Every lab that runs.")
def down(*, name: str | None, is_all: bool) -> None:
    """End a lab and remove its data."""
    if is_all and name is not None:
        raise LabError("--all and --name say different things; give one of them.")
    for found in [attach(each) for each in sorted(names())] if is_all else [attach(name)]:
        with _step(f"ending {found.name}"):
            found.end()
        click.echo(f"The lab {found.name} has ended.")
