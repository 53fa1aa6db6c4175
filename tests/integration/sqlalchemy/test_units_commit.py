"""A COMMIT whose reply was lost, one by one: both outcomes, both kinds of keys, in threads, loops and coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm
from tests.integration.speed import within
from tests.integration.sqlalchemy.cut import committing, cut, freeze_standbys, waiting
from tests.integration.sqlalchemy.watch import until

import undaunted
from undaunted.core.fault import Fault
from undaunted.engine.call import current_call
from undaunted.events import CallRecovered, DurabilityWeakened, OutcomeLeftUnknown, RetryScheduled
from undaunted.sqlalchemy import attempts, run_in_transaction, unit_of_work
from undaunted.sqlalchemy.errors import OutcomeUnknown
from undaunted.sqlalchemy.free import FreeKey
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    import psycopg
    from tests.integration.sqlalchemy.sides import Plain
    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration


@pytest.fixture
def server(lab: PostgresLab) -> Iterator[psycopg.Connection]:
    """A look at the primary from outside."""
    with lab.operator(lab.primary()) as connection:
        yield connection


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def count(server: psycopg.Connection, table: str, mark: str) -> int:
    found = server.execute(f"SELECT count(*) FROM {table} WHERE mark = %s", [mark]).fetchone()  # type: ignore[arg-type]
    assert found is not None
    return int(found[0])


def socket_port(driver: Any) -> int:
    """The client's own port of a connection of psycopg's."""
    with socket.socket(fileno=os.dup(driver.pgconn.socket)) as twin:
        port: int = twin.getsockname()[1]
        return port


class Form:
    """One way to write a unit of work, and what is inserted by it."""

    def __init__(self, tables: Tables, kind: str, key: Any) -> None:
        self._tables = tables
        self._kind = kind
        self._key = key
        self._model = tables.Note if key == "free" else tables.Entry
        self.table = "note" if key == "free" else "entry"
        self.runs = 0

    def _work(self, session: Any, mark: str) -> Any:
        self.runs += 1
        made = self._model(mark=mark)
        session.add(made)
        return made

    def __call__(self, mark: str) -> Any:
        work = unit_of_work(self._tables.Base, key=self._key)
        if self._kind == "function":
            return work.run(self._work, mark)
        if self._kind == "loop":
            made = None
            for attempt in attempts(self._tables.Base, key=self._key):
                with attempt as session:
                    made = self._work(session, mark)
            return made
        return asyncio.run(self._in_loop(mark) if self._kind == "async loop" else work.run(self._awaited, mark))

    async def _awaited(self, session: Any, mark: str) -> Any:
        made = self._work(session, mark)
        await session.flush()
        return made

    async def _in_loop(self, mark: str) -> Any:
        made = None
        async for attempt in attempts(self._tables.Base, key=self._key):
            async with attempt as session:
                made = self._work(session, mark)
        return made


@pytest.fixture(params=["function", "loop", "async function", "async loop"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=["row", "free"])
def form(request: pytest.FixtureRequest, ledger: Tables, kind: str) -> Form:
    return Form(ledger, kind, request.param)


@pytest.fixture
def heard() -> list[Any]:
    made: list[Any] = []
    undaunted.subscribe(made.append, CallRecovered, RetryScheduled, OutcomeLeftUnknown)
    return made


def hang_and_cut(lab: PostgresLab, server: psycopg.Connection, begin: Callable[[], Any]) -> Any:
    """Begin something whose COMMIT hangs, and cut it off there; the standbys stay frozen."""
    begun = begin()
    lost = until(lambda: committing(server), what="a COMMIT that waits for a standby")
    assert cut(lost) == 1
    return begun


def test_plain_sqlalchemy_with_a_retry_around_it_does_it_twice(
    lab: PostgresLab, plain: Plain, server: psycopg.Connection, pool: ThreadPoolExecutor
) -> None:
    """What is protected against: the connection is lost, the transaction is not."""
    mark = uuid.uuid4().hex
    with freeze_standbys(lab):
        said: Future[Any] = hang_and_cut(lab, server, lambda: pool.submit(plain.entry, mark))
    said.result(30)
    assert count(server, "entry", mark) == 2


@pytest.mark.parametrize("at_return", ["rollback", "commit"])
def test_asking_leaves_no_key_whatever_the_pool_does_with_what_comes_back(
    configure: Callable[..., Tables], server: psycopg.Connection, at_return: str
) -> None:
    """Else the key of the question would tell the next attempt that the unit had been applied."""
    tables, mark, runs = configure(options={"pool_reset_on_return": at_return}), uuid.uuid4().hex, []

    @unit_of_work(tables.Base)
    def work(session: Any) -> None:
        runs.append(mark)
        session.add(tables.Entry(mark=mark))
        session.flush()
        driver = session.connection().connection.driver_connection
        tell = driver.before_commit

        def lose(written_at: bytes | None) -> None:
            tell(written_at)
            assert cut([socket_port(driver)]) == 1  # so the COMMIT does not arrive

        if len(runs) == 1:
            driver.before_commit = lose

    work()
    assert (len(runs), count(server, "entry", mark)) == (2, 1)


def test_what_was_applied_is_recognised(
    lab: PostgresLab, server: psycopg.Connection, pool: ThreadPoolExecutor, form: Form, heard: list[Any]
) -> None:
    """While the COMMIT still hangs on the server nothing is decided; once it is through, it is found to be applied."""
    mark = uuid.uuid4().hex
    with freeze_standbys(lab):
        said: Future[Any] = hang_and_cut(lab, server, lambda: pool.submit(form, mark))
        with pytest.raises(TimeoutError):
            said.result(0.7)
        assert form.runs == 1
    made = said.result(30)
    assert (count(server, form.table, mark), form.runs) == (1, 1)
    assert (made.mark, made.id is not None, sa.inspect(made).detached) == (mark, True, True)
    assert [type(event) for event in heard] == [CallRecovered]
    assert heard[0].attempts == 1


def test_what_was_not_applied_is_run_again(
    lab: PostgresLab, server: psycopg.Connection, form: Form, heard: list[Any], ledger: Tables
) -> None:
    """The server process ends with the COMMIT in its hands, as in a crash: so nothing of it is there."""
    mark = uuid.uuid4().hex
    undone: list[int] = []

    def end_before_commit(connection: sa.Connection) -> None:
        """The COMMIT is handed over, and never arrives: its process has just gone."""
        if not undone:
            pid: Any = connection.connection.driver_connection
            undone.append(pid.info.backend_pid)
            server.execute("SELECT pg_terminate_backend(%s, 5000)", undone)

    cluster = cluster_of(ledger.Base)
    for engine in (cluster.writer, cluster.async_writer.sync_engine):
        sa.event.listen(engine, "commit", end_before_commit)
    made = form(mark)
    assert (count(server, form.table, mark), form.runs, len(undone)) == (1, 2, 1)
    assert made.mark == mark
    assert [type(event) for event in heard] == [RetryScheduled, CallRecovered]
    assert heard[0].fault is Fault.ROLLED_BACK  # settled: certainly not applied


def test_an_object_from_outside_gets_a_key_of_its_own_when_it_is_run_again(
    lab: PostgresLab, server: psycopg.Connection, ledger: Tables
) -> None:
    """The server has given the first run's number to somebody else by then."""
    entry = ledger.Entry(mark=uuid.uuid4().hex)
    numbers: list[int] = []

    def work(session: orm.Session, entry: Any) -> None:
        assert entry.id is None
        session.add(entry)
        session.flush()
        numbers.append(entry.id)

    def end_before_commit(connection: sa.Connection) -> None:
        if len(numbers) == 1:
            driver: Any = connection.connection.driver_connection
            server.execute("SELECT pg_terminate_backend(%s, 5000)", [driver.info.backend_pid])
            server.execute("INSERT INTO entry (id, mark) VALUES (%s, 'of somebody else')", numbers)

    sa.event.listen(cluster_of(ledger.Base).writer, "commit", end_before_commit)
    run_in_transaction(ledger.Base, work, entry)
    assert len(set(numbers)) == 2
    assert entry.id == numbers[1]
    assert count(server, "entry", entry.mark) == 1


def test_undecided_by_the_deadline_is_said_within_it(
    lab: PostgresLab, server: psycopg.Connection, pool: ThreadPoolExecutor, form: Form, heard: list[Any]
) -> None:
    """The COMMIT hangs for longer than the deadline, and nobody cuts anything but the deadline itself."""
    mark = uuid.uuid4().hex

    def timed() -> float:
        began_s = time.monotonic()
        with undaunted.deadline("1s"), pytest.raises(OutcomeUnknown) as caught:
            form(mark)
        assert isinstance(caught.value, exc.OperationalError)
        assert [tried.fault for tried in caught.value.attempts] == [Fault.UNKNOWN]
        return time.monotonic() - began_s

    with freeze_standbys(lab):
        elapsed_s = pool.submit(timed).result(30)
    assert elapsed_s > 0.9
    within(elapsed_s, 2.0)
    assert form.runs == 1
    assert isinstance(heard[-1], OutcomeLeftUnknown)
    until(lambda: count(server, form.table, mark) == 1, what="the COMMIT that hung")


def test_a_free_key_without_a_row_is_said_to_be_unknown(
    lab: PostgresLab, server: psycopg.Connection, pool: ThreadPoolExecutor, ledger: Tables
) -> None:
    """An update alone leaves nothing by which it could be recognised, and so does a key that the server makes."""
    name = uuid.uuid4().hex
    server.execute("INSERT INTO counter (name, n) VALUES (%s, 0)", [name])

    def add_one(session: orm.Session) -> None:
        session.get_one(ledger.Counter, name).n += 1
        session.add(ledger.Entry(mark=name))

    with freeze_standbys(lab):
        said = hang_and_cut(lab, server, lambda: pool.submit(run_in_transaction, ledger.Base, add_one, key="free"))
        with pytest.raises(OutcomeUnknown) as caught:
            said.result(5)
    if sys.version_info >= (3, 11):
        assert "flushed no new object" in caught.value.__notes__[0]
    until(lambda: count(server, "entry", name) == 1, what="the COMMIT that hung")


def test_a_free_key_whose_row_is_deleted_again_is_none(
    lab: PostgresLab, server: psycopg.Connection, pool: ThreadPoolExecutor, ledger: Tables
) -> None:
    mark = uuid.uuid4().hex

    def work(session: orm.Session) -> None:
        note = ledger.Note(mark=mark)
        session.add(note)
        session.flush()
        session.delete(note)
        session.add(ledger.Entry(mark=mark))

    with freeze_standbys(lab):
        said = hang_and_cut(lab, server, lambda: pool.submit(run_in_transaction, ledger.Base, work, key="free"))
        with pytest.raises(OutcomeUnknown):
            said.result(5)
    until(lambda: count(server, "entry", mark) == 1, what="the COMMIT that hung")


def test_a_free_key_behind_a_savepoint_is_none(
    lab: PostgresLab, server: psycopg.Connection, pool: ThreadPoolExecutor, ledger: Tables
) -> None:
    """What the function has undone alone is not there, though all else has been applied; it must not run again."""
    mark = uuid.uuid4().hex
    runs: list[int] = []

    def work(session: orm.Session) -> None:
        runs.append(1)
        session.add(ledger.Entry(mark=mark))
        savepoint = session.begin_nested()
        session.add(ledger.Note(mark=mark))
        session.flush()
        savepoint.rollback()

    with freeze_standbys(lab):
        said = hang_and_cut(lab, server, lambda: pool.submit(run_in_transaction, ledger.Base, work, key="free"))
        with pytest.raises(OutcomeUnknown):
            said.result(5)
    until(lambda: count(server, "entry", mark) == 1, what="the COMMIT that hung")
    assert runs == [1]


@pytest.mark.parametrize("outcome", ["applied", "not applied"])
@pytest.mark.parametrize("level", ["AUTOCOMMIT", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("key", ["row", "free"])
def test_whatever_the_engines_isolation_level_is_it_is_settled_rightly(
    lab: PostgresLab,
    server: psycopg.Connection,
    pool: ThreadPoolExecutor,
    configure: Any,
    key: Any,
    level: str,
    outcome: str,
) -> None:
    """Under AUTOCOMMIT the question itself would leave the key behind; in a snapshot the answer would be an old one."""
    ledger = configure(options={"isolation_level": level})
    own = "READ COMMITTED" if level == "AUTOCOMMIT" else None
    model = ledger.Note if key == "free" else ledger.Entry
    mark = uuid.uuid4().hex
    runs: list[int] = []

    def work(session: orm.Session) -> int:
        runs.append(1)
        session.add(model(mark=mark))
        return len(runs)

    def begin() -> Future[int]:
        return pool.submit(run_in_transaction, ledger.Base, work, key=key, isolation=own)

    def end_before_commit(connection: sa.Connection) -> None:
        if len(runs) == 1:
            driver: Any = connection.connection.driver_connection
            server.execute("SELECT pg_terminate_backend(%s, 5000)", [driver.info.backend_pid])

    def ask(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "backend_start" in statement:
            asked.append(statement)

    asked: list[str] = []
    sa.event.listen(cluster_of(ledger.Base).writer, "before_cursor_execute", ask)
    if outcome == "applied":
        with freeze_standbys(lab):
            said: Future[int] = hang_and_cut(lab, server, begin)
            until(lambda: waiting(server) if key == "row" else asked, what="a question while nothing is decided")
        assert said.result(30) == 1
    else:
        sa.event.listen(cluster_of(ledger.Base).writer, "commit", end_before_commit)
        assert begin().result(30) == 2
    assert count(server, model.__tablename__, mark) == 1


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_a_limit_for_the_applications_statements_does_not_end_the_settling(
    lab: PostgresLab, server: psycopg.Connection, pool: ThreadPoolExecutor, configure: Any, limit: str
) -> None:
    ledger = configure(options={"connect_args": {"options": f"-c {limit}=100ms"}})
    form = Form(ledger, "function", "row")
    mark = uuid.uuid4().hex
    with freeze_standbys(lab):
        said: Future[Any] = hang_and_cut(lab, server, lambda: pool.submit(form, mark))
        with pytest.raises(TimeoutError):
            said.result(1)
    assert said.result(30).mark == mark
    assert (count(server, "entry", mark), form.runs) == (1, 1)


@pytest.fixture
def left(ledger: Tables) -> Iterator[tuple[FreeKey, sa.Connection, str]]:
    """What an attempt leaves whose COMMIT never reached the server, which waits for it in an open transaction."""
    mark = uuid.uuid4().hex
    writer = cluster_of(ledger.Base).writer
    connection = writer.connect()
    with orm.Session(connection, join_transaction_mode="rollback_only") as session:
        free = FreeKey()
        connection.begin()
        free.begun(connection)
        session.add(ledger.Note(mark=mark))
        free.flushing(session, in_savepoint=False)
        session.flush()
        free.flushed()
        yield free, connection, mark
        connection.invalidate()
        session.invalidate()
    connection.close()


def test_a_server_process_that_waits_for_its_lost_client_is_ended(
    left: tuple[FreeKey, sa.Connection, str], ledger: Tables, server: psycopg.Connection
) -> None:
    free, _, mark = left
    answers: list[bool | None] = []

    def answered() -> bool:
        with cluster_of(ledger.Base).writer.connect() as connection:
            answers.append(free.ask(connection))
        return answers[-1] is not None

    until(answered, what="the end of the old transaction")
    assert answers[0] is None
    assert answers[-1] is False
    assert count(server, "note", mark) == 0


def test_a_younger_process_of_the_same_number_is_left_alone(
    left: tuple[FreeKey, sa.Connection, str], ledger: Tables
) -> None:
    """Numbers of processes come round again; this one's transaction is somebody else's."""
    free, connection, _ = left
    free._began_s -= 3600  # the attempt is an hour old, and the process is not
    with cluster_of(ledger.Base).writer.connect() as other:
        assert free.ask(other) is False
    assert connection.execute(sa.text("SELECT 1")).scalar() == 1


@pytest.mark.parametrize("key", ["row", "free"])
def test_after_a_promotion_the_new_primary_is_asked(
    lab: PostgresLab, pool: ThreadPoolExecutor, ledger: Tables, key: Any
) -> None:
    """The primary dies with the COMMIT under way, before the standby could have it: the unit is run again."""
    form = Form(ledger, "function", key)
    form("before")
    old = lab.primary()
    mark = uuid.uuid4().hex
    with lab.operator(old) as server, freeze_standbys(lab):
        said = pool.submit(form, mark)
        until(lambda: committing(server), what="a COMMIT that waits for a standby")
        lab.kill(old)
    new = next(node for node in lab.nodes if node is not old)
    lab.promote(new)
    assert said.result(30).mark == mark
    with lab.operator(new) as server:
        assert count(server, form.table, mark) == 1


# --- interruptions


def async_lent(ledger: Tables) -> int:
    pool = cluster_of(ledger.Base).async_writer.sync_engine.pool
    assert isinstance(pool, sa.pool.QueuePool)
    return pool.checkedout()


async def test_a_cancellation_in_the_commit_passes_at_once_and_leaks_nothing(
    lab: PostgresLab, server: psycopg.Connection, ledger: Tables
) -> None:
    """And the COMMIT goes on to wait for its standby: a cancelled one would be answered without."""
    mark = uuid.uuid4().hex
    weakened: list[DurabilityWeakened] = []
    undaunted.subscribe(weakened.append, DurabilityWeakened)

    async def work(session: Any) -> None:
        session.add(ledger.Entry(mark=mark))

    loop = asyncio.get_running_loop()
    with freeze_standbys(lab):
        task = asyncio.ensure_future(run_in_transaction(ledger.Base, work))
        await loop.run_in_executor(None, lambda: until(lambda: committing(server), what="a COMMIT that waits"))
        began_s = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        within(time.monotonic() - began_s, 0.5)
        assert current_call() is None
        assert committing(server)
        assert count(server, "entry", mark) == 0
    assert async_lent(ledger) == 0
    await run_in_transaction(ledger.Base, work)
    until(lambda: count(server, "entry", mark) == 2, what="the COMMIT that was left alone")
    assert weakened == []


@pytest.mark.parametrize("where", ["statement", "function"])
async def test_a_cancellation_before_the_commit_leaves_nothing_behind(
    lab: PostgresLab, server: psycopg.Connection, ledger: Tables, where: str
) -> None:
    mark = uuid.uuid4().hex
    entered = asyncio.Event()

    async def work(session: Any) -> None:
        session.add(ledger.Entry(mark=mark))
        await session.flush()
        entered.set()
        if where == "statement":
            await session.execute(sa.text("SELECT pg_sleep(30)"))
        await asyncio.Event().wait()

    task = asyncio.ensure_future(run_in_transaction(ledger.Base, work))
    await entered.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert async_lent(ledger) == 0
    assert count(server, "entry", mark) == 0
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%%pg_sleep(30)%%' AND pid <> pg_backend_pid()"
    until(lambda: server.execute(asleep).fetchone() == (0,), timeout_s=3, what="the end of the statement")


def test_an_interruption_in_the_commit_passes_at_once(
    lab: PostgresLab, server: psycopg.Connection, ledger: Tables
) -> None:
    """As Ctrl-C would: the main thread waits in COMMIT, and a signal comes."""
    import _thread

    mark = uuid.uuid4().hex
    moments: list[float] = []

    def interrupt() -> None:
        until(lambda: committing(server), what="a COMMIT that waits for a standby")
        moments.append(time.monotonic())
        _thread.interrupt_main()

    with freeze_standbys(lab):
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            run_in_transaction(ledger.Base, lambda session: session.add(ledger.Entry(mark=mark)))
        elapsed_s = time.monotonic() - moments[0]
        thread.join()
    within(elapsed_s, 0.5)
    engine_pool = cluster_of(ledger.Base).writer.pool
    assert isinstance(engine_pool, sa.pool.QueuePool)
    assert engine_pool.checkedout() == 0
    with contextlib.suppress(KeyboardInterrupt):
        run_in_transaction(ledger.Base, lambda session: session.add(ledger.Entry(mark=mark)))


async def test_a_cancellation_passes_at_once_while_the_primary_is_frozen(lab: PostgresLab, ledger: Tables) -> None:
    """The driver would ask the server to cancel first, and wait 5 s for that."""
    entered = asyncio.Event()

    async def work(session: Any) -> None:
        entered.set()
        await session.execute(sa.text("SELECT pg_sleep(30)"))

    task = asyncio.ensure_future(run_in_transaction(ledger.Base, work))
    await entered.wait()
    frozen = lab.freeze("primary")
    began_s = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    elapsed_s = time.monotonic() - began_s
    lab.thaw(frozen)
    within(elapsed_s, 0.5)
    assert async_lent(ledger) == 0
