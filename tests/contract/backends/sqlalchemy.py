"""SQLAlchemy and psycopg on a real PostgreSQL server behind a gate, which does what a server cannot be made to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc, orm
from tests.contract.backends.postgres_gate import PostgresGate
from tests.contract.backends.side import CLUSTER

import undaunted
from undaunted.sqlalchemy import DeclarativeBase, Session, engine, errors, unit_of_work

if TYPE_CHECKING:
    from undaunted.lab import PostgresLab

TEXTS = {"read": "SELECT items", "save": "INSERT INTO items", "count": "UPDATE counts"}
SCHEMA = """
CREATE TABLE IF NOT EXISTS items (key integer PRIMARY KEY, value integer NOT NULL);
CREATE TABLE IF NOT EXISTS counts (key integer PRIMARY KEY, value integer NOT NULL);
CREATE TABLE IF NOT EXISTS undaunted_keys (key uuid PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now());
TRUNCATE items, counts, undaunted_keys;
INSERT INTO counts VALUES (1, 0);
"""


class SQLAlchemySide:
    backend = "sqlalchemy"
    errors = errors
    hung_write = undaunted.DeadlineExceeded
    lively_s = 10.0
    native = dict.fromkeys(("OutcomeUnknown", "DeadlineExceeded", "NoNodeAvailable", "Exhausted"), exc.OperationalError)

    def __init__(self, lab: PostgresLab) -> None:
        self.lab = lab
        with lab.connect("n1") as connection:
            connection.execute(SCHEMA)
        node = lab.node("n1")
        self.gate = PostgresGate(node.host, node.port)
        self.stopped = False

    def close(self) -> None:
        self.gate.goes_on.set()
        self.gate.stop()

    def settings(self, **changes: Any) -> dict[str, Any]:
        declared = self.lab.settings_for(CLUSTER)
        declared["clusters"][CLUSTER] |= {"nodes": [self.gate.address], "connect_timeout": "500ms", **changes}
        return declared

    def model(self, **declared: Any) -> Any:
        class Base(DeclarativeBase):
            __undaunted__ = {"cluster": CLUSTER, **declared}

        class Item(Base):
            __tablename__ = "items"
            key: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
            value: orm.Mapped[int]

        class Count(Base):
            __tablename__ = "counts"
            key: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
            value: orm.Mapped[int]

        Item.counts = Count
        Item.DoesNotExist = exc.NoResultFound
        return Item

    def registered(self) -> bool:
        """Whether there is an engine of this name; asking for it connects to nothing."""
        try:
            return engine(CLUSTER) is not None
        except undaunted.ConfigurationError:
            return False

    def asked(self) -> int:
        return self.gate.accepted

    def arrived(self, what: str) -> int:
        return sum(text.startswith(TEXTS[what]) for text in self.gate.orders.arrived)

    def addresses(self) -> list[str]:
        return [self.gate.address]

    def save(self, model: Any, key: int, value: int) -> None:
        """A unit of work with its key row, which may run again whatever became of its COMMIT."""

        @unit_of_work(model)
        def save(session: Any) -> None:
            session.execute(sa.delete(model).where(model.key == key))
            session.add(model(key=key, value=value))

        save()

    def read(self, model: Any, key: int) -> int:
        with Session(model, readonly=True) as session:
            return int(session.get_one(model, key).value)

    def count(self, model: Any, key: int) -> None:
        """A unit of work that only updates, and has given up its key row: nothing shows what became of its COMMIT."""

        @unit_of_work(model, key="free")
        def count(session: Any) -> None:
            session.execute(sa.update(model.counts).where(model.counts.key == key).values(value=model.counts.value + 1))

        count()

    def counted(self, model: Any, key: int) -> int:
        with self.lab.connect("n1") as connection:
            found = connection.execute("SELECT value FROM counts WHERE key = %s", [key]).fetchone()
            return int(found[0]) if found is not None else 0

    def wrong(self, model: Any) -> tuple[Any, type[BaseException]]:
        def ask() -> Any:
            with Session(model, readonly=True) as session:
                return session.execute(sa.text("SELECT nonsense FROM items"))

        return ask, exc.ProgrammingError

    def lose_reply(self, what: str, times: int = 1) -> None:
        self.gate.orders.lost += [TEXTS[what]] * times

    def refuse(self, what: str, times: int) -> None:
        self.gate.orders.refused += [TEXTS[what]] * times

    def hang(self) -> None:
        self.gate.goes_on.clear()

    def stop(self) -> None:
        self.gate.stop()
        self.stopped = True

    def go_on(self) -> None:
        self.gate.goes_on.set()
        if self.stopped:
            self.gate.start()
        self.stopped = False
