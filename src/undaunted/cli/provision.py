"""`undaunted provision`: shows what would bring the clusters to the settings, and does it when told to.

What is done is the backend's own, in ``undaunted.<backend>.provision.command``; how it is told is the same for all.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click

from undaunted.cli.backends import NODES_CAN_BE_ASKED, part
from undaunted.cli.exits import FINE, WRONG_SETTINGS
from undaunted.cli.options import as_json, in_file, ours, some_clusters, source_of
from undaunted.cli.terminal import step, tell_json
from undaunted.core.durations import seconds
from undaunted.errors import ConfigurationError, UndauntedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from undaunted.config import ClusterSettings, Settings

__all__ = ["provision"]

PLANNED = 1
REFUSED = 2
INTERRUPTED = 130
"""Exit codes beside those of `undaunted.cli.exits`: changes are planned and --apply was not given; something was
refused, failed or is out of reach; Ctrl-C."""

_Told = dict[str, Any]


class _Plan(Protocol):
    """What a backend means to do."""

    @property
    def steps(self) -> Sequence[Any]: ...
    @property
    def refusals(self) -> Sequence[str]: ...
    @property
    def unreachable(self) -> Sequence[tuple[str, str]]: ...
    @property
    def warnings(self) -> Sequence[str]: ...


class _Provisioning(Protocol):
    """What a backend's ``opened(settings)`` gives for the time of its block."""

    def plan(self, *, force: bool) -> _Plan: ...
    def apply(self, made: Any, *, timeout_s: float, tell: Callable[[int, object], None]) -> None: ...
    def heading(self, made: Any) -> str: ...
    def facts(self, made: Any) -> Mapping[str, Any]: ...
    def told(self, step: Any) -> Mapping[str, Any]: ...


@ours(example="provision orders --apply")
@some_clusters
@click.option("--apply", "is_to_apply", is_flag=True, help="Take the steps of the plan.")
@click.option("--force", is_flag=True, help="Also take replicas away (Cassandra); a MongoDB set is never forced.")
@click.option("--timeout", default="10m", show_default=True, help="How long one step may take, such as copying data.")
@in_file
@as_json
def provision(
    *, clusters: tuple[str, ...], is_to_apply: bool, force: bool, timeout: str, file: str | None, as_json: bool
) -> None:
    """Make MongoDB replica sets and Cassandra keyspaces what the settings say.

    Of the CLUSTERs named, else of all. Without --apply it only shows its plan. It refuses what would leave no majority
    or, without --force, fewer replicas. Exit codes: 0 nothing to do, or done; 1 changes are planned; 2 refused, failed,
    or a node is out of reach; 3 wrong settings.
    """
    try:
        timeout_s = seconds(timeout)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from error
    told: list[_Told] = []
    say = _quiet if as_json else click.echo
    try:
        for settings in _chosen(source_of(click.get_current_context()).load(file).settings, clusters):
            told.append({"cluster": settings.name, "applied": 0, "error": None, "exit_code": INTERRUPTED})
            limit_s = timeout_s if is_to_apply else None
            told[-1]["exit_code"] = _one(settings, told[-1], timeout_s=limit_s, force=force, say=say)
    except ConfigurationError as error:
        _end(told, WRONG_SETTINGS, str(error), as_json=as_json)
    except KeyboardInterrupt:
        _end(told, INTERRUPTED, "Interrupted. Run it again to see what is left to do.", as_json=as_json)
    _end(told, max((one["exit_code"] for one in told), default=FINE), None, as_json=as_json)


def _chosen(settings: Settings, names: Sequence[str]) -> list[ClusterSettings]:
    """The clusters that are meant, all of backends that can be provisioned.

    Raises:
        ConfigurationError: One is not there or of another backend, or there is none, or a driver is missing.
    """
    known = " and ".join(sorted(NODES_CAN_BE_ASKED))
    found = [settings.cluster(name) for name in dict.fromkeys(names)]
    for cluster in found:
        if cluster.backend not in NODES_CAN_BE_ASKED:
            message = f"cluster {cluster.name!r} is of the backend {cluster.backend}; provision knows {known} only."
            raise ConfigurationError(message)
    found = found or [cluster for cluster in settings.clusters.values() if cluster.backend in NODES_CAN_BE_ASKED]
    if not found:
        raise ConfigurationError(
            f"The settings name no cluster that can be provisioned (backend {known}); add a table [clusters.NAME]."
        )
    for cluster in found:
        part(cluster.backend, "provision.command")  # whatever is missing is told before anything is done
    return found


def _one(
    settings: ClusterSettings, told: _Told, *, timeout_s: float | None, force: bool, say: Callable[[str], None]
) -> int:
    """Plan for one cluster, and apply the plan where there is a timeout; the exit code."""

    def tell(place: int, one: object) -> None:
        told["applied"] = place
        line = f"{place + 1}/{len(told['steps'])} {one}"
        shown.close()
        say(f"  {line} ...")
        shown.enter_context(step(line))

    with part(settings.backend, "provision.command").opened(settings) as opened, ExitStack() as shown:
        provisioning: _Provisioning = opened
        try:
            with step(f"asking the nodes of {settings.name}"):
                made = provisioning.plan(force=force)
            told |= _told(provisioning, made)
            for line in _lines(settings.name, provisioning, made):
                say(line)
            if timeout_s is None or made.refusals or not made.steps:
                return _code(made)
            provisioning.apply(made, timeout_s=timeout_s, tell=tell)
        except ConfigurationError:
            raise
        except UndauntedError as error:
            shown.close()
            told["error"] = str(error)
            say(f"{settings.name}: {error}")
            return REFUSED
    told["applied"] = len(made.steps)
    say("  Done.")
    for sentence in _afterwards(made):
        say(f"  now: {sentence}")
    return REFUSED if made.unreachable else FINE


def _code(made: _Plan) -> int:
    if made.refusals or made.unreachable:
        return REFUSED
    return PLANNED if made.steps else FINE


def _afterwards(made: _Plan) -> Sequence[str]:
    """What is to be run on the nodes once the steps are taken; not every backend leaves such a thing."""
    found: Sequence[str] = getattr(made, "afterwards", ())
    return found


def _lines(cluster: str, provisioning: _Provisioning, made: _Plan) -> list[str]:
    """A plan for people."""
    lines = [f"{cluster}: {provisioning.heading(made)}"]
    lines += [f"  refused: {sentence}" for sentence in made.refusals]
    lines += [f"  out of reach: {address} {reason}." for address, reason in made.unreachable]
    lines += [f"  {number}. {step}" for number, step in enumerate(made.steps, 1)]
    lines += [f"  afterwards: {sentence}" for sentence in _afterwards(made)]
    lines += [f"  warning: {sentence}" for sentence in made.warnings]
    if not made.steps and not made.refusals:
        lines.append("  Nothing to do.")
    return lines


def _told(provisioning: _Provisioning, made: _Plan) -> _Told:
    """A plan for programs."""
    return {
        **provisioning.facts(made),
        "steps": [dict(provisioning.told(step)) for step in made.steps],
        "refusals": list(made.refusals),
        "unreachable": [{"node": address, "reason": reason} for address, reason in made.unreachable],
        "warnings": list(made.warnings),
        "afterwards": list(_afterwards(made)),
    }


def _end(told: list[_Told], code: int, message: str | None, *, as_json: bool) -> NoReturn:
    if as_json:
        tell_json({"clusters": told, "error": message, "exit_code": code})
    elif message is not None:
        click.echo(message, err=True)
    elif any(one["exit_code"] == PLANNED for one in told):
        click.echo("Nothing was changed. Run it again with --apply to take these steps.")
    raise click.exceptions.Exit(code)


def _quiet(line: str) -> None:
    del line
