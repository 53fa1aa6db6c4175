"""Runs statements on the one store that all nodes share."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.changes import plan
from undaunted.testing.cql.conditions import apply
from undaunted.testing.cql.definitions import define
from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.markers import key_markers, markers
from undaunted.testing.cql.parser import parse
from undaunted.testing.cql.result import Prepared, Rows, SetKeyspace, Void
from undaunted.testing.cql.rows import Stamp
from undaunted.testing.cql.schema import Schema
from undaunted.testing.cql.select import select
from undaunted.testing.cql.selectors import result_columns
from undaunted.testing.cql.statements import Batch, Delete, Insert, Select, Truncate, Update, Use
from undaunted.testing.cql.system import about_schema
from undaunted.testing.cql.types import scalar
from undaunted.testing.cql.values import Bound
from undaunted.testing.cql.where import read_where

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.testing.cql.changes import Plan
    from undaunted.testing.cql.result import Result
    from undaunted.testing.cql.schema import Keyspace, Table
    from undaunted.testing.cql.statements import Change, Name, Statement
    from undaunted.testing.cql.wire import Unset

    Check = Callable[[Table, Sequence[tuple[Any, ...]] | None, bool], None]

__all__ = ["Context", "Database", "Done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a request says beside its text.

    Attributes:
        keyspace: That the session uses.
        timestamp: Of the writes, in microseconds; None leaves it to the server.
        page_size: Rows a page; None for all at once.
        paging_state: Where to go on.
        system: The keyspace ``system`` of the node that was asked.
        check: Refuses what too few replicas are alive for, given a table, the keys of the partitions (None for all)
            and whether a condition is decided; None checks nothing.
    """

    keyspace: str | None = None
    timestamp: int | None = None
    page_size: int | None = None
    paging_state: bytes | None = None
    system: Keyspace | None = None
    check: Check | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a statement.

    Attributes:
        result: What to answer.
        applied: Whether it changed anything: False for a read, and for a condition that did not hold.
        timestamp: What its writes carry; None for what writes none.
    """

    result: Result
    applied: bool = False
    timestamp: int | None = None


class Database:
    """The store.

    Args:
        now_s: The clock that ends what has a time to live; seconds since 1970.
        datacenters: That a replication may name; empty lets it name any.
    """

    def __init__(self, now_s: Callable[[], float] = time.time, datacenters: Sequence[str] = ()) -> None:
        self.schema = Schema(datacenters)
        self._now_s = now_s
        self._latest = 0
        self._system = {keyspace.name: keyspace for keyspace in about_schema(self.schema)}

    def table(self, name: Name, context: Context) -> Table:
        """A table of the store or of the system.

        Raises:
            Invalid: There is none.
        """
        owner = name.keyspace or context.keyspace
        system = context.system if owner == "system" else self._system.get(owner or "")
        if system is None:
            return self.schema.table(name, context.keyspace)
        found = system.tables.get(name.name)
        if found is None:
            raise Invalid(f"table {name.name} does not exist")
        return found

    def run(self, text: str, context: Context, values: Sequence[bytes | Unset | None] = ()) -> Done:
        """Run one text.

        Raises:
            CqlError: It cannot be read or done.
        """
        statement, count = parse(text)
        if count != len(values):
            raise Invalid(f"Invalid amount of bind variables: {count} are wanted, {len(values)} given")
        bound = Bound(values)
        if isinstance(statement, Select):
            return Done(result=self._select(statement, bound, context))
        if isinstance(statement, Insert | Update | Delete):
            return self._apply([self._plan(statement, bound, context)], context)
        if isinstance(statement, Batch):
            return self._batch(statement, bound, context)
        return self._other(statement, context)

    def run_batch(
        self,
        kind: str,
        parts: Sequence[tuple[str, Sequence[bytes | Unset | None]]],
        context: Context,
    ) -> Done:
        """Run a batch whose statements came one by one, each with its values.

        Raises:
            CqlError: One cannot be read or done; then none is.
        """
        plans: list[Plan] = []
        for text, values in parts:
            statement, count = parse(text)
            if not isinstance(statement, Insert | Update | Delete):
                raise Invalid("Invalid statement in batch: only UPDATE, INSERT and DELETE statements are allowed.")
            if count != len(values):
                raise Invalid(f"Invalid amount of bind variables: {count} are wanted, {len(values)} given")
            plans.append(self._plan(statement, Bound(values), context))
        return self._apply(_checked(kind, plans), context)

    def prepare(self, text: str, context: Context) -> Prepared:
        """What a text wants and gives.

        Raises:
            CqlError: It cannot be read or prepared.
        """
        statement, count = parse(text)
        if isinstance(statement, Select | Insert | Update | Delete):
            table = self.table(statement.table, context)
            found = markers(table, statement)
            columns = result_columns(table, statement) if isinstance(statement, Select) else ()
            keys = key_markers(table, found)
            return Prepared(markers=found, key_markers=keys, columns=columns, keyspace=table.keyspace, table=table.name)
        if count:
            raise Invalid("the fake prepares markers only in SELECT, INSERT, UPDATE and DELETE")
        return Prepared(markers=(), key_markers=())

    def _select(self, statement: Select, bound: Bound, context: Context) -> Rows:
        table = self.table(statement.table, context)
        where = read_where(table, statement.where, bound)
        if context.check is not None and table.rows_of is None:
            context.check(table, where.keys, False)  # noqa: FBT003
        return select(
            table,
            statement,
            where,
            bound,
            now_s=self._now_s(),
            page_size=context.page_size,
            paging_state=context.paging_state,
        )

    def _plan(self, change: Change, bound: Bound, context: Context) -> Plan:
        return plan(self.table(change.table, context), change, bound)

    def _batch(self, statement: Batch, bound: Bound, context: Context) -> Done:
        plans = [self._plan(change, bound, context) for change in statement.changes]
        if statement.timestamp is not None:
            stamp = int(bound.given(statement.timestamp, scalar("bigint"), "[timestamp]"))
            if any(each.is_conditional for each in plans):
                raise Invalid("Cannot provide custom timestamp for conditional BATCH")
            if any(each.timestamp is not None for each in plans):
                raise Invalid("Timestamp must be set either on BATCH or individual statements")
            for each in plans:
                each.timestamp = stamp
        return self._apply(_checked(statement.kind, plans), context)

    def _apply(self, plans: Sequence[Plan], context: Context) -> Done:
        if not plans:
            return Done(result=Void())
        conditional = any(each.is_conditional for each in plans)
        if context.check is not None:
            for each in plans:
                context.check(each.table, [key for key, _ in each.rows], conditional)
        # A conditional write carries the time of its ballot, whatever the client says.
        given = None if conditional else context.timestamp
        stamp = Stamp(timestamp=self._stamp() if given is None else given, now_s=self._now_s())
        result, applied = apply(plans, stamp)
        own = plans[0].timestamp
        return Done(result=result, applied=applied, timestamp=stamp.timestamp if own is None else own)

    def _stamp(self) -> int:
        self._latest = max(self._latest + 1, int(self._now_s() * 1_000_000))
        return self._latest

    def _other(self, statement: Statement, context: Context) -> Done:
        if isinstance(statement, Use):
            if statement.keyspace not in self._system and statement.keyspace != "system":
                self.schema.keyspace(statement.keyspace)
            return Done(result=SetKeyspace(statement.keyspace))
        if isinstance(statement, Truncate):
            table = self.table(statement.table, context)
            if table.rows_of is not None:
                raise Invalid(f"{table.title} is not user-modifiable.")
            table.clear()
            return Done(result=Void(), applied=True)
        result = define(self.schema, statement, context.keyspace)
        if result is None:
            raise Invalid(f"the fake cannot run {type(statement).__name__}")
        return Done(result=result, applied=not isinstance(result, Void))


def _checked(kind: str, plans: Sequence[Plan]) -> Sequence[Plan]:
    counters = sum(each.table.is_counter for each in plans)
    if kind == "COUNTER" and counters < len(plans):
        raise Invalid("Cannot include non-counter statement in a counter batch")
    if kind == "LOGGED" and counters:
        raise Invalid("Cannot include a counter statement in a logged batch")
    if kind == "UNLOGGED" and 0 < counters < len(plans):
        raise Invalid("Counter and non-counter mutations cannot exist in the same batch")
    return plans
