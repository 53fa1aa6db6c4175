"""From the settings of a cluster to the keyspaces that are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.cassandra.provision.state import Use, Wanted, WantedKeyspace

if TYPE_CHECKING:
    from undaunted.config import CassandraSettings

__all__ = ["use_of", "wanted_of"]


def use_of(settings: CassandraSettings) -> Use:
    """How the application uses a cluster, by its settings."""
    return Use(
        keyspace=settings.keyspace,
        home=settings.local_datacenter,
        remote=tuple(settings.remote_datacenters),
        read=settings.consistency.read,
        write=settings.consistency.write,
        serial=settings.consistency.serial,
    )


def wanted_of(settings: CassandraSettings) -> Wanted:
    """Every keyspace of ``provision.keyspaces``; without any, the cluster's ``keyspace``."""
    keyspaces = [
        WantedKeyspace(name=name, strategy=given.strategy, factor=given.factor, durable_writes=given.durable_writes)
        for name, given in settings.provision.keyspaces.items()
    ]
    if not keyspaces and settings.keyspace is not None:
        keyspaces = [WantedKeyspace(name=settings.keyspace)]
    return Wanted(cluster=settings.name, keyspaces=tuple(keyspaces), use=use_of(settings))
