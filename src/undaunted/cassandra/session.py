"""What cqlengine takes for the driver's session: every statement of every path comes through `Session.execute`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cassandra.cluster import EXEC_PROFILE_DEFAULT, ResponseFuture
from cassandra.cqlengine.connection import NOT_SET
from cassandra.query import BatchStatement, BoundStatement, PreparedStatement, SimpleStatement

from undaunted.backend import directory
from undaunted.cassandra.operations import Shape, operation_of, shape_of
from undaunted.cassandra.request import Request
from undaunted.cassandra.results import Pages, empty
from undaunted.cassandra.scope import ORIGIN, model_policy, policy_in_force, policy_of_table
from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync

if TYPE_CHECKING:
    from undaunted.cassandra.health import Health
    from undaunted.cassandra.hedge import Hedger
    from undaunted.cassandra.link import Link
    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard

__all__ = ["Session"]

_BATCH = Shape(Operation(name="batch", kind=Kind.WRITE, needs_primary=False))


class Session:
    """Stands where the driver's session would, before and after there is one. All else is the driver's own.

    Args:
        guard: The cluster's part.
        link: The way to the driver's session.
        health: Knows which nodes are left alone.
        timeout_s: Seconds for each attempt, unless a query says otherwise.
        hosts: The contact points, for whoever asks cqlengine for them.
        hedger: Says when a second request is sent for a slow first one; None for never.
    """

    def __init__(
        self,
        guard: Guard,
        link: Link,
        health: Health,
        *,
        timeout_s: float,
        hosts: Any,
        hedger: Hedger | None = None,
    ) -> None:
        self.guard, self.link, self.health = guard, link, health
        self.hosts = hosts
        self.hedger = hedger
        self._timeout_s = timeout_s
        self._of_models: WeakKeyDictionary[type, Policy | None] = WeakKeyDictionary()
        self._of_tables: dict[str, Policy | None] = {}

    def execute(  # noqa: PLR0917  # the driver's own signature
        self,
        query: Any,
        parameters: Any = None,
        timeout: Any = NOT_SET,
        trace: bool = False,  # noqa: FBT001, FBT002  # likewise
        custom_payload: Any = None,
        execution_profile: Any = EXEC_PROFILE_DEFAULT,
        paging_state: Any = None,
        host: Any = None,
        execute_as: Any = None,
    ) -> Any:
        """Execute a statement, again after a failure where that is safe, and return its result.

        Takes what the driver's ``Session.execute`` takes. ``timeout`` is that of one attempt, in seconds.

        Raises:
            OutcomeUnknown: It may or may not have been applied.
            DeadlineExceeded: Its deadline left no time to run it again.
            NoNodeAvailable: The outage has lasted for longer than it waits for a node.
            Exhausted: Every attempt that was allowed has failed.
            Exception: The driver's own, where the request itself is wrong.
        """
        if not isinstance(query, SimpleStatement):
            if isinstance(query, str):
                query = SimpleStatement(query)
            elif isinstance(query, PreparedStatement):
                query, parameters = query.bind(parameters), None
        options: dict[str, Any] = {}
        if trace or custom_payload or paging_state is not None or host is not None or execute_as is not None:
            given = (
                ("trace", trace), ("custom_payload", custom_payload), ("paging_state", paging_state), ("host", host),
                ("execute_as", execute_as),
            )  # fmt: skip
            options.update((name, value) for name, value in given if value)
        if execution_profile is not EXEC_PROFILE_DEFAULT:
            options["execution_profile"] = execution_profile
        timeout_s = self._timeout_s if timeout is NOT_SET else timeout
        shape = _shape_of(query)
        origin = ORIGIN.get()
        if origin is not None and origin.routing is not None:
            keyspace, parts = origin.routing
            query.keyspace, query.routing_key = keyspace, list(parts)
        return self._run(
            Request(self, query, parameters, shape=shape, timeout_s=timeout_s, options=options, origin=origin)
        )

    def page_after(self, request: Request, paging_state: Any) -> Any:
        """The page of a request's rows that begins here."""
        options = {**request.options, "paging_state": paging_state}
        again = Request(
            self,
            request.query,
            request.parameters,
            shape=request.shape,
            timeout_s=request.timeout_s,
            options=options,
            origin=request.origin,
        )
        return self._run(again)

    def _run(self, request: Request) -> Any:
        operation = self._operation(request)
        policy = policy_in_force(self.guard, self._own_policy(request))
        future = sync.run(self.guard, operation, request.attempt, policy=policy)
        if future is None:
            return empty()
        if not isinstance(future, ResponseFuture):
            return future  # what settling has found out
        rows = future.result()
        return Pages(self, request, future, rows.current_rows) if future.has_more_pages else rows

    def _operation(self, request: Request) -> Operation:
        shape, query = request.shape, request.query
        operation = operation_of(shape, request.parameters)
        if shape.is_delete and operation.idempotent and self._has_counter(request):
            return replace(operation, idempotent=False)
        if query.is_idempotent and not operation.idempotent and not shape.is_conditional:
            return replace(operation, idempotent=True)  # declared by the driver's own flag
        return operation

    def _has_counter(self, request: Request) -> bool:
        """Whether it deletes from a table of counters: run twice it may undo what was counted in between."""
        origin = request.origin
        if origin is not None and origin.model is not None:
            return bool(origin.model._has_counter)  # noqa: SLF001  # cqlengine has no public name for it
        cluster = self.link.cluster
        if cluster is None or request.shape.table is None:
            return True  # not known, so not taken for harmless
        keyspace, _, table = request.shape.table.rpartition(".")
        known = cluster.metadata.keyspaces.get(keyspace)
        found = known.tables.get(table) if known is not None else None
        return found is None or any(column.cql_type == "counter" for column in found.columns.values())

    def _own_policy(self, request: Request) -> Policy | None:
        origin = request.origin
        if origin is not None and origin.model is not None:
            return self._policy_of_model(origin.model)
        table = request.shape.table
        if table is None or not directory().models(self.guard.cluster):
            return None
        if table not in self._of_tables:
            self._of_tables[table] = policy_of_table(self.guard, table)
        return self._of_tables[table]

    def _policy_of_model(self, model: type) -> Policy | None:
        try:
            return self._of_models[model]
        except KeyError:
            made = self._of_models[model] = model_policy(self.guard.cluster, model)
            return made

    def profile(self, is_read: bool, host: Any) -> Any:  # noqa: FBT001  # half of a key
        """What the driver is told of consistency for a statement on this node."""
        profiles = self.link.profiles
        if len(profiles) == 2:  # nearly always: no datacenter but home
            return profiles[is_read, None]
        return profiles.get((is_read, host.datacenter)) or profiles[is_read, None]

    def __getattr__(self, name: str) -> Any:
        """Whatever else the driver's session has; waits until there is one."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.link.awaited(), name)


def _shape_of(query: Any) -> Shape:
    if isinstance(query, BoundStatement):
        prepared: Any = query.prepared_statement
        return shape_of(prepared.query_string)
    if isinstance(query, BatchStatement):
        return _BATCH
    text = getattr(query, "query_string", None)
    return shape_of(text) if isinstance(text, str) else _BATCH
