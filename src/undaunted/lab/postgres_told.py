"""What a PostgreSQL node tells of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.lab import postgres_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from undaunted.lab.node import LabNode

__all__ = ["Told", "ask"]

_QUESTION = """
    SELECT pg_is_in_recovery() AS standby,
           (CASE WHEN pg_is_in_recovery()
                 THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                 ELSE pg_current_wal_flush_lsn() END) - '0/0'::pg_lsn AS flushed,
           (CASE WHEN pg_is_in_recovery()
                 THEN pg_last_wal_replay_lsn()
                 ELSE pg_current_wal_flush_lsn() END) - '0/0'::pg_lsn AS replayed,
           CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END AS replay,
           CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END AS file,
           (SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming') AS receives,
           current_setting('synchronous_standby_names') AS synchronous,
           (SELECT coalesce(json_object_agg(application_name,
                                            json_build_object('state', state, 'sync', sync_state)), '{}')
              FROM pg_stat_replication WHERE application_name <> '') AS standbys
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The answer of a node.

    Attributes:
        is_standby: Whether it is in recovery, following another node or waiting for one.
        flushed: How far its log is on disk, in bytes.
        replayed: How far its log shows in its data, in bytes.
        is_paused: Whether it has been told not to replay.
        timeline: The timeline that it writes on, or receives; 0 for a standby that receives nothing.
        synchronous: Its ``synchronous_standby_names``.
        standbys: What it knows of each node that follows it, by name: ``state`` and ``sync``.
    """

    is_standby: bool
    flushed: int
    replayed: int
    is_paused: bool
    timeline: int
    synchronous: str
    standbys: Mapping[str, Mapping[str, Any]]

    @property
    def role(self) -> str:
        """What the lab calls it."""
        return "replica" if self.is_standby else "primary"

    def is_followed_by(self, name: str, other: Told) -> bool:
        """Whether a standby receives what this node writes.

        One that has more than this node had when it was promoted connects too, and gets what both have in common.
        """
        return self.standbys.get(name, {}).get("state") == "streaming" and other.timeline == self.timeline


def ask(nodes: Iterable[LabNode], *, timeout_s: float) -> dict[str, Told]:
    """The answers of all nodes that gave one in time, by node name."""
    return {name: _told(row) for name, row in postgres_wire.ask(nodes, _QUESTION, timeout_s=timeout_s).items()}


def _told(row: Mapping[str, str | None]) -> Told:
    return Told(
        is_standby=row["standby"] == "t",
        flushed=int(row["flushed"] or 0),
        replayed=int(row["replayed"] or 0),
        is_paused=row["replay"] not in {None, "not paused"},
        timeline=int(row["receives"] or 0) if row["standby"] == "t" else int((row["file"] or "0")[:8], 16),
        synchronous=row["synchronous"] or "",
        standbys=json.loads(row["standbys"] or "{}"),
    )
