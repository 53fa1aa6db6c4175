"""Reads rows: goes over partitions and rows in the order of the ring, filters, limits and cuts into pages."""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql.aggregates import AGGREGATES, aggregate
from undaunted.testing.cql.errors import Invalid
from undaunted.testing.cql.found import Found, found_row
from undaunted.testing.cql.paging import Place
from undaunted.testing.cql.result import Rows
from undaunted.testing.cql.selectors import readers, result_columns
from undaunted.testing.cql.types import scalar
from undaunted.testing.cql.where import FILTERING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from undaunted.testing.cql.rows import Partition
    from undaunted.testing.cql.schema import Table
    from undaunted.testing.cql.statements import Select, Term
    from undaunted.testing.cql.values import Bound
    from undaunted.testing.cql.where import Where

__all__ = ["select"]


def select(
    table: Table,
    statement: Select,
    where: Where,
    bound: Bound,
    *,
    now_s: float,
    page_size: int | None,
    paging_state: bytes | None,
) -> Rows:
    """Run a SELECT.

    Raises:
        Invalid: It cannot be run as it stands.
        ProtocolError: The paging state is none.
    """
    if where.filters and not statement.filtering and table.rows_of is None:
        raise Invalid(FILTERING)
    columns = result_columns(table, statement)
    place = Place.read(paging_state, table) if paging_state is not None and table.rows_of is None else None
    scan = _Scan(
        table=table,
        statement=statement,
        where=where,
        now_s=now_s,
        place=place,
        limit=_number(statement.limit, bound, "LIMIT"),
        partition_limit=1 if statement.distinct else _number(statement.partition_limit, bound, "PER PARTITION LIMIT"),
    )
    if any(selector.function in AGGREGATES for selector in statement.selectors):
        values = [each.values for each in scan.rows()]
        row = [aggregate(table, selector, values) for selector in statement.selectors]
        return Rows(columns, [row], keyspace=table.keyspace, table=table.name)
    page, state = scan.page(page_size)
    read = readers(table, statement, now_s)
    rows = [[each(row) for each in read] for row in page]
    return Rows(columns, rows, keyspace=table.keyspace, table=table.name, paging_state=state)


def _number(term: Term | None, bound: Bound, what: str) -> int | None:
    if term is None:
        return None
    number = int(bound.given(term, scalar("int"), f"[{what.lower()}]"))
    if number <= 0:
        raise Invalid(f"{what} must be strictly positive")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scan:
    """A SELECT with its values.

    Attributes:
        place: The last row of the page before; None for the first page.
    """

    table: Table
    statement: Select
    where: Where
    now_s: float
    place: Place | None
    limit: int | None
    partition_limit: int | None

    def page(self, size: int | None) -> tuple[list[Found], bytes | None]:
        """One page of rows, and where the next one begins."""
        left = self.limit if self.place is None else self.place.left
        rows = itertools.islice(self.rows(), left)
        if not size or size < 0 or self.table.rows_of is not None or self._merges:
            return list(rows), None
        page = list(itertools.islice(rows, size))
        if next(rows, None) is None or page[-1].partition is None:
            return page, None
        return page, self._place(page, page[-1], page[-1].partition, left).write(self.table)

    def _place(self, page: list[Found], last: Found, partition: Partition, left: int | None) -> Place:
        before = self.place
        taken = sum(1 for each in page if each.partition is partition)
        if before is not None and before.key == partition.key:
            taken += before.taken
        return Place(
            page=1 if before is None else before.page + 1,
            left=None if left is None else left - len(page),
            taken=taken,
            key=partition.key,
            clustering=last.clustering,
        )

    def rows(self) -> Iterator[Found]:
        """Rows in order, behind `place`, without the limit of all."""
        if self.table.rows_of is not None:
            return (Found(dict(values)) for values in self.table.rows_of() if self.where.lets(values))
        backwards = self._backwards()
        if not self._merges:
            return self._by_partition(backwards=backwards)
        order = self.table.clustering_order
        rows = self._by_partition(backwards=backwards)
        return iter(sorted(rows, key=lambda each: order(each.clustering or ()), reverse=backwards))

    @property
    def _merges(self) -> bool:
        """Whether rows of several partitions are sorted together."""
        return bool(self.statement.order) and self.where.keys is not None and len(self.where.keys) > 1

    def _by_partition(self, *, backwards: bool) -> Iterator[Found]:
        for partition in self._partitions():
            taken = self.place.taken if self.place is not None and self.place.key == partition.key else 0
            left = None if self.partition_limit is None else max(0, self.partition_limit - taken)
            yield from itertools.islice(self._of(partition, backwards=backwards), left)

    def _backwards(self) -> bool:
        """Whether ORDER BY turns the order of the table round."""
        if not self.statement.order:
            return False
        if self.where.keys is None:
            raise Invalid("ORDER BY is only supported when the partition key is restricted by an EQ or an IN.")
        turned: set[bool] = set()
        for (name, descending), column in zip(self.statement.order, self.table.clustering, strict=False):
            if name != column.name:
                raise Invalid(f"Order by only supports columns in their declared order in the PRIMARY KEY, not {name}")
            turned.add(descending != column.descending)
        if len(turned) != 1 or len(self.statement.order) > len(self.table.clustering):
            raise Invalid("Unsupported order by relation")
        return turned.pop()

    def _partitions(self) -> Iterator[Partition]:
        table, named = self.table, self.where.keys
        if named is None:
            order: Iterable[tuple[int, bytes, tuple[Any, ...]]] = table.order
        else:
            order = sorted((table.token(key), table.packed_key(key), key) for key in named if key in table.partitions)
        if self.place is not None:
            packed = table.packed_key(self.place.key)
            start = (table.token(self.place.key), packed)
            places = list(order) if named is not None else table.order
            order = places[bisect.bisect_left(places, start, key=lambda each: each[:2]) :]
        for token, _, key in order:
            if all(test(token) for test in self.where.tokens):
                yield table.partitions[key]

    def _of(self, partition: Partition, *, backwards: bool) -> Iterator[Found]:
        """Rows of one partition."""
        behind = self.place if self.place is not None and self.place.key == partition.key else None
        seen = False
        for clustering in self._clusterings(partition, behind, backwards=backwards):
            found = found_row(self.table, partition, clustering, self.now_s)
            if found is not None:
                seen = True
                if self.where.lets(found.values):
                    yield found
        if not seen and behind is None:
            yield from self._static(partition)

    def _static(self, partition: Partition) -> Iterator[Found]:
        """The row of a partition that has static columns alone, with null for all others."""
        restricted = any(column.name in self.where.columns for column in self.table.clustering)
        if restricted or not self.table.clustering or not partition.static.is_live(self.now_s, partition.deleted):
            return
        if any(found_row(self.table, partition, each, self.now_s) for each in partition.rows):
            return
        alone = found_row(self.table, partition, None, self.now_s)
        if alone is not None and self.where.lets(alone.values):
            yield alone

    def _clusterings(self, partition: Partition, behind: Place | None, *, backwards: bool) -> list[tuple[Any, ...]]:
        order = partition.order
        if self.where.rows is not None:
            named = [row for row in self.where.rows if row in partition.rows]
            order = sorted(((self.table.clustering_order(row), row) for row in named), key=lambda each: each[:1])
        if behind is not None:
            if behind.clustering is None:
                return []
            at = (self.table.clustering_order(behind.clustering),)
            cut = bisect.bisect_left if backwards else bisect.bisect_right
            index = cut(order, at, key=lambda each: each[:1])
            order = order[:index] if backwards else order[index:]
        rows = [clustering for _, clustering in order]
        return rows[::-1] if backwards else rows
