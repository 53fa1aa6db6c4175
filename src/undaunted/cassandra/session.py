"""What cqlengine takes for the driver's session: every statement of every path comes through `Session.execute`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cassandra.cluster import EXEC_PROFILE_DEFAULT
from cassandra.cqlengine.connection import NOT_SET
from cassandra.query import BatchStatement, BoundStatement, PreparedStatement, SimpleStatement

from undaunted.cassandra.operations import Shape, operation_of, shape_of
from undaunted.cassandra.places import place_of
from undaunted.cassandra.request import Request
from undaunted.cassandra.results import Pages
from undaunted.cassandra.scope import ORIGIN, policy_in_force, policy_of_table
from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync
from undaunted.engine.call import CURRENT, Call
from undaunted.engine.context import IN_FORCE

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        has_models: Whether ``[models]`` says anything of single models.
        hedger: Says when a second request is sent for a slow first one; None for never.

    Attributes:
        is_undaunted: True; the driver's own has no such name.
    """

    is_undaunted = True

    def __init__(
        self,
        guard: Guard,
        link: Link,
        health: Health,
        *,
        timeout_s: float,
        hosts: Any,
        hedger: Hedger | None = None,
        has_models: bool = False,
    ) -> None:
        self.guard, self.link, self.health = guard, link, health
        self.hosts = hosts
        self.hedger = hedger
        self._timeout_s = timeout_s
        self._has_models = has_models
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
        if isinstance(query, str):
            query = SimpleStatement(query)
        elif isinstance(query, PreparedStatement):
            query, parameters = query.bind(parameters), None
        origin = ORIGIN.get()
        if origin is not None and origin.routing is not None:
            keyspace, parts = origin.routing
            query.keyspace, query.routing_key = keyspace, list(parts)
        model, statement = (None, None) if origin is None else (origin.model, origin.statement)
        shape = _shape_of(query)
        policy = self._policy_of(model, shape)
        if trace or custom_payload or paging_state or host or execute_as or execution_profile != EXEC_PROFILE_DEFAULT:
            given = (
                ("trace", trace), ("custom_payload", custom_payload), ("paging_state", paging_state), ("host", host),
                ("execute_as", execute_as),
                ("execution_profile", None if execution_profile == EXEC_PROFILE_DEFAULT else execution_profile),
            )  # fmt: skip
            timeout_s = self._timeout_s if timeout is NOT_SET else timeout
            request = Request(
                self, query, parameters, shape=shape, timeout_s=timeout_s, model=model, statement=statement,
                options={name: value for name, value in given if value},
            )  # fmt: skip
            return self._run(request, policy)
        return self.begin(query, parameters, timeout, shape=shape, policy=policy, model=model, statement=statement)

    def begin(
        self,
        query: Any,
        parameters: Any,
        timeout: Any,
        *,
        shape: Shape,
        policy: Policy | None,
        model: Any,
        statement: Any,
    ) -> Any:
        """Execute a statement of the driver's: the first attempt with nothing between the driver and the caller.

        There is neither a request nor a call of ours before it has failed.

        Args:
            query: The driver's statement.
            parameters: Its values.
            timeout: Seconds for each attempt; ``NOT_SET`` for that of the cluster.
            shape: What its text says of it.
            policy: Its model's own; None where the cluster's holds.
            model: Whose statement it is, and
            statement: cqlengine's object of it; None for untouched models and raw text.

        Raises:
            Exception: As `execute`.
        """
        link, guard = self.link, self.guard
        timeout_s = self._timeout_s if timeout is NOT_SET else timeout
        driver = link.session
        host = None
        if (
            driver is not None
            and self.hedger is None
            and guard.outage.is_over
            and not shape.is_definition
            and IN_FORCE.get() is None
            and CURRENT.get() is None
        ):
            host = link.policy.nearest(query)
        if driver is None or host is None:
            request = self._request(query, parameters, timeout_s, shape, model, statement)
            return self._run(request, policy)
        deadline_s = (policy or guard.policy).deadline_s
        attempt_s = deadline_s if timeout_s is None or timeout_s > deadline_s else timeout_s
        profiles = link.profiles  # nearly always there is no datacenter but home
        profile = profiles[shape.is_read, None] if len(profiles) == 2 else self.profile(shape.is_read, host)
        began_s = guard.clock.monotonic()
        future = driver.execute_async(query, parameters, False, None, attempt_s, profile, None, host)  # noqa: FBT003
        try:
            rows = future.result()
        except Exception as error:  # noqa: BLE001  # the table says what it means
            failed = error
        else:
            self.health.took_s[host] = guard.clock.monotonic() - began_s
            if not guard.budget.is_full:
                guard.budget.deposit()
            if not future.has_more_pages:
                return rows
            return self._paged(self._request(query, parameters, timeout_s, shape, model, statement), rows)
        request = self._request(query, parameters, timeout_s, shape, model, statement)
        request.go_on_behind(host, future)
        call = Call(guard, self._operation(request), policy or guard.policy, began_s=began_s)
        failed = request.note(failed, future, host, call)
        return self._paged(request, sync.go_on(call, request.attempt, failed))

    def _request(  # noqa: PLR0917  # as `begin` has them
        self, query: Any, parameters: Any, timeout_s: float | None, shape: Shape, model: Any, statement: Any
    ) -> Request:
        return Request(self, query, parameters, shape=shape, timeout_s=timeout_s, model=model, statement=statement)

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
            model=request.model,
            statement=request.statement,
        )
        return self._run(again, self._policy_of(request.model, request.shape))

    def _run(self, request: Request, own: Policy | None) -> Any:
        policy = policy_in_force(self.guard, own)
        return self._paged(request, sync.run(self.guard, self._operation(request), request.attempt, policy=policy))

    def _paged(self, request: Request, rows: Any) -> Any:
        return Pages(self, request, rows.response_future, rows.current_rows) if rows.has_more_pages else rows

    def _operation(self, request: Request) -> Operation:
        shape, query = request.shape, request.query
        operation = operation_of(shape, request.parameters)
        if operation.idempotent and (shape.deletes or shape.subscripts) and not self._is_harmless(request):
            return replace(operation, idempotent=False)
        if query.is_idempotent and not operation.idempotent and not shape.is_conditional:
            return replace(operation, idempotent=True)  # declared by the driver's own flag
        return operation

    def _is_harmless(self, request: Request) -> bool:
        """Whether it neither deletes what may be counted in between, nor writes an element of a list, which moves."""
        model, shape = request.model, request.shape
        if model is not None:
            return not (shape.deletes and model._has_counter)  # noqa: SLF001  # cqlengine has no other name for it
        for table in shape.deletes:
            columns = self._columns(table)
            if columns is None or any(column.cql_type == "counter" for column in columns.values()):
                return False
        for table, name in shape.subscripts:
            columns = self._columns(table)
            if columns is None or name not in columns or not columns[name].cql_type.startswith("map<"):
                return False
        return True

    def _columns(self, table: str) -> Mapping[str, Any] | None:
        """The columns of ``keyspace.table`` as the driver knows them; None where it does not."""
        cluster = self.link.cluster
        keyspace, _, name = table.rpartition(".")
        known = cluster.metadata.keyspaces.get(keyspace) if cluster is not None else None
        found = known.tables.get(name) if known is not None else None
        return None if found is None else found.columns

    def _policy_of(self, model: Any, shape: Shape) -> Policy | None:
        if model is not None:
            return place_of(model).policy
        table = shape.table
        if table is None or not self._has_models:
            return None
        if table not in self._of_tables:
            self._of_tables[table] = policy_of_table(self.guard, table)
        return self._of_tables[table]

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
