"""What is wrong between the settings of a cluster and the nodes that they name, in sentences that say what to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from undaunted.errors import Outage, Problem
from undaunted.sqlalchemy import versions
from undaunted.sqlalchemy.diagnosis import problems_of, refused
from undaunted.sqlalchemy.monitor import LOOK, WHO, WHO_PLAINLY, sight_of
from undaunted.sqlalchemy.sights import Sight
from undaunted.sqlalchemy.single import why_not
from undaunted.sqlalchemy.urls import libpq_parameters, place_of, url_of
from undaunted.sqlalchemy.wire import Refused, Silent, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from undaunted.config import SQLAlchemySettings

__all__ = ["check", "look"]

_CONNECTS = 3
"""How long a driver that knows no end is waited for, in times of ``connect_timeout``: it asks a few things."""
_UNREACHED = ("Silent", "Refused")


def check(settings: SQLAlchemySettings) -> list[Problem]:
    """Ask every node of the settings; changes nothing. A database that is no PostgreSQL is connected to once.

    Returns:
        Each mistake with the setting that it concerns; empty when applications will find what they need.

    Raises:
        ConfigurationError: SQLAlchemy is too old.
    """
    versions.check_packages()
    if settings.url is None:
        return []
    connect_args = cast("Mapping[str, Any]", settings.options.get("connect_args") or {})
    if not settings.is_postgresql:
        return _of_single(settings, connect_args)
    url = sa.make_url(settings.url.reveal()).set(drivername="postgresql+psycopg")
    parameters = libpq_parameters(url, connect_args)
    sights = [look(address, parameters, timeout_s=settings.connect_timeout) for address in settings.nodes]
    problems = [_silent(settings.name, sight) for sight in sights if not sight.is_up]
    if all(sight.error in _UNREACHED for sight in sights):
        problems.append(Outage.of(settings.name))
    return [*problems, *problems_of(settings.name, sights)]


def _of_single(settings: SQLAlchemySettings, connect_args: Mapping[str, Any]) -> list[Problem]:
    url = url_of(settings.name, settings)
    reason = why_not(url, connect_args, timeout_s=_CONNECTS * settings.connect_timeout)
    if reason is None:
        return []
    message = f"the database cannot be used ({reason}). Start it, or correct the URL."
    return [Problem(f"clusters.{settings.name}.url", message), Outage.of(settings.name)]


def look(address: str, parameters: Mapping[str, str], *, timeout_s: float) -> Sight:
    """One node, asked once."""
    wire = Wire(*place_of(address), parameters, listens=True)
    asked_s = time.monotonic()
    ends_s = asked_s + timeout_s
    try:
        wire.connect(ends_s)
        try:
            identifier, _ = wire.ask(WHO, ends_s)
        except Refused as error:
            if error.sqlstate is None:
                raise
            identifier, _ = wire.ask(WHO_PLAINLY, ends_s)
        row = wire.ask(LOOK, ends_s)
        seen = sight_of(address, row, asked_s=asked_s, answered_s=time.monotonic())
        return seen.known_as(None if identifier is None else int(identifier), wire.server_version)
    except Silent:
        return Sight(address=address, error="Silent")
    except Refused as error:
        return Sight(address=address, error=error.sqlstate or "Refused")
    finally:
        wire.close()


def _silent(cluster: str, sight: Sight) -> Problem:
    if sight.error in _UNREACHED:
        what = "does not answer" if sight.error == "Silent" else "cannot be reached"
        return Problem(f"clusters.{cluster}.nodes", f"{sight.address} {what}. Start the node, or correct its address.")
    return refused(cluster, sight.address, sight.error or "no reason")
