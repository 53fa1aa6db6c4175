"""Finds running labs from any process of the same user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.lab.cassandra import CassandraLab
from undaunted.lab.errors import LabError
from undaunted.lab.home import home, locked, running
from undaunted.lab.mongodb import MongoLab
from undaunted.lab.postgres import PostgresLab

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.lab.lab import Lab

__all__ = ["KINDS", "attach", "names"]

KINDS: Mapping[str, type[Lab]] = {kind.backend: kind for kind in (CassandraLab, MongoLab, PostgresLab)}


def names() -> dict[str, str]:
    """The backend of every running lab, by name."""
    directory = home()
    with locked(directory):
        return {name: record["backend"] for name, record in running(directory).items() if record}


def attach(name: str | None = None) -> Lab:
    """The running lab of this name, or the only one where none is named.

    Raises:
        LabError: There is no such lab, or there are several and none is named.
    """
    found = names()
    if name is None:
        if not found:
            raise LabError("No lab is running; start one with `undaunted lab up mongodb`.")
        if len(found) > 1:
            raise LabError(f"Several labs are running: {', '.join(sorted(found))}. Say which one with --name.")
        name = next(iter(found))
    kind = KINDS[found[name]] if name in found else MongoLab
    return kind.attach(name)
