"""The table of keys: where it is, what is in it, and how old ones go."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from tests.unit.sqlalchemy.units_model import Base, configure, keys

from undaunted.sqlalchemy import DeclarativeBase, SessionMixin, key_table, run_in_transaction, sweep
from undaunted.sqlalchemy.keys import TABLE, KeyTaken, fresh_key, insert_key, least_key, table_of
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86400


@pytest.fixture
def ledger(tmp_path: Path) -> sa.Engine:
    configure(tmp_path)
    return cluster_of(Base).writer


def add_keys(engine: sa.Engine, count: int, *, age_s: float) -> None:
    """Keys of units of work that were applied so long ago."""
    then = datetime.now(timezone.utc) - timedelta(seconds=age_s)
    with engine.begin() as connection:
        rows = [{"key": aged(age_s), "created_at": then.replace(tzinfo=None)} for _ in range(count)]
        connection.execute(table_of(Base).insert(), rows)


def aged(age_s: float) -> uuid.UUID:
    return uuid.UUID(int=least_key(time.time() - age_s).int | fresh_key().int & ((1 << 62) - 1))


# --- the table


def test_bases_and_mixins_have_it_in_their_metadata() -> None:
    class Own(SessionMixin, orm.DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    class Other(DeclarativeBase):
        __undaunted__ = {"cluster": "archive"}

    assert TABLE in Base.metadata.tables
    assert Own.metadata.tables[TABLE] is table_of(Own) is key_table(Own.metadata)
    assert Other.metadata.tables[TABLE] is not Own.metadata.tables[TABLE]


def test_any_other_metadata_gets_it_when_asked_in_its_own_schema() -> None:
    metadata = sa.MetaData(schema="shop")
    table = key_table(metadata)
    assert table is key_table(metadata)
    assert table.fullname == "shop.undaunted_keys"
    assert [column.name for column in table.primary_key] == ["key"]


def test_the_name_of_a_cluster_stands_for_the_table_without_a_schema() -> None:
    assert table_of("ledger").fullname == TABLE
    assert table_of("ledger") is table_of(None)


# --- keys


def test_keys_are_unique_and_stand_in_the_order_of_their_time() -> None:
    made = [fresh_key() for _ in range(5000)]
    assert len(set(made)) == 5000
    assert {(key.version, key.variant) for key in made} == {(7, uuid.RFC_4122)}
    now_s = time.time()
    assert least_key(now_s - 5) < made[0] < least_key(now_s + 5)


def test_a_key_is_taken_once(ledger: sa.Engine) -> None:
    key = fresh_key()
    with ledger.begin() as connection:
        assert insert_key(connection, table_of(Base), key) is None  # only PostgreSQL's log has positions
    with ledger.connect() as connection, pytest.raises(KeyTaken):
        insert_key(connection, table_of(Base), key)


# --- sweeping


def test_old_keys_are_swept_in_batches_and_young_ones_stay(ledger: sa.Engine) -> None:
    add_keys(ledger, 2500, age_s=2 * DAY_S)
    add_keys(ledger, 3, age_s=DAY_S / 2)
    run_in_transaction(Base, lambda session: None)
    assert sweep(Base) == 2500
    assert keys(Base) == 4
    assert sweep("ledger", older_than="1h") == 3
    assert sweep(Base, older_than=60) == 0


def test_the_servers_clock_decides_and_not_the_clients(ledger: sa.Engine) -> None:
    """A client whose clock is two days slow makes keys that look old, and they may be of use right now."""
    with ledger.begin() as connection:
        insert_key(connection, table_of(Base), aged(2 * DAY_S))
    assert sweep(Base) == 0


@pytest.mark.parametrize("wrong", ["1s", 59, "soon", -1])
def test_what_a_unit_may_still_need_is_not_swept(ledger: sa.Engine, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"minute|duration"):
        sweep(Base, older_than=wrong)


def test_each_process_sweeps_by_itself_now_and_then(tmp_path: Path) -> None:
    import undaunted

    undaunted.configure(
        {
            "clusters": {
                "ledger": {
                    "backend": "sqlalchemy",
                    "url": f"sqlite:///{tmp_path}/ledger.db",
                    "keys": {"sweep": "1s", "keep": "1h"},
                }
            }
        }
    )
    engine = cluster_of(Base).writer
    Base.metadata.create_all(engine)
    add_keys(engine, 10, age_s=2 * 3600)
    ends_s = time.monotonic() + 20
    while not oldest_is_gone(engine) and time.monotonic() < ends_s:
        run_in_transaction(Base, lambda session: None)
    assert oldest_is_gone(engine)
    for thread in threading.enumerate():
        if thread.name == "undaunted-sweep":
            thread.join(10)


def oldest_is_gone(engine: sa.Engine) -> bool:
    table = table_of(Base)
    with engine.connect() as connection:
        found = connection.execute(sa.select(sa.func.min(table.c.key))).scalar()
    return found is None or found > least_key(time.time() - 3600)
