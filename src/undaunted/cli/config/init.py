"""`undaunted config init`: makes the settings file by asking the nodes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote

import click

from undaunted.cli.backends import part
from undaunted.cli.config.given import BACKENDS, Given, given
from undaunted.cli.config.written import cluster_text, file_text
from undaunted.cli.exits import DOWN
from undaunted.cli.options import as_json, ours, source_of
from undaunted.cli.terminal import step, tell_json, tell_problem
from undaunted.config import load
from undaunted.config.discovered import Discovered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from undaunted.errors import Problem

__all__ = ["init"]

_STDOUT = "-"
_ASKED = ("mongodb", "cassandra", "postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cluster:
    """A cluster to write down."""

    given: Given
    found: Discovered

    @property
    def settings(self) -> dict[str, Any]:
        """What was found goes before what was given."""
        return {**self.given.settings, **self.found.settings}


@ours(example="config init orders=mongodb://shop@db1.example.com:27017/shop")
@click.argument("clusters", nargs=-1, metavar="[NAME=URL]...")
@click.option("--output", default="undaunted.toml", show_default=True, help="The file to write; - for standard output.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option("--no-ask", is_flag=True, help="Ask no node: write down what is given.")
@as_json
@click.pass_context
def init(
    ctx: click.Context, *, clusters: tuple[str, ...], output: str, force: bool, no_ask: bool, as_json: bool
) -> None:
    """Write a settings file with comments, by asking one node of each cluster who belongs to it.

    A URL names one node or more: mongodb://HOST:27017, cassandra://USER@HOST/KEYSPACE, postgresql://USER@HOST/DATABASE.
    Without any, you are asked. Exits with 2, and writes nothing, when no node of a cluster answers.
    """
    if output != _STDOUT:
        _look_at(Path(output), is_to_replace=force)
    chosen = _chosen(clusters, as_json=as_json)
    environ = dict(os.environ) if no_ask else _with_passwords(chosen)
    made = [_Cluster(given=one, found=Discovered() if no_ask else _ask(one, environ)) for one in chosen]
    problems = [problem for cluster in made for problem in cluster.found.problems]
    if problems:
        _refuse(problems, as_json=as_json)
    texts = [cluster_text(one.given.name, one.given.backend, one.settings, one.found.remarks) for one in made]
    program = source_of(ctx).program
    text = file_text(texts, program=program)
    if output != _STDOUT:
        _write(Path(output), text, is_to_replace=force)
    _tell(made, text, None if output == _STDOUT else output, program=program, as_json=as_json)


def _look_at(output: Path, *, is_to_replace: bool) -> None:
    """Refuse what cannot be written before anybody is asked anything."""
    if output.is_dir() or not output.absolute().parent.is_dir():
        what = "is a folder" if output.is_dir() else "would stand in a folder that is not there"
        raise click.BadParameter(f"{output} {what}; name a file in a folder that is there.", param_hint="--output")
    if output.exists() and not is_to_replace:
        raise click.BadParameter(
            f"{output} is there already; name another file, or give --force.", param_hint="--output"
        )


def _write(output: Path, text: str, *, is_to_replace: bool) -> None:
    try:
        with output.open("w" if is_to_replace else "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        why = error.strerror or type(error).__name__
        message = f"{output} cannot be written ({why}); name another file, or - for standard output."
        raise click.BadParameter(message, param_hint="--output") from error


def _chosen(texts: Sequence[str], *, as_json: bool) -> list[Given]:
    if not texts and (as_json or not sys.stdin.isatty()):
        raise click.UsageError("Name each cluster by the URL of one of its nodes: orders=mongodb://HOST:27017")
    found: dict[str, Given] = {}
    for text in texts or _questions():
        try:
            one = given(text)
        except ValueError as error:
            raise click.BadParameter(f"{error}.", param_hint="NAME=URL") from error
        if one.name in found:
            raise click.BadParameter(f"two clusters are called {one.name!r}; name them apart.", param_hint="NAME=URL")
        found[one.name] = one
    return list(found.values())


def _questions() -> Iterator[str]:
    """Ask a person for one cluster after the other."""
    while True:
        kind: str = click.prompt("Database", type=click.Choice(_ASKED), default="mongodb")
        _, usual, port = BACKENDS[kind]
        name: str = click.prompt("Name of the cluster in the settings", default=usual)
        host: str = click.prompt("Address of one of its nodes", default=f"localhost:{port}")
        user: str = click.prompt("User, if it needs a login", default="", show_default=False)
        what = "Keyspace" if kind == "cassandra" else "Database in it"
        if kind == "postgresql":
            database: str = click.prompt(what)
        else:
            database = click.prompt(f"{what}, if you know", default="", show_default=False)
        at = f"{quote(user, safe='')}@" if user else ""
        yield f"{name}={kind}://{at}{host}{f'/{quote(database)}' if database else ''}"
        if not click.confirm("Another one?"):
            return


def _with_passwords(chosen: Sequence[Given]) -> dict[str, str]:
    """The environment, with the passwords that it lacks."""
    environ = dict(os.environ)
    for one in chosen:
        if one.password is not None and one.password not in environ:
            if not sys.stdin.isatty():
                raise click.UsageError(f"Set {one.password} to the password of the user of {one.name}.")
            environ[one.password] = click.prompt(f"Password of the user of {one.name}", hide_input=True, err=True)
    return environ


def _ask(one: Given, environ: Mapping[str, str]) -> Discovered:
    table = {"clusters": {one.name: {"backend": one.backend, **one.settings}}}
    cluster = load(table, environ={name: environ[name] for name in (one.password,) if name}).settings.cluster(one.name)
    with step(f"asking the nodes of {one.name}"):
        found: Discovered = part(one.backend, "discover").discover(cluster)
    return found


def _refuse(problems: Sequence[Problem], *, as_json: bool) -> NoReturn:
    if as_json:
        tell_json({"file": None, "problems": [{"path": each.path, "message": each.message} for each in problems]})
    else:
        for problem in problems:
            tell_problem(problem)
        click.echo("Nothing was written; --no-ask writes down what is given.", err=True)
    raise click.exceptions.Exit(DOWN)


def _tell(made: Sequence[_Cluster], text: str, file: str | None, *, program: str, as_json: bool) -> None:
    variables = [one.given.password for one in made if one.given.password is not None]
    if as_json:
        told = [
            {"name": one.given.name, "backend": one.given.backend, "settings": one.settings}
            | {"warnings": list(one.found.warnings)}
            for one in made
        ]
        tell_json({"file": file, "clusters": told, "variables": variables, "text": text})
        return
    if file is None:
        click.echo(text, nl=False)
    for one in made:
        for warning in one.found.warnings:
            click.echo(f"{one.given.name}: {warning}", err=True)
    if file is not None:
        names = ", ".join(one.given.name for one in made)
        click.echo(f"Wrote {file}: {names}.")
        needed = f"Set {', '.join(variables)} in the environment, then run: " if variables else "Next: "
        click.echo(f"{needed}{program} check")
