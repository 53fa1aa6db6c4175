"""`sync` on real servers: what is missing is made, a second time nothing is, and nothing is ever dropped."""

from __future__ import annotations

import itertools
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from mongoengine import Document as PlainDocument
from mongoengine import IntField
from sqlalchemy.orm import Mapped, mapped_column

import undaunted
from undaunted.errors import ConfigurationError, UndauntedError
from undaunted.mongodb import Document, fields
from undaunted.mongodb import schema as of_mongodb
from undaunted.registry import REGISTRY
from undaunted.sqlalchemy import DeclarativeBase, engine
from undaunted.sqlalchemy import schema as of_sqlalchemy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.lab import MongoLab, PostgresLab

_NUMBERS = itertools.count(1)


class Indexed(Document):
    __undaunted__ = {"cluster": "sync_orders"}
    number = fields.IntField(unique=True)
    meta = {"collection": "indexed", "auto_create_index": False, "indexes": ["-number"]}


class Capped(Document):
    __undaunted__ = {"cluster": "sync_orders"}
    text = fields.StringField()
    meta = {"collection": "capped", "max_documents": 10, "max_size": 4096}


class Untouched(PlainDocument):
    number = IntField(unique=True)
    meta = {"collection": "untouched", "db_alias": "sync_orders"}


class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "sync_ledger"}


class Payment(Base):
    __tablename__ = "sync_payment"
    id: Mapped[int] = mapped_column(primary_key=True)


class Report(Base):
    __tablename__ = "sync_report"
    __table_args__ = {"schema": "sync_reports"}
    id: Mapped[int] = mapped_column(primary_key=True)


class Elsewhere(Base):
    __tablename__ = "sync_elsewhere"
    __undaunted__ = {"cluster": "sync_other"}
    id: Mapped[int] = mapped_column(primary_key=True)


sa.Table("sync_unmapped", Base.metadata, sa.Column("id", sa.Integer, primary_key=True))


def outcomes(done: Any) -> dict[str, str]:
    return {one.name.rpartition(".")[2]: one.outcome for one in done}


@pytest.fixture
def orders(healthy_mongo_lab: MongoLab) -> Iterator[str]:
    settings = healthy_mongo_lab.settings_for("sync_orders")
    settings["clusters"]["sync_orders"]["database"] = f"sync{os.getpid()}_{next(_NUMBERS)}"
    undaunted.configure(settings)
    try:
        yield "sync_orders"
    finally:
        undaunted.close()


@pytest.mark.integration
def test_collections_and_indexes(orders: str) -> None:
    told: list[Any] = []
    first = of_mongodb.sync(clusters=[orders], progress=told.append)
    assert outcomes(first) == {"indexed": "made", "capped": "made", "untouched": "made"}
    assert tuple(told) == first
    assert [one.indexes for one in first if one.name.endswith("indexed")] == [("_id_", "number_-1", "number_1")]
    assert "capped" in {each["name"] for each in Capped._get_db().list_collections(filter={"options.capped": True})}
    assert set(outcomes(of_mongodb.sync(clusters=[orders])).values()) == {"unchanged"}
    Indexed._get_db()["indexed"].drop_index("number_-1")
    changed = {one.name.rpartition(".")[2]: one for one in of_mongodb.sync(clusters=[orders])}["indexed"]
    assert (changed.outcome, changed.indexes) == ("changed", ("number_-1",))


@pytest.mark.integration
def test_an_index_that_the_server_refuses(orders: str) -> None:
    collection = Indexed._get_db()["indexed"]
    collection.insert_many([{"number": 1}, {"number": 1}])
    with pytest.raises(of_mongodb.SyncError, match=r"test_sync\.Indexed: the server refuses an index"):
        of_mongodb.sync(clusters=[orders])
    assert collection.count_documents({}) == 2


@pytest.fixture
def ledger(healthy_postgresql_lab: PostgresLab) -> Iterator[str]:
    lab = healthy_postgresql_lab
    with lab.connect(lab.primary()) as connection:
        for table in ("sync_payment", "sync_unmapped", "sync_elsewhere", "undaunted_keys"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute("DROP SCHEMA IF EXISTS sync_reports CASCADE")
    clusters = {**lab.settings_for("sync_ledger")["clusters"], **lab.settings_for("sync_other")["clusters"]}
    undaunted.configure({"clusters": clusters})
    try:
        yield "sync_ledger"
    finally:
        undaunted.close()


@pytest.mark.integration
def test_tables_schemas_and_keys(ledger: str) -> None:
    first = of_sqlalchemy.sync(clusters=[ledger])
    names = ("sync_payment", "sync_report", "sync_unmapped", "undaunted_keys")
    assert outcomes(first) == dict.fromkeys(names, "made")
    with engine(ledger).begin() as connection:
        connection.execute(sa.insert(Payment).values(id=1))
        connection.execute(sa.text("ALTER TABLE sync_payment ADD COLUMN more integer"))
    assert outcomes(of_sqlalchemy.sync(clusters=[ledger])) == dict.fromkeys(names, "unchanged")
    with engine(ledger).connect() as connection:
        assert connection.execute(sa.text("SELECT id, more FROM sync_payment")).all() == [(1, None)]
    other = outcomes(of_sqlalchemy.sync(clusters=["sync_other"]))
    assert other == {"sync_elsewhere": "made", "undaunted_keys": "unchanged"}  # one database behind both, here


@pytest.mark.integration
def test_a_cluster_of_another_kind(ledger: str) -> None:
    with pytest.raises(ConfigurationError, match="not of MongoDB"):
        of_mongodb.sync(clusters=[ledger])


@pytest.mark.integration
def test_no_server_is_an_error_of_ours_within_its_time(fresh_mongo_lab: MongoLab) -> None:
    for node in fresh_mongo_lab.nodes:
        fresh_mongo_lab.kill(node)
    undaunted.configure(fresh_mongo_lab.settings_for("sync_orders"))
    try:
        with pytest.raises(UndauntedError), undaunted.options(deadline="1s"):
            of_mongodb.sync(clusters=["sync_orders"])
        with pytest.raises(ConfigurationError, match="not of SQLAlchemy"):
            of_sqlalchemy.sync(clusters=["sync_orders"])
    finally:
        REGISTRY.close()


@pytest.mark.integration
def test_a_cluster_without_any_node_is_waited_for_as_by_any_call_and_not_for_the_time_of_a_step() -> None:
    there = {"backend": "mongodb", "nodes": ["127.0.0.1:9"], "retry": {"deadline": "1s"}}
    for reads in ("primary", "fallback"):
        undaunted.configure({"clusters": {"sync_orders": {**there, "reads": reads}}})
        began_s = time.monotonic()
        try:
            with pytest.raises(UndauntedError, match="refuses connections"):
                of_mongodb.sync(clusters=["sync_orders"])
        finally:
            undaunted.close()
        assert time.monotonic() - began_s < 15, "a step has a minute"
