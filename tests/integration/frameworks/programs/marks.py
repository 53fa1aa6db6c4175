"""One way to write and count marks on each backend, undaunted and plain: what the applications of these tests do.

Settings come as JSON in the variable ``SITE``: ``settings`` of undaunted with the cluster ``shop``; ``side``, which is
``undaunted`` or ``plain``; and ``plain``, what the plain ORM connects with. Run as a program it makes the tables.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import undaunted

if TYPE_CHECKING:
    from collections.abc import Callable

SITE: dict[str, Any] = json.loads(os.environ["SITE"])
CLUSTER: dict[str, Any] = SITE["settings"]["clusters"]["shop"]
IS_PLAIN = SITE["side"] == "plain"

os.environ["CQLENG_ALLOW_SCHEMA_MANAGEMENT"] = "1"


@dataclass(frozen=True)
class Marks:
    """Adds one row with this mark; counts the rows with it; makes the tables."""

    write: Callable[[str], object]
    count: Callable[[str], int]
    make: Callable[[], object]


def mongodb() -> Marks:
    import mongoengine
    from mongoengine import fields

    from undaunted.mongodb import Document

    if IS_PLAIN:
        mongoengine.connect(CLUSTER["database"], alias="shop", host=SITE["plain"], uuidRepresentation="standard")

    class Mark(mongoengine.Document if IS_PLAIN else Document):  # type: ignore[misc]
        meta = {"db_alias": "shop", "collection": "marks", "auto_create_index": False}
        mark = fields.StringField()

    return Marks(lambda mark: Mark(mark=mark).save(), lambda mark: Mark.objects(mark=mark).count(), lambda: None)


def sqlalchemy() -> Marks:
    import sqlalchemy as sa
    from sqlalchemy import orm

    from undaunted.sqlalchemy import DeclarativeBase, Session, engine, unit_of_work

    if IS_PLAIN:

        class Base(orm.DeclarativeBase):
            pass

        plain = sa.create_engine(SITE["plain"], pool_pre_ping=True)
    else:

        class Base(DeclarativeBase):  # type: ignore[no-redef]
            __undaunted__ = {"cluster": "shop"}

    class Mark(Base):
        __tablename__ = "site_mark"
        id = orm.mapped_column(sa.BigInteger, primary_key=True)
        mark = orm.mapped_column(sa.Text, nullable=False)

    def write(mark: str) -> None:
        with orm.Session(plain) as session, session.begin():
            session.add(Mark(mark=mark))

    def count(mark: str) -> int:
        with orm.Session(plain) if IS_PLAIN else Session(Base) as session:
            return session.scalars(sa.select(sa.func.count()).select_from(Mark).where(Mark.mark == mark)).one()

    def add(session: Any, mark: str) -> None:
        session.add(Mark(mark=mark))

    return Marks(
        write if IS_PLAIN else unit_of_work(Base)(add),
        count,
        lambda: Base.metadata.create_all(plain if IS_PLAIN else engine("shop")),
    )


def cassandra() -> Marks:
    from cassandra.cqlengine import columns, connection
    from cassandra.cqlengine.models import Model as PlainModel

    from undaunted.cassandra import Model, sync

    if IS_PLAIN:
        connection.setup(SITE["plain"]["hosts"], CLUSTER["keyspace"], port=SITE["plain"]["port"], protocol_version=4)

    class Mark(PlainModel if IS_PLAIN else Model):  # type: ignore[misc]
        if not IS_PLAIN:
            __undaunted__ = {"cluster": "shop"}
        __table_name__ = "site_mark"
        mark = columns.Text(primary_key=True)
        id = columns.UUID(primary_key=True, default=uuid.uuid4)

    return Marks(
        lambda mark: Mark.create(mark=mark), lambda mark: Mark.objects(mark=mark).count(), lambda: sync([Mark])
    )


def marks() -> Marks:
    """Those of the backend of the cluster ``shop``."""
    made: Marks = {"mongodb": mongodb, "sqlalchemy": sqlalchemy, "cassandra": cassandra}[CLUSTER["backend"]]()
    return made


if __name__ == "__main__":
    undaunted.configure(SITE["settings"])
    marks().make()
    undaunted.close()
