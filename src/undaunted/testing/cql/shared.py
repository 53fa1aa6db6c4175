"""What the nodes of one cluster have in common."""

from __future__ import annotations

import itertools
import threading
import uuid
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql import replicas
from undaunted.testing.cql.errors import FakeCassandraError
from undaunted.testing.cql.journal import Journal
from undaunted.testing.cql.scripts import Scripts

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Sequence

    from undaunted.testing.cql.database import Database
    from undaunted.testing.cql.loop import LoopThread
    from undaunted.testing.cql.node import FakeNode
    from undaunted.testing.cql.result import SchemaChange
    from undaunted.testing.cql.schema import Table

__all__ = ["Shared"]


class Shared:
    """The store, the journal, the scripts and the thread of a cluster.

    Attributes:
        credentials: User and password; None where nobody is asked.
        check_replicas: Whether too few replicas for a consistency matter.
        schema_version: Of the schema as it is.
        nodes: All nodes, once they are made.
    """

    def __init__(
        self,
        database: Database,
        thread: LoopThread,
        *,
        credentials: tuple[str, str] | None,
        check_replicas: bool,
    ) -> None:
        self.database = database
        self.thread = thread
        self.credentials = credentials
        self.check_replicas = check_replicas
        self.journal = Journal()
        self.scripts = Scripts()
        self.schema_version = uuid.uuid4()
        self.nodes: Sequence[FakeNode] = ()
        self._requests = itertools.count(1)
        self._connections = itertools.count(1)
        self._lock = threading.Lock()
        self._failures: list[BaseException] = []

    def next_request(self) -> int:
        """The number of one more request."""
        return next(self._requests)

    def next_connection(self) -> int:
        """The number of one more connection."""
        return next(self._connections)

    def check(
        self,
        table: Table,
        keys: Sequence[tuple[Any, ...]] | None,
        consistency: str,
        home: str,
    ) -> None:
        """Refuse what too few replicas are alive for.

        Args:
            table: What is read or written.
            keys: Of the partitions; None for all.
            consistency: By its name.
            home: The datacenter of the coordinator.

        Raises:
            Unavailable: That is so.
        """
        if self.check_replicas:
            members = [node.member for node in self.nodes]
            tokens = [member.token for member in members] if keys is None else [table.token(key) for key in keys]
            replication = self.database.schema.keyspace(table.keyspace).replication
            replicas.check(consistency, replication, tokens, members, home)

    def schema_changed(self, change: SchemaChange) -> None:
        """A new version of the schema: the nodes that are up have it at once, the others once they are."""
        self.schema_version = uuid.uuid4()
        for node in self.nodes:
            if node.state in {"up", "binary disabled"}:
                node.member.schema_version = self.schema_version
            node.push("SCHEMA_CHANGE", change.encode())

    def failed_in_loop(self, _loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what the event loop caught."""
        self.failed(context.get("exception") or FakeCassandraError(context["message"]))

    def failed(self, error: BaseException | None) -> None:
        """Keep what went wrong in the fake itself, for the test."""
        if error is not None:
            with self._lock:
                self._failures.append(error)

    def failures(self) -> list[BaseException]:
        """What has gone wrong so far."""
        with self._lock:
            return list(self._failures)
