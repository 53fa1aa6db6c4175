"""What a unit of work is, all its attempts included: where it happens, how it is settled, and what it returned."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from undaunted.core.operation import Kind, Operation
from undaunted.sqlalchemy.errors import UnusableCluster
from undaunted.sqlalchemy.keys import fresh_key, table_of
from undaunted.sqlalchemy.memory import Memory
from undaunted.sqlalchemy.tokens import note_commit

if TYPE_CHECKING:
    import sqlalchemy as sa

    from undaunted.sqlalchemy.cluster import Cluster
    from undaunted.sqlalchemy.free import FreeKey

__all__ = ["Terms", "Unit"]

_NO_KEY = uuid.UUID(int=0)


class _UnitOperation(Operation):
    """Whatever is declared, an unknown outcome is settled and not simply run again."""

    @property
    def is_repeatable(self) -> bool:
        return False


_WRITING = _UnitOperation(name="transaction", kind=Kind.UNIT_OF_WORK, settleable=True)
_READING = Operation(name="transaction", kind=Kind.READ, needs_primary=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a unit of work was declared to be.

    Attributes:
        target: A base, a mapped class, or the name of a cluster.
        key: How a lost COMMIT is settled.
        readonly: Whether it only reads.
        isolation: Its isolation level; None means that of the engine.
    """

    target: Any
    key: Literal["row", "free"] = "row"
    readonly: bool = False
    isolation: str | None = None


class Unit:
    """One unit of work, all its attempts included.

    Attributes:
        cluster: Where it happens.
        terms: What it was declared to be.
        key: What stands in the table of keys once it has been applied.
        table: That table; not set where there is no key row.
        memory: The objects from outside.
        value: What the function returned in the attempt whose COMMIT was handed over last.
        free: What shows whether that attempt was applied, where there is no key row.
        has_key_row: Whether each attempt inserts its key first.
        is_handed_over: Whether the last attempt has handed its COMMIT over.
        is_async: Whether it is a coroutine function.
        runs: Attempts so far.
    """

    __slots__ = (
        "cluster", "free", "has_key_row", "is_async", "is_handed_over", "key", "memory", "runs", "table", "terms",
        "value",
    )  # fmt: skip

    table: sa.Table

    def __init__(self, cluster: Cluster, terms: Terms, objects: list[object], *, is_async: bool) -> None:
        if terms.key == "free" and not terms.readonly and not cluster.is_postgresql:
            raise UnusableCluster(
                f'Cluster {cluster.name!r} is no PostgreSQL, which key="free" needs: only there it is known when a '
                'lost COMMIT has come to its end. Use key="row".'
            )
        self.cluster = cluster
        self.terms = terms
        self.is_async = is_async
        self.has_key_row = terms.key == "row" and not terms.readonly
        self.key = fresh_key() if self.has_key_row else _NO_KEY
        if self.has_key_row:
            self.table = table_of(terms.target)
        self.memory = Memory(objects)
        self.runs = 0
        self.is_handed_over = False
        self.value: Any = None
        self.free: FreeKey | None = None

    @property
    def operation(self) -> Operation:
        """What the engine is told of it."""
        return _READING if self.terms.readonly else _WRITING

    @property
    def is_key_with_statement(self) -> bool:
        """Whether the key travels with the function's first statement, so that nothing has to be done before.

        That is so where nothing can come of it: in the first attempt nobody else can have the key, and the table is
        known to be there. Later attempts must know whether the key is taken before the function runs.
        """
        return not self.has_key_row or (self.runs == 1 and self.table.fullname in self.cluster.key_tables)

    @property
    def can_be_settled(self) -> bool:
        """Whether anything shows what became of the attempt whose COMMIT was handed over last."""
        return self.has_key_row or (self.free is not None and self.free.has_row)

    def applied_before(self) -> Any:
        """What the attempt had returned whose key stands in the table already."""
        if self.runs <= 1:
            raise RuntimeError("a key that was made for this unit of work alone stands in the table of keys already")
        note_commit(self.cluster.name)
        return self.value
