"""Cassandra through cqlengine, kept undaunted: model bases, batches, schema, errors, and the session beneath them.

May import `undaunted.backend` and what that stands on, and cassandra-driver; never another backend, and the registry
only through `undaunted.backend.directory`.
"""

from __future__ import annotations

from undaunted.cassandra import seams

seams.check_driver()

from cassandra.cqlengine import columns, usertype  # noqa: E402  # a driver that cannot be used is told in a sentence
from cassandra.cqlengine.management import (  # noqa: E402
    create_keyspace_network_topology,
    create_keyspace_simple,
    drop_keyspace,
    drop_table,
    sync_table,
    sync_type,
)
from cassandra.cqlengine.named import NamedKeyspace, NamedTable  # noqa: E402
from cassandra.cqlengine.query import BatchType, ContextQuery  # noqa: E402

from undaunted.cassandra.batch import BatchQuery  # noqa: E402
from undaunted.cassandra.errors import (  # noqa: E402
    BudgetExhausted,
    CredentialsRefused,
    DeadlineExceeded,
    Exhausted,
    ImpossibleConsistency,
    NoNodeAvailable,
    OutcomeUnknown,
    UnknownKeyspace,
    UnusableCluster,
)
from undaunted.cassandra.models import Model, ModelMixin  # noqa: E402
from undaunted.cassandra.progress import Synced  # noqa: E402
from undaunted.cassandra.schema import SyncError, sync  # noqa: E402

__all__ = [
    "BatchQuery",
    "BatchType",
    "BudgetExhausted",
    "ContextQuery",
    "CredentialsRefused",
    "DeadlineExceeded",
    "Exhausted",
    "ImpossibleConsistency",
    "Model",
    "ModelMixin",
    "NamedKeyspace",
    "NamedTable",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "SyncError",
    "Synced",
    "UnknownKeyspace",
    "UnusableCluster",
    "columns",
    "create_keyspace_network_topology",
    "create_keyspace_simple",
    "drop_keyspace",
    "drop_table",
    "sync",
    "sync_table",
    "sync_type",
    "usertype",
]
