"""The tables of these tests: the same code on any base, so that plain cqlengine can be put to the same test."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cassandra.concurrent import execute_concurrent
from cassandra.query import BatchStatement, BatchType

from undaunted.cassandra import columns

if TYPE_CHECKING:
    from cassandra.cluster import Session

__all__ = ["PARTS", "ROWS", "Tables", "define", "fill_rows"]

ROWS = 20_000
PARTS = 200
_PER_PART = ROWS // PARTS


@dataclass(frozen=True)
class Tables:
    """One set of models, on one base and one connection."""

    keyspace: str
    Item: Any
    Line: Any
    Hits: Any
    Seat: Any
    Row: Any

    def all(self) -> list[Any]:
        """Every model."""
        return [self.Item, self.Line, self.Hits, self.Seat, self.Row]


def define(base: Any, keyspace: str, **where: Any) -> Tables:
    """Define the models on `base`; `where` is what tells them their cluster."""

    made = {"__module__": __name__, "__keyspace__": keyspace, **where}

    def model(name: str, **fields: Any) -> Any:
        return type(base)(name, (base,), {**made, "__table_name__": name.lower(), **fields})

    return Tables(
        keyspace=keyspace,
        Item=model(
            "Item",
            key=columns.Text(primary_key=True),
            n=columns.Integer(),
            tags=columns.Set(columns.Text),
            prices=columns.Map(columns.Text, columns.Integer),
            log=columns.List(columns.Text),
        ),
        Line=model(
            "Line",
            order=columns.Text(primary_key=True),
            number=columns.Integer(primary_key=True, clustering_order="asc"),
            item=columns.Text(),
        ),
        Hits=model("Hits", page=columns.Text(primary_key=True), count=columns.Counter()),
        Seat=model(
            "Seat",
            number=columns.Text(primary_key=True),
            holder=columns.Text(),
            version=columns.Integer(),
            token=columns.UUID(),
        ),
        # Only read, so that what comes back can be checked: `k` counts from 0. By itself a coordinator asks a second
        # replica as late as the slowest hundredth of reads came back, which is seconds for a while after each fault.
        Row=model(
            "Row",
            __options__={"speculative_retry": "200ms"},
            part=columns.Integer(partition_key=True),
            k=columns.Integer(primary_key=True, clustering_order="asc"),
            text=columns.Text(),
        ),
    )


def fill_rows(session: Session, keyspace: str) -> None:
    """Write all rows, each partition as one batch; plainly, since that is not what is tested."""
    insert = session.prepare(f'INSERT INTO {keyspace}.row (part, k, "text") VALUES (?, ?, ?)')
    batches: list[tuple[Any, None]] = []
    for part, keys in itertools.groupby(range(ROWS), key=lambda k: k // _PER_PART):
        batch = BatchStatement(batch_type=BatchType.UNLOGGED)
        for k in keys:
            batch.add(insert, (part, k, f"row {k}"))
        batches.append((batch, None))
    execute_concurrent(session, batches, concurrency=16, raise_on_first_error=True)
