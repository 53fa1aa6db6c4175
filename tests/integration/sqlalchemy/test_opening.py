"""A transaction begins with its first statement, and a unit of work with its key, in one message; seen on the wire."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import uuid
from typing import TYPE_CHECKING, Any, Literal

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import event, exc, orm
from tests.integration.sqlalchemy.watch import until

from undaunted.sqlalchemy import (
    AsyncSession,
    KeyTableMissing,
    Session,
    attempts,
    engine,
    key_table,
    run_in_transaction,
    unit_of_work,
)
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration


@pytest.fixture
def keys(ledger: Tables) -> Callable[[], int]:
    """How many keys there are; and one unit of work has been, so that the table is known to be there."""
    table = key_table(ledger.Base.metadata)
    run_in_transaction(ledger.Base, one_text, "the first")

    def count() -> int:
        with orm.Session(engine(ledger.Base)) as session:
            return session.scalars(sa.select(sa.func.count()).select_from(table)).one()

    return count


def driver_of(session: Any) -> Any:
    """psycopg's connection of a session."""
    return session.connection().connection.driver_connection


def messages(path: Path) -> list[str]:
    """What libpq has traced, as the direction and the kind of each message: ``F Bind``, ``B CommandComplete``."""
    found = [line.split("\t") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [f"{parts[1]} {parts[3]}" for parts in found if len(parts) > 3]


def trips(path: Path) -> int:
    """How often the client has spoken and then heard."""
    seen = "".join(message[0] for message in messages(path))
    return seen.count("FB")


@pytest.mark.parametrize("key", ["row", "free"])
def test_a_unit_of_one_statement_takes_two_round_trips(
    ledger: Tables, keys: Callable[[], int], tmp_path: Path, key: Literal["row", "free"]
) -> None:
    """Plain psycopg takes three: BEGIN, the statement, COMMIT."""
    path = tmp_path / "trace"
    with path.open("w+b", buffering=0) as trace:

        @unit_of_work(ledger.Base, key=key)
        def add(session: Session) -> Any:
            session.add(ledger.Note(mark="traced"))
            driver = driver_of(session)
            assert driver.is_idle  # nothing has gone out yet
            driver.pgconn.trace(trace.fileno())
            return driver

        for _ in range(8):  # the sixth time psycopg prepares the statement, with a trip of its own where it begins none
            before = keys()
            trace.truncate(0)
            add().pgconn.untrace()
            assert trips(path) == 2
            assert keys() == before + (key == "row")


def test_plain_psycopg_takes_three(lab: PostgresLab, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with path.open("w+b", buffering=0) as trace, lab.connect(lab.primary()) as connection:
        connection.rollback()
        connection.autocommit = False
        connection.pgconn.trace(trace.fileno())
        connection.execute("SELECT %s::int", [1])
        connection.commit()
        connection.pgconn.untrace()
        assert trips(path) == 3


def test_a_readonly_session_takes_two_and_keeps_its_statement_prepared(ledger: Tables, tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with path.open("w+b", buffering=0) as trace:
        for _ in range(16):  # two standbys take turns, and psycopg prepares the sixth time
            with Session(ledger.Base, readonly=True) as session:
                driver = driver_of(session)
                trace.truncate(0)
                driver.pgconn.trace(trace.fileno())
                assert session.get(ledger.Row, 1) is not None
            driver.pgconn.untrace()
            assert driver.is_idle
        assert trips(path) == 2
    assert "F Parse" in messages(path)  # the BEGIN
    assert messages(path).count("F Parse") == 1


@pytest.mark.parametrize("readonly", [True, False])
def test_a_statement_that_was_prepared_before_a_migration_is_prepared_anew(ledger: Tables, *, readonly: bool) -> None:
    """Plain psycopg forgets it with each ROLLBACK, so there a session that only reads never meets that."""

    @unit_of_work(ledger.Base, readonly=readonly)
    def read(session: Session) -> list[Any]:
        return list(session.execute(sa.text("SELECT * FROM migrated WHERE id = :id"), {"id": 1}).one())

    def change(command: str) -> None:
        with engine(ledger.Base).begin() as connection:
            connection.exec_driver_sql(command)

    change("CREATE TABLE migrated AS SELECT 1 AS id")
    try:
        until(lambda: _is_there(ledger, "migrated", 1), what="the table on each node")
        for _ in range(16):  # two standbys take turns, and psycopg prepares the sixth time
            assert read() == [1]
        change("ALTER TABLE migrated ADD COLUMN more int DEFAULT 2")
        until(lambda: _is_there(ledger, "migrated", 2), what="the column on each node")
        for _ in range(4):
            assert read() == [1, 2]
    finally:
        change("DROP TABLE migrated")


def _is_there(tables: Tables, table: str, columns: int) -> bool:
    """Whether every node has a table with so many columns."""
    asked = sa.text("SELECT count(*) FROM information_schema.columns WHERE table_name = :name")
    cluster, found = cluster_of(tables.Base), []
    for sight in cluster.sights():
        with cluster.engine_of(sight.address).connect() as connection:
            found.append(connection.scalar(asked, {"name": table}))
    return found == [columns] * len(found)


def copy_in(session: Any, mark: str) -> None:
    cursor = driver_of(session).cursor()
    with cursor.copy("COPY note (id, mark) FROM STDIN") as copy:
        copy.write(io.BytesIO(f"{uuid.uuid4()}\t{mark}\n".encode()).read())


def many_rows(session: Any, mark: str) -> None:
    rows = [(uuid.uuid4(), mark), (uuid.uuid4(), mark)]
    driver_of(session).cursor().executemany("INSERT INTO note (id, mark) VALUES (%s, %s)", rows)


def two_statements(session: Any, mark: str) -> None:
    session.execute(sa.text(f"INSERT INTO note VALUES (gen_random_uuid(), '{mark}'); SELECT 1"))


def one_text(session: Any, mark: str) -> None:
    session.execute(sa.text(f"INSERT INTO note VALUES (gen_random_uuid(), '{mark}')"))


def a_setting(session: Any, mark: str) -> None:
    session.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
    one_text(session, mark)


def a_savepoint(session: Any, mark: str) -> None:
    with session.begin_nested():
        one_text(session, mark)


def a_drivers_block(session: Any, mark: str) -> None:
    driver = driver_of(session)
    with driver.transaction():
        driver.execute("INSERT INTO note VALUES (gen_random_uuid(), %s)", [mark])


def a_drivers_pipeline(session: Any, mark: str) -> None:
    driver = driver_of(session)
    with driver.pipeline():
        driver.execute("INSERT INTO note VALUES (gen_random_uuid(), %s)", [mark])


def a_stream(session: Any, mark: str) -> None:
    rows = session.execute(sa.text("SELECT generate_series(1, 3)").execution_options(stream_results=True))
    assert rows.scalars().all() == [1, 2, 3]
    one_text(session, mark)


def another_kind_of_cursor(session: Any, mark: str) -> None:
    cursor = psycopg.ClientCursor(driver_of(session))
    cursor.execute("INSERT INTO note VALUES (gen_random_uuid(), %s)", [mark])


def undone_before(session: Any, mark: str) -> None:
    one_text(session, f"{mark} undone")
    session.rollback()
    one_text(session, mark)


def begun_beneath_the_driver(session: Any, mark: str) -> None:
    for command in ("BEGIN", f"INSERT INTO note VALUES (gen_random_uuid(), '{mark}')"):
        driver_of(session).pgconn.exec_(command.encode())


def caught_before_anything_was_sent(session: Any, mark: str) -> None:
    with pytest.raises(exc.ProgrammingError):
        driver = driver_of(session)
        try:
            driver.execute("SELECT %s", [object()])
        except psycopg.Error as error:
            raise exc.ProgrammingError("SELECT", {}, error) from error
    one_text(session, mark)


FIRST = [
    copy_in, many_rows, two_statements, one_text, a_setting, a_savepoint, a_drivers_block, a_drivers_pipeline, a_stream,
    another_kind_of_cursor, undone_before, begun_beneath_the_driver,
    caught_before_anything_was_sent,
]  # fmt: skip


@pytest.mark.parametrize("first", FIRST)
def test_whatever_comes_first_brings_the_key(ledger: Tables, keys: Callable[[], int], first: Any) -> None:
    before, mark = keys(), uuid.uuid4().hex
    run_in_transaction(ledger.Base, first, mark)
    assert keys() == before + 1
    with orm.Session(engine(ledger.Base)) as session:
        assert session.scalars(sa.select(ledger.Note.mark).where(ledger.Note.mark.startswith(mark))).all() in (
            [mark],
            [mark] * 2,
        )


@pytest.mark.parametrize("first", FIRST)
def test_and_it_is_undone_with_the_unit(ledger: Tables, keys: Callable[[], int], first: Any) -> None:
    before, mark = keys(), uuid.uuid4().hex

    def work(session: Session) -> None:
        first(session, mark)
        raise LookupError(mark)

    with pytest.raises(LookupError):
        run_in_transaction(ledger.Base, work)
    assert keys() == before
    with orm.Session(engine(ledger.Base)) as session:
        assert session.scalars(sa.select(ledger.Note.mark).where(ledger.Note.mark.startswith(mark))).all() == []


def test_a_unit_without_a_statement_leaves_nothing_to_the_next(ledger: Tables, keys: Callable[[], int]) -> None:
    before = keys()

    def look(session: Session) -> None:
        assert driver_of(session).due is not None

    def fail(session: Session) -> None:
        look(session)
        raise LookupError

    run_in_transaction(ledger.Base, look)
    for attempt in attempts(ledger.Base):
        with attempt as session:
            look(session)
    with pytest.raises(LookupError):
        run_in_transaction(ledger.Base, fail)
    with orm.Session(engine(ledger.Base)) as plain, plain.begin():
        plain.add(ledger.Note(mark="another's"))
    assert keys() == before


def test_terms_are_not_changed_under_a_unit(ledger: Tables, keys: Callable[[], int]) -> None:
    before = keys()

    def work(session: Session) -> None:
        driver_of(session).autocommit = True

    with pytest.raises(psycopg.ProgrammingError, match="belongs to a unit of work"):
        run_in_transaction(ledger.Base, work)
    assert keys() == before


@pytest.mark.parametrize("forget", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_a_server_that_has_forgotten_the_statement_is_told_it_again(
    ledger: Tables, keys: Callable[[], int], forget: str
) -> None:
    before, mark = keys(), uuid.uuid4().hex
    run_in_transaction(ledger.Base, one_text, mark)
    with engine(ledger.Base).connect() as connection:
        driver: Any = connection.connection.driver_connection
        assert driver.undaunted_prepared
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(forget)
    run_in_transaction(ledger.Base, one_text, mark)
    run_in_transaction(ledger.Base, one_text, mark)
    assert keys() == before + 3


def test_nothing_is_prepared_where_the_driver_is_told_so(ledger: Tables, keys: Callable[[], int]) -> None:
    before = keys()
    with engine(ledger.Base).connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.undaunted_prepared.clear()
        driver.prepare_threshold = None
        driver.execute("DEALLOCATE ALL")
    for _ in range(8):
        run_in_transaction(ledger.Base, one_text, "unprepared")
    with Session(ledger.Base) as session:
        assert driver_of(session) is driver
        assert session.scalar(sa.text("SELECT count(*) FROM pg_prepared_statements")) == 0
    assert keys() == before + 8


def test_the_key_stands_where_the_engine_s_options_have_its_schema_stand(configure: Callable[..., Tables]) -> None:
    """They are for SQLAlchemy's own statements, and what goes out beside them must know of them, too."""
    tables = configure(options={"execution_options": {"schema_translate_map": {"main": "Tenant"}}})

    class Elsewhere(tables.Base):
        __abstract__ = True
        metadata = sa.MetaData(schema="main")

    table = key_table(Elsewhere.metadata)
    with engine(Elsewhere).begin() as connection:
        connection.execute(sa.schema.CreateSchema("Tenant"))
        Elsewhere.metadata.create_all(connection)
    try:
        for _ in range(3):  # the first alone, to see that the table is there; the others with their statement
            run_in_transaction(Elsewhere, one_text, "of a tenant")
        with orm.Session(engine(Elsewhere)) as session:
            assert session.scalar(sa.select(sa.func.count()).select_from(table)) == 3
    finally:
        with engine(Elsewhere).begin() as connection:
            connection.execute(sa.schema.DropSchema("Tenant", cascade=True))


@pytest.mark.parametrize(
    "wrong",
    ["SELECT nothing FROM note", "SELECT 1 /", "SELECT nothing FROM note WHERE mark = :mark", "SET nonsense = 1"],
)
def test_a_first_statement_that_fails_fails_the_transaction(
    ledger: Tables, keys: Callable[[], int], wrong: str
) -> None:
    """As with plain SQLAlchemy, what follows is refused, and nothing of it is stored."""
    before = keys()

    def work(session: Session) -> None:
        with pytest.raises(exc.DBAPIError):
            session.execute(sa.text(wrong), {"mark": "a"} if ":mark" in wrong else {})
        one_text(session, "behind a failure")

    with pytest.raises(exc.InternalError, match="InFailedSqlTransaction"):
        run_in_transaction(ledger.Base, work)
    assert keys() == before


def test_a_statement_that_libpq_refuses_leaves_the_connection_well(ledger: Tables) -> None:
    with engine(ledger.Base).connect() as connection:
        driver: Any = connection.connection.driver_connection
        many = 70_000
        with pytest.raises(psycopg.Error, match="number of parameters"):
            driver.execute(f"SELECT {', '.join(['%s'] * many)}", list(range(many)))
        assert driver.pgconn.transaction_status == psycopg.pq.TransactionStatus.INTRANS  # as with psycopg's own
        assert driver.execute("SELECT %s::int", [1]).fetchone() == (1,)


def test_a_table_of_keys_that_goes_away_is_told_by_the_next_unit(ledger: Tables, keys: Callable[[], int]) -> None:
    table = key_table(ledger.Base.metadata)
    before = keys()
    with engine(ledger.Base).begin() as connection:
        connection.execute(sa.text(f"ALTER TABLE {table.name} RENAME TO put_away"))
    try:
        with pytest.raises(exc.ProgrammingError, match="undaunted_keys"):
            run_in_transaction(ledger.Base, one_text, "without a table")
        with pytest.raises(KeyTableMissing, match="create_all"):
            run_in_transaction(ledger.Base, one_text, "without a table")
    finally:
        with engine(ledger.Base).begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE put_away RENAME TO {table.name}"))
    run_in_transaction(ledger.Base, one_text, "with its table")
    assert keys() == before + 1


@pytest.mark.parametrize("readonly", [False, True])
def test_a_connection_that_is_lost_before_anybody_had_it_is_replaced(ledger: Tables, *, readonly: bool) -> None:
    """SQLAlchemy asks a few things on an engine's first connection; plainly, an error there is the application's."""
    cluster = cluster_of(ledger.Base)
    run_in_transaction(ledger.Base, one_text, "so that the nodes are known")
    lost: list[Any] = []

    def lose(connection: Any, _record: Any) -> None:
        if not lost:
            lost.append(connection)
            with socket.socket(fileno=os.dup(connection.pgconn.socket)) as twin:
                twin.shutdown(socket.SHUT_RDWR)

    engines = [cluster.engine_of(sight.address) for sight in cluster.sights()]
    if not readonly:
        cluster.writer.dispose()
        cluster._engines.clear()  # as at the start of a process
        engines = [cluster.writer]
    for each in engines:
        event.listen(each, "first_connect", lose, insert=True)

    @unit_of_work(ledger.Base, readonly=readonly)
    def read(session: Session) -> int:
        return len(session.scalars(sa.select(ledger.Row.k).limit(3)).all())

    assert read() == 3
    assert len(lost) == 1


async def test_coroutines_bring_the_key_too(ledger: Tables) -> None:
    table = key_table(ledger.Base.metadata)

    async def count() -> int:
        async with AsyncSession(ledger.Base) as session:
            return (await session.scalars(sa.select(sa.func.count()).select_from(table))).one()

    @unit_of_work(ledger.Base)
    async def add(session: AsyncSession, first: str) -> None:
        driver: Any = (await (await session.connection()).get_raw_connection()).driver_connection
        if first == "block":
            async with driver.transaction():
                await driver.execute("INSERT INTO note VALUES (gen_random_uuid(), 'block')")
        elif first == "stream":
            rows = await session.stream(sa.text("SELECT generate_series(1, 3)"))
            assert len(await rows.all()) == 3
        elif first == "add":
            session.add(ledger.Note(mark="added"))

    await add("add")
    before = await count()
    for first in ("add", "block", "stream", "nothing"):
        await add(first)
    await asyncio.gather(*(add("add") for _ in range(5)))
    assert await count() == before + 8
