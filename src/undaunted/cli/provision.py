"""`undaunted provision`: shows what would bring the replica sets to the settings, and does it when told to."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from undaunted.config.loading import load
from undaunted.core.durations import seconds
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.config import MongoDBSettings, Settings
    from undaunted.mongodb.provision import Plan

__all__ = ["provision"]

FINE = 0
PLANNED = 1
REFUSED = 2
WRONG_SETTINGS = 3
INTERRUPTED = 130
"""Exit codes: nothing to do, or done; changes are planned and --apply was not given; something was refused, failed or
is out of reach; the settings are wrong; Ctrl-C."""

_Told = dict[str, Any]


@click.command()
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@click.option("--apply", "is_to_apply", is_flag=True, help="Take the steps of the plan.")
@click.option("--timeout", default="10m", show_default=True, help="How long one step may take, such as copying data.")
@click.option("--file", type=click.Path(), help="The settings file; else it is looked for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def provision(*, clusters: tuple[str, ...], is_to_apply: bool, timeout: str, file: str | None, as_json: bool) -> None:
    """Make MongoDB replica sets what the settings say: the CLUSTERs named, else all.

    Without --apply it only shows its plan. It never forces a change, and refuses what would leave no majority. Exit
    codes: 0 nothing to do, or done; 1 changes are planned; 2 refused, failed, or a node is out of reach; 3 wrong
    settings.
    """
    try:
        timeout_s = seconds(timeout)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from error
    told: list[_Told] = []
    say = _quiet if as_json else click.echo
    try:
        for settings in _chosen(load(file).settings, clusters):
            told.append({"cluster": settings.name, "applied": 0, "error": None, "exit_code": INTERRUPTED})
            told[-1]["exit_code"] = _one(settings, told[-1], timeout_s=timeout_s if is_to_apply else None, say=say)
    except ConfigurationError as error:
        _end(told, WRONG_SETTINGS, str(error), as_json=as_json)
    except KeyboardInterrupt:
        _end(told, INTERRUPTED, "Interrupted. Run it again to see what is left to do.", as_json=as_json)
    _end(told, max((one["exit_code"] for one in told), default=FINE), None, as_json=as_json)


def _chosen(settings: Settings, names: Sequence[str]) -> list[MongoDBSettings]:
    """The clusters that are meant, all of MongoDB.

    Raises:
        ConfigurationError: One is not there or of another backend, or there is none, or pymongo is missing.
    """
    found = [settings.cluster(name) for name in dict.fromkeys(names)]
    for cluster in found:
        if cluster.backend != "mongodb":
            message = f"cluster {cluster.name!r} is of the backend {cluster.backend}; provision knows mongodb only."
            raise ConfigurationError(message)
    found = found or [cluster for cluster in settings.clusters.values() if cluster.backend == "mongodb"]
    if not found:
        raise ConfigurationError('The settings name no cluster with backend = "mongodb"; add a table [clusters.NAME].')
    if any(importlib.util.find_spec(name) is None for name in ("pymongo", "mongoengine")):
        raise ConfigurationError("MongoDB needs pymongo and mongoengine: pip install 'undaunted[mongodb]'.")
    return [cast("MongoDBSettings", cluster) for cluster in found]


def _one(settings: MongoDBSettings, told: _Told, *, timeout_s: float | None, say: Callable[[str], None]) -> int:
    """Plan for one cluster, and apply the plan where there is a timeout; the exit code."""
    from undaunted.mongodb.provision import Access, ProvisionError, apply, plan, survey, wanted_of  # noqa: PLC0415

    def tell(place: int, step: object) -> None:
        told["applied"] = place
        say(f"  {place + 1}/{len(told['steps'])} {step} ...")

    with Access(settings) as access:
        wanted = wanted_of(settings, seeds=access.seeds, replica_set=access.replica_set)
        try:
            state = survey(wanted, access)
            made = plan(wanted, state)
            told |= _told(made)
            for line in _lines(made):
                say(line)
            if timeout_s is None or made.refusals or not made.steps:
                return _code(made)
            apply(made, access, state, timeout_s=timeout_s, tell=tell)
        except ProvisionError as error:
            told["error"] = str(error)
            say(f"{settings.name}: {error}")
            return REFUSED
    told["applied"] = len(made.steps)
    say("  Done.")
    return REFUSED if made.unreachable else FINE


def _code(made: Plan) -> int:
    if made.refusals or made.unreachable:
        return REFUSED
    return PLANNED if made.steps else FINE


def _lines(made: Plan) -> list[str]:
    """A plan for people."""
    primary = f", primary {made.primary}" if made.primary else ""
    lines = [f"{made.cluster}: replica set {made.replica_set or '(unnamed)'}{primary}"]
    lines += [f"  refused: {sentence}" for sentence in made.refusals]
    lines += [f"  out of reach: {address} {reason}." for address, reason in made.unreachable]
    lines += [f"  {number}. {step}" for number, step in enumerate(made.steps, 1)]
    lines += [f"  warning: {sentence}" for sentence in made.warnings]
    if not made.steps and not made.refusals:
        lines.append("  Nothing to do.")
    return lines


def _told(made: Plan) -> _Told:
    """A plan for programs."""
    return {
        "replica_set": made.replica_set,
        "primary": made.primary,
        "steps": [{"kind": step.kind, "node": step.node, "text": str(step)} for step in made.steps],
        "refusals": list(made.refusals),
        "unreachable": [{"node": address, "reason": reason} for address, reason in made.unreachable],
        "warnings": list(made.warnings),
    }


def _end(told: list[_Told], code: int, message: str | None, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"clusters": told, "error": message, "exit_code": code}, indent=2))
    elif message is not None:
        click.echo(message, err=True)
    elif any(one["exit_code"] == PLANNED for one in told):
        click.echo("Nothing was changed. Run it again with --apply to take these steps.")
    raise click.exceptions.Exit(code)


def _quiet(line: str) -> None:
    del line
