"""Tells when a Cassandra cluster is well."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from undaunted.lab import cql
from undaunted.lab.node import LabNode, State

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from undaunted.lab.cassandra import CassandraLab

__all__ = ["Ring"]

_TIMEOUT_S = 10.0
_PROBE = "undaunted_lab"
_UNKNOWN = {0x2200, 0x2500}
"""What a node says of a keyspace or a table that it does not know: Invalid; Unprepared stands beside it."""


class Ring:
    """Looks whether all nodes are well, as often as it is asked, over the same connections."""

    __slots__ = ("_connections", "_lab", "_stack")

    def __init__(self, lab: CassandraLab) -> None:
        self._lab = lab
        self._stack = ExitStack()
        self._connections: dict[str, cql.Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def complaint(self) -> str | None:
        """What is wrong just now, in a few words; None if all is well."""
        unwell = next((f"{name} is {state}" for name, state in self._lab.states().items() if state != State.UP), None)
        if unwell is not None:
            return unwell
        for node in self._lab.nodes:
            try:
                complaint = self._peers(node)
            except (cql.Refused, OSError) as error:
                complaint = self._failed(node, error)
            if complaint is not None:
                return complaint
        return self._disagreement() or self._write()

    def schema_versions(self, nodes: list[LabNode]) -> set[bytes | None]:
        """The versions of the schema that these nodes have and have heard of."""
        return {
            row["schema_version"]
            for node in nodes
            for table in ("local", "peers")
            for row in self._on(node).query(f"SELECT schema_version FROM system.{table}")  # noqa: S608
        }

    def _peers(self, node: LabNode) -> str | None:
        rows = self._on(node).query("SELECT host_id, rpc_address FROM system.peers")
        whole = [row for row in rows if row["host_id"] is not None and row["rpc_address"] is not None]
        wanted = len(self._lab.nodes) - 1
        return None if len(rows) == len(whole) == wanted else f"{node.name} sees {len(whole)} of {wanted} other nodes"

    def _disagreement(self) -> str | None:
        try:
            versions = self.schema_versions(self._lab.nodes)
        except (cql.Refused, OSError) as error:
            return f"a check failed with {type(error).__name__}: {error}"
        return None if len(versions) == 1 else f"there are {len(versions)} versions of the schema"

    def _write(self) -> str | None:
        """A write at ALL from every node, so that each is proved to hold every other one for up."""
        for place, node in enumerate(self._lab.nodes):
            try:
                self._on(node).query(
                    f"INSERT INTO {_PROBE}.checkup (node, seen) VALUES ({place}, 1)",  # noqa: S608
                    consistency=cql.ALL,
                )
            except cql.Refused as error:
                if error.code not in _UNKNOWN:
                    return str(error)
                return self._make_table()
            except OSError as error:
                return self._failed(node, error)
        return None

    def _make_table(self) -> str:
        """The lab's own table, of which every node holds a copy. Only the first node makes it, so only one is made."""
        first = self._lab.nodes[0]
        try:
            self._lab.make_keyspace(self._on(first), _PROBE, None)
            self._on(first).query(f"CREATE TABLE IF NOT EXISTS {_PROBE}.checkup (node int PRIMARY KEY, seen int)")
        except (cql.Refused, OSError) as error:
            return self._failed(first, error)
        return "the table that is written to was just made"

    def _failed(self, node: LabNode, error: Exception) -> str:
        if isinstance(error, OSError):  # what comes next on this connection could be a late answer
            connection = self._connections.pop(node.name, None)
            if connection is not None:
                connection.close()
        return f"a check of {node.name} failed with {type(error).__name__}: {str(error)[:200]}"

    def _on(self, node: LabNode) -> cql.Connection:
        if node.name not in self._connections:
            self._connections[node.name] = self._stack.enter_context(self._lab.connect(node, timeout_s=_TIMEOUT_S))
        return self._connections[node.name]
