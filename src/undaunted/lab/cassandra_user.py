"""The user of a Cassandra lab that demands a login."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from undaunted.lab import cql
from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

    from undaunted.lab.node import LabNode

__all__ = ["make_user", "write_password"]

_FIRST = ("cassandra", "cassandra")
"""The superuser that every Cassandra has at first, with a password that everybody knows."""

_TIMEOUT_S = 15.0
_POLL_S = 0.1


def write_password(place: Path, password: str) -> None:
    """Write the file that a lab's settings name."""
    handle = os.open(place / "password", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(password)


def make_user(node: LabNode, auth: tuple[str, str], *, deadline_s: float) -> None:
    """Make the lab's superuser, and remove the first one.

    Raises:
        LabError: Not by the deadline.
    """
    name, password = (text.replace("'", "''") for text in auth)
    rights = f"PASSWORD = '{password}' AND SUPERUSER = true AND LOGIN = true"
    is_first = auth[0] == _FIRST[0]
    if auth == _FIRST:
        return
    _run(node, _FIRST, f"{'ALTER' if is_first else 'CREATE'} ROLE '{name}' WITH {rights}", deadline_s=deadline_s)
    if not is_first:
        _run(node, auth, f"DROP ROLE IF EXISTS '{_FIRST[0]}'", deadline_s=deadline_s)


def _run(node: LabNode, auth: tuple[str, str], statement: str, *, deadline_s: float) -> None:
    """Log in and run a statement, again until it is done: a node makes its first user some time after it answers."""
    while True:
        try:
            with cql.Connection(node, credentials=auth, timeout_s=_TIMEOUT_S) as connection:
                connection.query(statement)
        except (cql.Refused, OSError) as error:
            if time.monotonic() > deadline_s:
                said = str(error).replace(statement, "...")
                raise LabError(f"{node.name} did not take the user of the lab: {said}") from None
            time.sleep(_POLL_S)
        else:
            return
