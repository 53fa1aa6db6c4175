"""Which lab and which node a command is about, and what it tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from undaunted.cli.terminal import tell_json
from undaunted.lab import CassandraLab, LabError, PostgresLab
from undaunted.lab.find import attach, names
from undaunted.lab.primaries import Primaries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.lab.lab import Lab
    from undaunted.lab.node import LabNode

__all__ = ["a_node", "facts", "followed", "led", "ring", "tell", "which_lab"]

_Function = TypeVar("_Function", bound="Callable[..., Any]")


def _labs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[str]:
    del ctx, parameter
    return [name for name in sorted(names()) if name.startswith(incomplete)]


def _nodes(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> Sequence[str]:
    del parameter
    try:
        found = attach(ctx.params.get("name"))
    except LabError:  # a shell that completes a word is no place to say so
        return []
    known = [*(node.name for node in found.nodes), *(["primary"] if isinstance(found, Primaries) else [])]
    return [name for name in known if name.startswith(incomplete)]


def which_lab(function: _Function) -> _Function:
    """Take the name of a running lab."""
    told = "Which lab.  [default: the only one that runs]"
    return click.option("--name", help=told, shell_complete=_labs)(function)


def a_node(metavar: str = "NODE|primary", *, required: bool = True) -> Callable[[_Function], _Function]:
    """Take the name of a node."""
    return click.argument("node", metavar=metavar, required=required, shell_complete=_nodes)


def tell(sentence: str, *, as_json: bool, **told: object) -> None:
    """Say what was done: a sentence for people, or facts for programs."""
    if as_json:
        tell_json(told)
    else:
        click.echo(sentence)


def facts(node: LabNode) -> dict[str, str]:
    """What programs are told of a node."""
    return {"name": node.name, "address": node.address}


def followed(name: str | None) -> PostgresLab:
    """The lab, if it holds PostgreSQL.

    Raises:
        LabError: It does not, or there is no such lab.
    """
    found = attach(name)
    if not isinstance(found, PostgresLab):
        raise LabError(_no_way(found, "PostgreSQL"))
    return found


def ring(name: str | None) -> CassandraLab:
    """The lab, if it holds Cassandra.

    Raises:
        LabError: It does not, or there is no such lab.
    """
    found = attach(name)
    if not isinstance(found, CassandraLab):
        raise LabError(_no_way(found, "Cassandra"))
    return found


def led(name: str | None) -> Primaries:
    """The lab, if it has a primary.

    Raises:
        LabError: It has none, or there is no such lab.
    """
    found = attach(name)
    if not isinstance(found, Primaries):
        raise LabError(f"The lab {found.name} holds {found.backend}, whose nodes are all alike: it has no primary.")
    return found


def _no_way(found: Lab, database: str) -> str:
    return f"The lab {found.name} holds {found.backend}, which does this in no way; it is for {database}."
