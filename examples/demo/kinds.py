"""What is done on each backend, and which of it can be told as unknown: the lists that ledger and display go by."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "STOCK", "Kinds"]

STOCK = 1_000_000
"""What the shop on Cassandra has of each thing when it opens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The kinds of operation of one backend.

    Attributes:
        orm: The plain side's name.
        checked_at: At what the databases are read at the end.
        writes: Kinds of writes.
        single: Kinds of which nothing in the database can make a second run harmless, so that a lost answer must be
            told as `OutcomeUnknown`. For all others undaunted may raise nothing.
        blind: Kinds whose second run sets the same and so is not seen.
    """

    orm: str
    checked_at: str
    writes: tuple[str, ...]
    single: tuple[str, ...] = ()
    blind: tuple[str, ...] = ("save changed",)
    reads: tuple[str, ...] = ("point read",)
    scans: tuple[str, ...] = ("scan",)


KINDS = {
    "mongodb": Kinds(
        orm="mongoengine",
        checked_at="majority read concern",
        writes=("save new", "save changed", "update one", "update many"),
    ),
    "cassandra": Kinds(
        orm="cqlengine",
        checked_at="consistency ALL",
        writes=("save new", "save changed", "batch", "append", "counter", "conditional"),
        single=("append", "counter", "conditional"),
        blind=("save new", "save changed", "batch"),
    ),
}
