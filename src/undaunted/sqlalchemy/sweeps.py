"""Sweeping the table of keys: what is older than any unit of work can last is deleted, a batch at a time.

By the server's clock, not by this process's. Batches skip rows that another process is sweeping, so any number of them
may sweep at once, and none waits.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from undaunted.core.durations import seconds
from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync
from undaunted.sqlalchemy.keys import least_key, table_of
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from undaunted.engine.call import Call
    from undaunted.sqlalchemy.cluster import Cluster

__all__ = ["sweep", "touch"]

_BATCH = 1000
_SWEEP = Operation(name="delete", kind=Kind.WRITE, idempotent=True)
_ORDERED_BY_TIME = frozenset({"postgresql", "sqlite", "mysql", "mariadb"})
"""Where keys compare as their bytes do, so that old ones are found by the primary key's own index."""

_CLOCK_SLACK_S = 3600.0
_LOG = logging.getLogger("undaunted.sqlalchemy")

_DUE: WeakKeyDictionary[Cluster, float] = WeakKeyDictionary()


def sweep(target: Any = None, *, older_than: str | float = "24h") -> int:
    """Delete the keys of units of work that are older than this, and say how many there were.

    It happens by itself every `keys.sweep` in each process that runs units of work; this is for a cron job.

    Args:
        target: A base, a mapped class, or the name of a cluster; None means the cluster that is the default one.
        older_than: Longer than any unit of work may last, its deadline included: ``"24h"``, or seconds.

    Raises:
        ValueError: It is no duration, or shorter than a minute.
    """
    age_s = seconds(older_than)
    if age_s < 60:
        raise ValueError(
            f"older_than: {older_than!r} is less than a minute, in which a unit of work may still be settled."
        )
    return _sweep(cluster_of(target), table_of(target), age_s)


def touch(cluster: Cluster, table: sa.Table) -> None:
    """Sweep in the background where it is time to; processes that have just begun are not all at it at once."""
    now_s = time.monotonic()
    due_s = _DUE.get(cluster)
    if due_s is not None and now_s < due_s:
        return
    every_s = cluster.settings.keys.sweep
    if due_s is None:
        _DUE[cluster] = now_s + every_s * random.random()  # noqa: S311  # no secret
        return
    _DUE[cluster] = now_s + every_s
    threading.Thread(target=_sweep_quietly, args=(cluster, table), name="undaunted-sweep", daemon=True).start()


def _sweep_quietly(cluster: Cluster, table: sa.Table) -> None:
    try:
        if not cluster.writer.dialect.is_async:  # else only its own event loop could
            _sweep(cluster, table, cluster.settings.keys.keep)
    except Exception as error:  # noqa: BLE001  # the next time will do; nobody waits for this one
        _LOG.warning("cluster %r: the table of keys was not swept: %s", cluster.name, type(error).__name__)


def _sweep(cluster: Cluster, table: sa.Table, age_s: float) -> int:
    swept = 0
    while True:
        count = sync.run(cluster.guard, _SWEEP, lambda call: _sweep_batch(cluster, table, age_s, call))
        swept += count
        if count < _BATCH:
            return swept


def _sweep_batch(cluster: Cluster, table: sa.Table, age_s: float, call: Call) -> int:  # noqa: ARG001  # the seam's
    with cluster.writer.begin() as connection:
        now = connection.execute(sa.select(sa.func.now())).scalar_one()
        oldest = _as_datetime(now) - timedelta(seconds=age_s)
        old = sa.select(table.c.key).where(table.c.created_at < oldest)
        if connection.dialect.name in _ORDERED_BY_TIME:
            old = old.where(table.c.key < least_key(oldest.timestamp() + _CLOCK_SLACK_S))
        old = old.limit(_BATCH).with_for_update(skip_locked=True)
        keys = list(connection.execute(old).scalars())
        if keys:
            connection.execute(table.delete().where(table.c.key.in_(keys)))
        return len(keys)


def _as_datetime(now: Any) -> datetime:
    """The server's time, which is without a zone in some databases: UTC as far as differences go."""
    found = datetime.fromisoformat(now) if isinstance(now, str) else now
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
