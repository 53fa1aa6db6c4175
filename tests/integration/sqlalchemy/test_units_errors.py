"""What goes wrong before the COMMIT, on real nodes: run again where it was undone, and told where it is the request."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm
from tests.integration.sqlalchemy.tables import define
from tests.integration.sqlalchemy.watch import until

import undaunted
from undaunted.errors import ConfigurationError
from undaunted.events import AcknowledgedLost, RetryScheduled
from undaunted.lab import PostgresLab
from undaunted.sqlalchemy import DeclarativeBase, run_in_transaction, unit_of_work
from undaunted.sqlalchemy.errors import CommitRolledBack, UnusableCluster
from undaunted.sqlalchemy.keys import KeyTableMissing
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg
    from tests.integration.sqlalchemy.tables import Tables


pytestmark = pytest.mark.integration


@pytest.fixture
def server(lab: PostgresLab) -> Iterator[psycopg.Connection]:
    """A look at the primary from outside, by somebody who may end sessions."""
    with lab.operator(lab.primary()) as connection:
        yield connection


@pytest.fixture
def counters(server: psycopg.Connection) -> list[str]:
    """Two counters at 0."""
    names = [uuid.uuid4().hex for _ in range(2)]
    for name in names:
        server.execute("INSERT INTO counter (name, n) VALUES (%s, 0)", [name])
    return names


def values(server: psycopg.Connection, names: list[str]) -> list[int]:
    return [server.execute("SELECT n FROM counter WHERE name = %s", [name]).fetchall()[0][0] for name in names]


def count(server: psycopg.Connection, mark: str) -> int:
    return int(server.execute("SELECT count(*) FROM entry WHERE mark = %s", [mark]).fetchall()[0][0])


def pid_of(session: orm.Session) -> int:
    connection: Any = session.connection().connection.driver_connection
    return int(connection.info.backend_pid)


# --- contention


def test_a_storm_of_serialization_failures_is_outlived(
    ledger: Tables, server: psycopg.Connection, counters: list[str]
) -> None:
    """Each reads both and writes one: what commits beside another that it has read is undone by the server."""
    retries: list[RetryScheduled] = []
    undaunted.subscribe(retries.append, RetryScheduled)

    @unit_of_work(ledger.Base, isolation="SERIALIZABLE", deadline="40s")
    def add_one(session: orm.Session, turn: int) -> None:
        both = [session.get_one(ledger.Counter, name) for name in counters]
        both[turn % 2].n = max(each.n for each in both) + 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(add_one, range(60)))
    assert max(values(server, counters)) == 60  # each has seen all before it
    assert len(retries) > 5
    assert cluster_of(ledger.Base).guard.budget.tokens > 90  # contention is no sign of a failing cluster


async def test_a_storm_of_serialization_failures_is_outlived_by_tasks(
    ledger: Tables, server: psycopg.Connection, counters: list[str]
) -> None:
    @unit_of_work(ledger.Base, isolation="SERIALIZABLE", deadline="40s")
    async def add_one(session: Any, turn: int) -> None:
        both = [await session.get_one(ledger.Counter, name) for name in counters]
        both[turn % 2].n = max(each.n for each in both) + 1

    await asyncio.gather(*(add_one(turn) for turn in range(30)))
    assert max(values(server, counters)) == 30


def test_deadlocks_are_outlived(ledger: Tables, server: psycopg.Connection, counters: list[str]) -> None:
    """Two that lock two rows, each the other's first one first: the server ends one of them."""
    retries: list[RetryScheduled] = []
    undaunted.subscribe(retries.append, RetryScheduled)
    meeting = threading.Barrier(2)

    @unit_of_work(ledger.Base)
    def add_both(session: orm.Session, names: list[str], met: list[int]) -> None:
        for name in names:
            session.get_one(ledger.Counter, name, with_for_update=True).n += 1
            session.flush()
            if not met:
                met.append(1)
                meeting.wait(20)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(add_both, [counters, counters[::-1]], [[], []]))
    assert values(server, counters) == [2, 2]
    assert [event.error for event in retries] == ["OperationalError"]


# --- what the function makes of an error


class OwnError(Exception):
    pass


def conflict(session: orm.Session, server: psycopg.Connection, name: str) -> None:
    """Meet a real 40001: the row is changed by another transaction behind this one's snapshot."""
    session.execute(sa.text("SELECT 1"))
    server.execute("UPDATE counter SET n = n + 10 WHERE name = %s", [name])
    session.execute(sa.text("UPDATE counter SET n = n + 1 WHERE name = :name"), {"name": name})


def wrapped(body: Callable[[], None]) -> None:
    try:
        body()
    except exc.DBAPIError as error:
        raise OwnError from error


def wrapped_by_context(body: Callable[[], None]) -> None:
    try:
        body()
    except exc.DBAPIError:
        raise OwnError  # noqa: B904


def swallowed(body: Callable[[], None]) -> None:
    with contextlib.suppress(exc.DBAPIError):
        body()


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("dressed", [wrapped, wrapped_by_context, swallowed])
def test_a_conflict_is_run_again_whatever_the_function_makes_of_it(
    ledger: Tables, server: psycopg.Connection, counters: list[str], dressed: Any, goes_on: bool
) -> None:
    """Swallowed, the COMMIT would be answered with ROLLBACK; and what is executed meanwhile fails with 25P02."""
    runs: list[int] = []

    def body(session: orm.Session) -> int:
        runs.append(1)
        if len(runs) == 1:
            dressed(lambda: conflict(session, server, counters[0]))
        else:
            session.get_one(ledger.Counter, counters[0]).n += 1
        if goes_on:
            session.get_one(ledger.Counter, counters[1]).n += 1
        return len(runs)

    assert run_in_transaction(ledger.Base, body, isolation="REPEATABLE READ") == 2
    assert values(server, counters) == [11, 1 if goes_on else 0]


async def test_in_coroutines_too(ledger: Tables, server: psycopg.Connection, counters: list[str]) -> None:
    runs: list[int] = []

    async def body(session: Any) -> int:
        runs.append(1)
        if len(runs) == 1:
            await session.run_sync(lambda beneath: swallowed(lambda: conflict(beneath, server, counters[0])))
        else:
            (await session.get_one(ledger.Counter, counters[0])).n += 1
        return len(runs)

    assert await run_in_transaction(ledger.Base, body, isolation="REPEATABLE READ") == 2
    assert values(server, counters) == [11, 0]


def doubled(session: orm.Session, name: str) -> None:
    session.execute(sa.text("INSERT INTO counter (name, n) VALUES (:name, 0)"), {"name": name})


def test_a_wrong_request_that_the_function_wraps_passes_as_the_functions_own(
    ledger: Tables, counters: list[str]
) -> None:
    with pytest.raises(OwnError) as caught:
        run_in_transaction(ledger.Base, lambda session: wrapped(lambda: doubled(session, counters[0])))
    assert isinstance(caught.value.__cause__, exc.IntegrityError)


def test_a_wrong_request_that_the_function_swallows_is_not_taken_for_a_success(
    ledger: Tables, server: psycopg.Connection, counters: list[str]
) -> None:
    """Plain SQLAlchemy's commit() returns normally here, and nothing is stored."""
    mark = uuid.uuid4().hex

    def body(session: orm.Session) -> None:
        session.add(ledger.Entry(mark=mark))
        session.flush()
        swallowed(lambda: doubled(session, counters[0]))

    with pytest.raises(CommitRolledBack):
        run_in_transaction(ledger.Base, body)
    assert count(server, mark) == 0


def test_a_wrong_request_in_a_savepoint_may_be_handled(
    ledger: Tables, server: psycopg.Connection, counters: list[str]
) -> None:
    mark = uuid.uuid4().hex

    def body(session: orm.Session) -> str:
        session.add(ledger.Entry(mark=mark))
        try:
            with session.begin_nested():
                doubled(session, counters[0])
        except exc.IntegrityError:
            return "was there"
        raise AssertionError

    assert run_in_transaction(ledger.Base, body) == "was there"
    assert count(server, mark) == 1


def test_what_the_commit_itself_finds_wrong_passes_at_once(ledger: Tables, server: psycopg.Connection) -> None:
    server.execute("CREATE TABLE IF NOT EXISTS late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    server.execute("GRANT ALL ON late TO PUBLIC")
    server.execute("TRUNCATE late")
    runs: list[int] = []

    def body(session: orm.Session) -> None:
        runs.append(1)
        session.execute(sa.text("INSERT INTO late VALUES (1), (1)"))

    with pytest.raises(exc.IntegrityError):
        run_in_transaction(ledger.Base, body)
    assert (len(runs), server.execute("SELECT * FROM late").fetchall()) == (1, [])


# --- lost connections


@pytest.mark.parametrize("how", ["raised", "swallowed", "swallowed in a savepoint", "wrapped", "rolled back"])
def test_a_connection_that_is_lost_ends_the_attempt_wherever_that_was_met(
    ledger: Tables, server: psycopg.Connection, how: str
) -> None:
    """A savepoint promises that what was before it stands; with the connection, all is gone."""
    mark = uuid.uuid4().hex
    runs: list[int] = []

    def lose(session: orm.Session) -> None:
        server.execute("SELECT pg_terminate_backend(%s, 5000)", [pid_of(session)])
        session.execute(sa.text("SELECT 1"))

    def body(session: orm.Session) -> int:
        runs.append(1)
        session.add(ledger.Entry(mark=mark))
        session.flush()
        if len(runs) > 1:
            return 2
        if how == "raised":
            lose(session)
        elif how == "wrapped":
            wrapped(lambda: lose(session))
        elif how == "swallowed":
            swallowed(lambda: lose(session))
        elif how == "rolled back":
            swallowed(lambda: lose(session))
            session.rollback()  # the function has seen to it itself, and begins anew
            session.add(ledger.Entry(mark=mark))
        else:
            with pytest.raises(exc.DBAPIError), session.begin_nested():
                lose(session)
        return 1

    assert run_in_transaction(ledger.Base, body) == (1 if how == "rolled back" else 2)
    assert count(server, mark) == 1


@pytest.mark.parametrize("how", ["raised", "swallowed"])
async def test_a_connection_that_is_lost_ends_the_attempt_of_a_coroutine(
    ledger: Tables, server: psycopg.Connection, how: str
) -> None:
    mark = uuid.uuid4().hex
    runs: list[int] = []

    async def body(session: Any) -> int:
        runs.append(1)
        session.add(ledger.Entry(mark=mark))
        await session.flush()
        if len(runs) == 1:
            server.execute("SELECT pg_terminate_backend(%s, 5000)", [await session.run_sync(pid_of)])
            try:
                await session.execute(sa.text("SELECT 1"))
            except exc.DBAPIError:
                if how == "raised":
                    raise
        return len(runs)

    assert await run_in_transaction(ledger.Base, body) == 2
    assert count(server, mark) == 1


def test_a_connection_that_is_lost_at_the_key_ends_the_attempt_as_well(
    ledger: Tables, server: psycopg.Connection
) -> None:
    """The key goes to the driver directly, and what it meets there is SQLAlchemy's all the same."""
    mark = uuid.uuid4().hex
    lost: list[int] = []

    def lose(connection: sa.Connection) -> None:
        if not lost:
            driver: Any = connection.connection.driver_connection
            lost.append(driver.info.backend_pid)
            server.execute("SELECT pg_terminate_backend(%s, 5000)", lost)

    retries: list[RetryScheduled] = []
    undaunted.subscribe(retries.append, RetryScheduled)
    sa.event.listen(cluster_of(ledger.Base).writer, "begin", lose)
    run_in_transaction(ledger.Base, lambda session: session.add(ledger.Entry(mark=mark)))
    assert (count(server, mark), len(lost)) == (1, 1)
    assert [(event.error, event.node) for event in retries] == [
        ("OperationalError", cluster_of(ledger.Base).primary),
    ]


def test_a_promotion_that_loses_an_acknowledged_unit_is_told_however_new_it_was() -> None:
    """The monitors look seldom here: it is the position of the key that shows it."""

    class Base(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    told: list[AcknowledgedLost] = []
    with PostgresLab(2, synchronous="") as lab:
        settings = lab.settings_for("ledger")
        settings["clusters"]["ledger"]["heartbeat"] = {"interval": "10s", "timeout": "20s"}
        undaunted.configure(settings)
        try:
            undaunted.subscribe(told.append, AcknowledgedLost)
            ledger = define(Base)
            Base.metadata.create_all(cluster_of(Base).writer)
            lab.wait_healthy()
            standby = next(node for node in lab.nodes if node != lab.primary())
            lab.kill(standby)
            for _ in range(3):
                run_in_transaction(Base, lambda session: session.add(ledger.Entry(mark="x" * 5000)))
            lab.kill("primary")
            lab.start(standby)
            lab.promote(standby)
            until(lambda: told, timeout_s=60, what="the event")
        finally:
            undaunted.close()
    assert told[0].node == standby.address
    assert told[0].lost_bytes > 100


def test_a_unit_that_only_reads_is_run_again_on_another_node(lab: PostgresLab, configure: Any) -> None:
    """As a whole, so that all it reads is of one node."""
    ledger = configure(reads="replica")
    seen: list[str] = []

    @unit_of_work(ledger.Base, readonly=True)
    def read(session: orm.Session) -> str:
        session.get_one(ledger.Row, 1)
        connection: Any = session.connection().connection.driver_connection
        seen.append(f"{connection.info.host}:{connection.info.port}")
        if len(seen) == 1:
            lab.kill(next(node for node in lab.nodes if node.address == seen[0]))
        return str(session.get_one(ledger.Row, 2).text)

    until(lambda: len(cluster_of(ledger.Base).readers(after=None)) == 2, what="both replicas")
    assert read() == "row 2"
    assert len(seen) == 2
    assert seen[0] != seen[1]
    assert lab.primary().address != seen[0]


def test_what_a_unit_that_only_reads_changes_is_refused(ledger: Tables) -> None:
    mark = uuid.uuid4().hex
    with pytest.raises(exc.InvalidRequestError, match="readonly"):
        run_in_transaction(ledger.Base, lambda session: session.add(ledger.Entry(mark=mark)), readonly=True)
    insert = sa.text("INSERT INTO entry (mark) VALUES ('x')")
    with pytest.raises(exc.InternalError, match="read-only"):
        run_in_transaction(ledger.Base, lambda session: session.execute(insert), readonly=True)


# --- bad input


def test_an_autocommit_engine_is_refused(configure: Any) -> None:
    ledger = configure(options={"isolation_level": "AUTOCOMMIT"})
    for key in ("row", "free"):
        with pytest.raises(UnusableCluster, match=r"options.isolation_level"):
            run_in_transaction(ledger.Base, lambda session: session.execute(sa.text("SELECT 1")), key=key)
    assert run_in_transaction(ledger.Base, lambda session: 1, isolation="READ COMMITTED") == 1


def test_a_missing_table_of_keys_is_one_sentence(ledger: Tables) -> None:
    """Each cluster's own: here the base's metadata is in a schema that has none."""

    class Elsewhere(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}
        metadata = sa.MetaData(schema="elsewhere")

    with pytest.raises(KeyTableMissing, match=r"'elsewhere.undaunted_keys'.*create_all") as caught:
        run_in_transaction(Elsewhere, lambda session: None)
    assert isinstance(caught.value, (ConfigurationError, exc.ProgrammingError))
    assert len(caught.value.attempts) == 1
