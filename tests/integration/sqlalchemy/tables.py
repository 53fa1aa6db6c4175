"""The tables of these tests: the same code on any base, so that plain SQLAlchemy can be put to the same test."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, mapped_column

__all__ = ["COUNTERS", "ROWS", "Tables", "define", "make_tables"]

ROWS = 500
COUNTERS = 3
"""Two threads of the load share each, so that they wait for each other's row locks."""


@dataclass(frozen=True)
class Tables:
    """One set of models on one base.

    Attributes:
        Base: Their base.
        Entry: Numbered by the server; nothing in the table forbids the same mark twice, so a re-run shows.
        Note: With a key made by the client, afresh each time that its function runs.
        Counter: Locked, read and written back.
        Row: Only read, so that what comes back can be checked.
    """

    Base: Any
    Entry: Any
    Note: Any
    Counter: Any
    Row: Any


def define(base: Any) -> Tables:
    """Define the models on `base`, which tells them their cluster."""

    class Entry(base):
        __tablename__ = "entry"
        id = mapped_column(sa.BigInteger, primary_key=True)
        mark = mapped_column(sa.Text, nullable=False)

    class Note(base):
        __tablename__ = "note"
        id = mapped_column(sa.Uuid, primary_key=True, default=uuid.uuid4)
        mark = mapped_column(sa.Text, nullable=False, index=True)  # never unique: a row that is there twice shows

    class Counter(base):
        __tablename__ = "counter"
        name = mapped_column(sa.Text, primary_key=True)
        n = mapped_column(sa.BigInteger, nullable=False)

    class Row(base):
        __tablename__ = "fixed_row"
        k = mapped_column(sa.Integer, primary_key=True)
        text = mapped_column(sa.Text, nullable=False)

    return Tables(base, Entry, Note, Counter, Row)


def make_tables(url: Any, tables: Tables) -> None:
    """Make the tables and the rows that are only read, with plain SQLAlchemy: that is not what is tested."""
    engine = sa.create_engine(url)
    try:
        tables.Base.metadata.drop_all(engine)
        tables.Base.metadata.create_all(engine)
        with Session(engine) as session, session.begin():
            session.add_all(tables.Row(k=k, text=f"row {k}") for k in range(ROWS))
    finally:
        engine.dispose()
