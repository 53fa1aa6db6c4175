"""Two small databases for the tests of units of work, and contention that is real."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import orm

import undaunted
from undaunted.sqlalchemy import DeclarativeBase
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from pathlib import Path


class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}


class Order(Base):
    __tablename__ = "orders"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    total: orm.Mapped[int]
    notes: orm.Mapped[dict[str, Any]] = orm.mapped_column(sa.JSON, default=dict)
    lines: orm.Mapped[list[Line]] = orm.relationship(back_populates="order")


class Line(Base):
    __tablename__ = "lines"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    order_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("orders.id"))
    order: orm.Mapped[Order] = orm.relationship(back_populates="lines")


class Archive(DeclarativeBase):
    __undaunted__ = {"cluster": "archive"}


class Record(Archive):
    __tablename__ = "records"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    text: orm.Mapped[str]


def configure(path: Path, **options: Any) -> None:
    """Declare both databases and make their tables."""
    undaunted.configure(
        {
            "clusters": {
                name: {
                    "backend": "sqlalchemy",
                    "url": f"sqlite:///{path}/{name}.db",
                    "options": {"connect_args": {"timeout": 0}, **options},
                }
                for name in ("ledger", "archive")
            }
        }
    )
    for base in (Base, Archive):
        base.metadata.create_all(cluster_of(base).writer)


class Contention:
    """Raises SQLite's own "database is locked", of a database that really is, as often as it is told."""

    def __init__(self, path: Path, times: int) -> None:
        self.left = times
        self._holder = sqlite3.connect(path / "held.db", isolation_level=None)
        self._holder.execute("CREATE TABLE IF NOT EXISTS t (x)")
        self._holder.execute("BEGIN EXCLUSIVE")
        self._engine = sa.create_engine(
            f"sqlite:///{path}/held.db", connect_args={"timeout": 0}, poolclass=sa.pool.NullPool
        )

    def meet(self) -> None:
        if self.left > 0:
            self.left -= 1
            with self._engine.connect() as connection:
                connection.execute(sa.text("INSERT INTO t VALUES (1)"))
            raise AssertionError("the database was not locked")

    def end(self) -> None:
        self._holder.close()


def rows(base: Any, what: Any) -> list[Any]:
    """What another connection sees."""
    with cluster_of(base).writer.connect() as connection:
        return list(connection.execute(sa.select(what)).scalars())


def keys(base: Any) -> int:
    """How many keys are in the table of keys."""
    return len(rows(base, base.metadata.tables["undaunted_keys"].c.key))
