"""The settings of a cluster by the word of its nodes, for `undaunted config init`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import sqlalchemy as sa

from undaunted.config.addresses import address as address_of
from undaunted.config.discovered import Discovered
from undaunted.errors import Problem
from undaunted.sqlalchemy import versions
from undaunted.sqlalchemy.check import look
from undaunted.sqlalchemy.diagnosis import refused
from undaunted.sqlalchemy.urls import libpq_parameters, place_of
from undaunted.sqlalchemy.wire import Refused, Silent, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from undaunted.config import SQLAlchemySettings
    from undaunted.sqlalchemy.sights import Sight

__all__ = ["discover"]

_PORT = 5432
_LOGIN = 'a password comes from PGPASSWORD or ~/.pgpass; or give the whole URL as { env = "NAME" }'

_NEIGHBOURS = b"""
SELECT (SELECT string_agg(DISTINCT host(client_addr), ' ') FROM pg_stat_replication),
       (SELECT sender_host || ' ' || sender_port FROM pg_stat_wal_receiver)
"""
"""The standbys of a primary, whose ports it does not know, and the node that a standby follows; only for pg_monitor."""


def discover(settings: SQLAlchemySettings) -> Discovered:
    """Ask the nodes of the settings what they are, and who follows whom; changes nothing.

    A database that is no PostgreSQL is not asked.

    Raises:
        ConfigurationError: SQLAlchemy is too old.
    """
    versions.check_packages()
    if not settings.is_postgresql or settings.url is None:
        return Discovered()
    parameters = libpq_parameters(sa.make_url(settings.url.reveal()).set(drivername="postgresql+psycopg"), {})
    timeout_s = settings.connect_timeout
    sights = [look(address, parameters, timeout_s=timeout_s) for address in settings.nodes]
    up = [sight for sight in sights if sight.is_up]
    if not up:
        return Discovered(problems=tuple(_silent(settings.name, sight) for sight in sights))
    more = _neighbours([sight.address for sight in up], parameters, timeout_s)
    for address in more:
        if address not in settings.nodes:
            sight = look(address, parameters, timeout_s=timeout_s)
            # Whoever is reached by a guessed port may be anybody: only a node of the same cluster counts.
            if sight.is_up and sight.system_identifier == up[0].system_identifier is not None:
                sights.append(sight)
    roles = ", ".join(f"{sight.address} {sight.role}" for sight in sights if sight.is_up)
    warnings = [_silent(settings.name, sight).message for sight in sights if not sight.is_up]
    unseen = [address for address in more if address not in {sight.address for sight in sights}]
    if unseen:
        warnings.append(f"{', '.join(unseen)} may belong to it too, and could not be looked at; add what is missing.")
    found = {"nodes": [sight.address for sight in sights]}
    return Discovered(settings=found, remarks={"nodes": f"now: {roles}", "url": _LOGIN}, warnings=tuple(warnings))


def _silent(cluster: str, sight: Sight) -> Problem:
    if sight.error is None or sight.error in {"Silent", "Refused"}:
        what = "does not answer" if sight.error == "Silent" else "cannot be reached"
        return Problem(f"clusters.{cluster}.nodes", f"{sight.address} {what}.")
    return refused(cluster, sight.address, sight.error)


def _neighbours(asked: Sequence[str], parameters: Mapping[str, str], timeout_s: float) -> list[str]:
    """The nodes that these know of, as far as they may tell; a standby's port is taken to be that of its primary."""
    found: list[str] = []
    for address in asked:
        host, port = place_of(address)
        wire = Wire(host, port, parameters)
        ends_s = time.monotonic() + timeout_s
        try:
            wire.connect(ends_s)
            followers, followed = wire.ask(_NEIGHBOURS, ends_s)
        except (Silent, Refused):
            continue
        finally:
            wire.close()
        found += [_written(each, port) for each in (followers or "").split()]
        if followed is not None and not followed.startswith(("/", "@")):  # a socket, by its folder or its own name
            sender, _, sender_port = followed.partition(" ")
            found.append(_written(sender, int(sender_port)))
    return list(dict.fromkeys(found))


def _written(host: str, port: int) -> str:
    return address_of(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", _PORT)
