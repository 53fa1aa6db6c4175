"""Reads what all replicas hold, with the plain driver."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from cassandra import ConsistencyLevel
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ExecutionProfile
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.policies import DCAwareRoundRobinPolicy
from cassandra.query import dict_factory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from undaunted.lab import CassandraLab

__all__ = ["Reader"]

_PATIENCE_S = 60.0
"""A node that has just been thawed is busy with what had waited for it, and all nodes are asked."""


class Reader:
    """Looks rows up at consistency ALL, so that nothing that any replica still misses goes unseen.

    Args:
        lab: The cluster; each time anew connected to, since the nodes may have been restarted in between.
        keyspace: Where the tables are.
    """

    def __init__(self, lab: CassandraLab, keyspace: str) -> None:
        self._lab, self._keyspace = lab, keyspace

    def rows(self, table: str, key: str, columns: Sequence[str], keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The rows that are there, by key; of several in a partition the last."""
        wanted = list(keys)
        if not wanted:
            return {}
        profile = ExecutionProfile(
            load_balancing_policy=DCAwareRoundRobinPolicy("dc1"), request_timeout=30.0, row_factory=dict_factory
        )
        cluster = self._lab.cluster(execution_profiles={EXEC_PROFILE_DEFAULT: profile})
        try:
            session = cluster.connect(self._keyspace)
            named = ", ".join(f'"{name}"' for name in (key, *columns))
            select = session.prepare(f'SELECT {named} FROM "{table}" WHERE "{key}" = ?')
            select.consistency_level = ConsistencyLevel.ALL
            found: dict[str, dict[str, Any]] = {}
            ends_s = time.monotonic() + _PATIENCE_S
            while wanted:
                asked = [(one,) for one in wanted]
                answers = execute_concurrent_with_args(
                    session, select, asked, concurrency=32, raise_on_first_error=False
                )
                missed: list[str] = []
                for one, (is_answered, result) in zip(wanted, answers, strict=True):
                    if is_answered:
                        found.update((row[key], row) for row in result)
                    elif time.monotonic() > ends_s:
                        raise result
                    else:
                        missed.append(one)
                wanted = missed
            return found
        finally:
            cluster.shutdown()
