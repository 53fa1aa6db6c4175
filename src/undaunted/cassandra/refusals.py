"""What a server's refusal says about the settings: a keyspace that is not there, a consistency that cannot be had.

Both are refused by every node for as long as nobody mends them, so they are told at once, and by the setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cassandra
from cassandra import ConsistencyLevel

from undaunted.cassandra.errors import ImpossibleConsistency, UnknownKeyspace
from undaunted.cassandra.operations import table_in

if TYPE_CHECKING:
    from undaunted.cassandra.request import Request

__all__ = ["explained"]

_LOCAL = frozenset({ConsistencyLevel.LOCAL_ONE, ConsistencyLevel.LOCAL_QUORUM, ConsistencyLevel.LOCAL_SERIAL})
_FIXED = frozenset({ConsistencyLevel.TWO, ConsistencyLevel.THREE})
"""What needs so many whatever the factor; all others need a part of those that there are."""
_SERIAL = frozenset({ConsistencyLevel.SERIAL, ConsistencyLevel.LOCAL_SERIAL})
_MOST_NAMED = 10


def explained(error: Exception, request: Request, host: Any) -> Exception:
    """The error in the words of the settings, where it is one of those; else the error itself."""
    told: Exception | None = None
    if isinstance(error, cassandra.Unavailable):
        told = _impossible(error, request, host)
    elif isinstance(error, cassandra.InvalidRequest):
        told = _unknown(request)
    if told is not None:
        told.__cause__ = error
    return told or error


def _keyspace_of(request: Request) -> str:
    query = request.query
    if query.keyspace:
        return str(query.keyspace)
    table = request.shape.table or table_in(str(getattr(query, "query_string", "")))
    return (table or "").rpartition(".")[0]


def _unknown(request: Request) -> UnknownKeyspace | None:
    cluster = request.session.link.cluster
    keyspace = _keyspace_of(request)
    known: dict[str, Any] = cluster.metadata.keyspaces if cluster is not None else {}
    if not keyspace or not known or keyspace in known:
        return None
    own = sorted(name for name in known if not name.startswith("system"))[:_MOST_NAMED]
    name = request.session.guard.cluster
    return UnknownKeyspace(
        f"clusters.{name}.keyspace: there is no keyspace {keyspace!r}; the cluster has {', '.join(own) or 'none yet'}. "
        "Correct the setting or the model's __keyspace__, or make the keyspace: `undaunted provision`."
    )


def _impossible(error: cassandra.Unavailable, request: Request, host: Any) -> ImpossibleConsistency | None:
    refusal: Any = error
    level, needed = refusal.consistency, refusal.required_replicas
    cluster = request.session.link.cluster
    keyspace = _keyspace_of(request)
    known = cluster.metadata.keyspaces.get(keyspace) if cluster is not None else None
    factor = _factor(known.replication_strategy, host.datacenter if level in _LOCAL else None) if known else None
    if factor is None or factor >= (needed if level in _FIXED else 1):
        return None
    name = ConsistencyLevel.value_to_name[level]
    where = f" in datacenter {host.datacenter!r}" if level in _LOCAL else ""
    return ImpossibleConsistency(
        f"{_setting(request, level)}: {name} needs {needed} {'replica' if needed == 1 else 'replicas'}, and keyspace "
        f"{keyspace!r} has {factor or 'none'}{where}. Ask for less, or raise its replication factor.",
        error,
    )


def _factor(strategy: Any, datacenter: str | None) -> int | None:
    """How many replicas a row has, in a datacenter or in all; None where that is not known."""
    by_datacenter: dict[str, int] | None = getattr(strategy, "dc_replication_factors", None)
    if by_datacenter is not None:
        return sum(by_datacenter.values()) if datacenter is None else by_datacenter.get(datacenter, 0)
    factor: int | None = getattr(strategy, "replication_factor", None)
    return factor


def _setting(request: Request, level: int) -> str:
    if request.query.consistency_level is not None and level not in _SERIAL:
        return "consistency of the statement or its model"
    purpose = "serial" if level in _SERIAL else "read" if request.shape.is_read else "write"
    return f"clusters.{request.session.guard.cluster}.consistency.{purpose}"
