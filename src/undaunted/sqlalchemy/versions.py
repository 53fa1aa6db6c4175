"""What this backend stands on: the oldest SQLAlchemy and the oldest PostgreSQL that it can be used with."""

from __future__ import annotations

import re
from importlib.metadata import version

from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy import seams

__all__ = ["OLDEST_SERVER", "check_packages", "server_text"]

_OLDEST = (2, 0, 38)
OLDEST_SERVER = 140000
"""PostgreSQL 14: from there on a server tells its role unasked, and notices that a client has gone."""


def check_packages() -> None:
    """Make sure that SQLAlchemy is new enough, and that it and psycopg have what this backend stands on.

    Raises:
        ConfigurationError: It is not.
    """
    said = version("sqlalchemy")
    found = tuple(int(part) for part in re.findall(r"\d+", said)[:3])
    if found < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise ConfigurationError(f"SQLAlchemy {said} is too old: pip install 'sqlalchemy>={wanted}'.")
    if lacking := seams.missing_of_pools():
        raise ConfigurationError(
            f"SQLAlchemy {said} has no {', '.join(lacking)}, by which a deadline bounds the wait for a connection. "
            "Install a SQLAlchemy that this release of undaunted was tested with (2.0.38 to 2.1)."
        )
    if lacking := seams.missing():
        raise ConfigurationError(
            f"psycopg {version('psycopg')} has no {', '.join(lacking)}, by which a unit of work begins with its key. "
            "Install a psycopg that this release of undaunted was tested with (3.2.4 to 3.3)."
        )


def server_text(version: int) -> str:
    """A server's version as people write it: ``"15.18"``."""
    return f"{version // 10000}.{version % 10000}"
