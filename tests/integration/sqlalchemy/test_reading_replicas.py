"""Readonly sessions: where they read, that they are never behind their writer, and that a lost node costs no error."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm
from tests.integration.speed import within
from tests.integration.sqlalchemy.servers import address_in, end_backend, whom
from tests.integration.sqlalchemy.watch import until

import undaunted
from undaunted.sqlalchemy import AsyncSession, NoNodeAvailable, Session, Token, token
from undaunted.sqlalchemy.cluster import cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration

T = TypeVar("T")

NEVER = 0xFFFFFF
"""A timeline that no lab comes to, however many tests of a run have promoted its nodes."""


def all_seen(timeout_s: float = 10.0) -> Any:
    """The cluster, once its monitors have seen every node."""
    cluster = cluster_of("ledger")
    cluster.readers(after=None)
    until(lambda: all(sight.is_up for sight in cluster.sights()), timeout_s=timeout_s, what="a sight of every node")
    return cluster


@pytest.fixture
def tables(ledger: Tables) -> Tables:
    all_seen()
    return ledger


def nodes_read(make: Callable[[], Session], times: int = 20) -> set[str]:
    found: set[str] = set()
    for _ in range(times):
        with make() as session:
            found.add(whom(session)[0])
    return found


def by_whom_has_written_nothing(work: Callable[[], T]) -> T:
    """Do it in a context of its own: what other tests have committed in this thread is nobody's business there."""
    return contextvars.Context().run(work)


# -- where -------------------------------------------------------------------------------------------


def test_readers_are_spread_over_the_replicas(lab: PostgresLab, tables: Tables) -> None:
    readers = by_whom_has_written_nothing(lambda: nodes_read(lambda: Session(tables.Base, readonly=True)))
    assert readers == address_in(lab, "replica")
    assert nodes_read(lambda: Session(tables.Base), 3) == address_in(lab, "primary")


@pytest.mark.parametrize(
    ("reads", "where"),
    [("primary", {"primary"}), ("fallback", {"primary"}), ("replica", {"replica"}), ("any", {"primary", "replica"})],
)
def test_the_setting_reads(lab: PostgresLab, configure: Callable[..., Tables], reads: str, where: set[str]) -> None:
    base = configure(reads=reads).Base
    all_seen()
    allowed = set[str]().union(*(address_in(lab, role) for role in where))
    assert nodes_read(lambda: Session(base, readonly=True), 5) <= allowed
    with undaunted.options(reads="primary"):
        assert nodes_read(lambda: Session(base, readonly=True), 3) == address_in(lab, "primary")


def test_one_transaction_is_on_one_node(tables: Tables) -> None:
    for _ in range(4):
        with Session(tables.Base, readonly=True) as session:
            assert len({whom(session) for _ in range(5)}) == 1


def test_the_server_itself_refuses_writes_on_every_node(lab: PostgresLab, tables: Tables) -> None:
    """Also where nothing of SQLAlchemy's says that it is one; and the node is not blamed for it."""
    mark = uuid.uuid4().hex
    insert = sa.text("INSERT INTO entry (mark) VALUES (:mark)")
    for reads in ("primary", "replica"):
        with undaunted.options(reads=reads), Session(tables.Base, readonly=True) as session:
            before_s = time.monotonic()
            with pytest.raises(exc.InternalError, match="read-only transaction"):
                session.execute(insert, {"mark": mark})
            within(time.monotonic() - before_s, 2.0)
    with Session(tables.Base) as session:
        session.execute(insert, {"mark": mark})  # its connection may be one that was readonly before
        session.commit()
    with lab.connect(lab.primary()) as server:
        assert server.execute("SELECT count(*) FROM entry WHERE mark = %s", [mark]).fetchone() == (1,)


# -- never behind its writer -------------------------------------------------------------------------


def test_plain_reads_from_a_replica_miss_what_was_just_written(lab: PostgresLab, tables: Tables) -> None:
    """As two engines do, one to write and one to read, however they are chosen between."""
    replica = next(node for node in lab.nodes if lab.role(node) == "replica")
    lab.lag(replica)
    writer, reader = sa.create_engine(lab.url_of(lab.primary())), sa.create_engine(lab.url_of(replica))
    try:
        missed = 0
        for _ in range(10):
            mark = uuid.uuid4().hex
            with orm.Session(writer) as session:
                session.add(tables.Note(mark=mark))
                session.commit()
            with orm.Session(reader) as session:
                missed += session.scalar(sa.select(sa.func.count()).where(tables.Note.mark == mark)) == 0
        assert missed == 10
    finally:
        lab.catch_up()
        writer.dispose()
        reader.dispose()


@pytest.mark.parametrize("lagging", [1, 2])
def test_a_reader_is_never_behind_its_own_thread_s_commit(lab: PostgresLab, tables: Tables, lagging: int) -> None:
    replicas = [node for node in lab.nodes if lab.role(node) == "replica"]
    for node in replicas[:lagging]:
        lab.lag(node)
    cluster = all_seen()
    found: list[set[str]] = []

    def work() -> None:
        read_from: set[str] = set()
        for number in range(30):
            mark = uuid.uuid4().hex
            with Session(tables.Base) as session:
                session.add(tables.Note(mark=mark))
                session.commit()
            if number % 10 == 9:  # late enough that the position of the commit is known
                until(lambda: cluster.token_since(time.monotonic() - 0.1), what="the monitor's next look")
            for _ in range(2):
                with Session(tables.Base, readonly=True) as session:
                    read_from.add(whom(session)[0])
                    assert session.scalar(sa.select(sa.func.count()).where(tables.Note.mark == mark)) == 1
        found.append(read_from)

    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == 4  # none has failed
        behind = {node.address for node in replicas[:lagging]}
        assert not behind & set[str]().union(*found)
    finally:
        lab.catch_up()


def test_behind_its_commit_a_thread_comes_back_to_the_replicas(lab: PostgresLab, tables: Tables) -> None:
    """Also while others go on writing, so that the primary is always a little ahead."""
    stop = threading.Event()

    def others() -> None:
        while not stop.is_set():
            with Session(tables.Base) as session:
                session.add(tables.Note(mark="others"))
                session.commit()

    thread = threading.Thread(target=others)
    thread.start()
    try:
        with Session(tables.Base) as session:
            session.add(tables.Note(mark="own"))
            session.commit()
        replicas = address_in(lab, "replica")

        def reads_a_replica() -> bool:
            return nodes_read(lambda: Session(tables.Base, readonly=True), 1) <= replicas

        until(reads_a_replica, timeout_s=5.0, what="a replica that has caught up")
        assert all(reads_a_replica() for _ in range(20))
    finally:
        stop.set()
        thread.join(10)


def test_the_token_of_one_process_holds_in_another(lab: PostgresLab, tables: Tables) -> None:
    replicas = [node for node in lab.nodes if lab.role(node) == "replica"]
    for node in replicas:
        lab.lag(node)
    mark = uuid.uuid4().hex
    program = f"""
import sys, undaunted
from undaunted.sqlalchemy import Session, token
import sqlalchemy as sa
undaunted.configure({lab.settings_for("ledger")!r})
with Session("ledger") as session:
    assert token("ledger") is None
    session.execute(sa.text("INSERT INTO entry (mark) VALUES (:mark)"), {{"mark": {mark!r}}})
    session.commit()
    assert session.token() == token("ledger")
    print(session.token())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    given = done.stdout.strip()
    count = sa.select(sa.func.count()).where(tables.Entry.mark == mark)

    def once(statement: Any) -> Any:
        with Session(tables.Base, readonly=True) as session:
            return session.scalar(statement)

    try:
        assert by_whom_has_written_nothing(lambda: once(count)) == 0
        for form in (given, Token.parse(given)):
            with Session(tables.Base, readonly=True, token=form) as session:
                assert session.scalar(count) == 1
                assert whom(session)[0] in address_in(lab, "primary")
                assert session.token() == Token.parse(given)
    finally:
        lab.catch_up()

    def by_a_replica() -> bool:
        with Session(tables.Base, readonly=True, token=given) as session:
            assert session.scalar(count) == 1
            return whom(session)[0] in address_in(lab, "replica")

    until(by_a_replica, timeout_s=10.0, what="a replica that has reached the token")
    assert by_whom_has_written_nothing(lambda: token(tables.Base)) is None


def test_a_token_of_a_promotion_that_nobody_here_has_seen_is_waited_for(tables: Tables) -> None:
    """The primary that is known here may be the one that was replaced."""
    before_s = time.monotonic()
    with (
        undaunted.options(deadline="500ms"),
        Session(tables.Base, readonly=True, token=Token(NEVER, 1)) as session,
        pytest.raises(exc.OperationalError),
    ):
        session.get(tables.Row, 1)
    within(time.monotonic() - before_s, 0.9)


# -- a lost connection -------------------------------------------------------------------------------


def end(lab: PostgresLab, session: Session) -> str:
    address, pid = whom(session)
    end_backend(lab, address, pid)
    return address


def test_a_statement_is_run_again_elsewhere(lab: PostgresLab, tables: Tables) -> None:
    with Session(tables.Base, readonly=True) as session:
        first = session.get_one(tables.Row, 1)
        lost = end(lab, session)
        assert session.get_one(tables.Row, 2).text == "row 2"
        assert whom(session)[0] != lost
        assert sa.inspect(first).persistent
        assert first.text == "row 1"
        assert session.in_transaction()
        session.commit()
        assert first.text == "row 1"  # expired, so it is read again


@pytest.mark.parametrize("how", ["begin", "commit", "rollback", "close"])
def test_the_end_of_a_transaction_that_has_only_read_fails_for_nobody(
    lab: PostgresLab, tables: Tables, how: str
) -> None:
    session = Session(tables.Base, readonly=True)
    if how == "begin":
        with session, session.begin():
            session.get(tables.Row, 1)
            end(lab, session)
            session.get(tables.Row, 2)
            end(lab, session)
    else:
        session.get(tables.Row, 1)
        end(lab, session)
        getattr(session, how)()
    assert session.get_one(tables.Row, 1).text == "row 1"
    session.close()


@pytest.mark.parametrize(
    "read",
    [
        lambda session, t: session.get_one(t.Row, 7).text,
        lambda session, t: session.scalars(sa.select(t.Row.text).where(t.Row.k == 7)).one(),
        lambda session, t: session.scalar(sa.select(t.Row.text).where(t.Row.k == 7)),
        lambda session, t: session.execute(sa.select(t.Row).where(t.Row.k == 7)).scalar_one().text,
        lambda session, t: session.query(t.Row).filter_by(k=7).one().text,
        lambda session, t: session.execute(sa.text("SELECT text FROM fixed_row WHERE k = 7")).scalar(),
        lambda session, t: session.scalar(sa.select(t.Row.__table__.c.text).where(t.Row.__table__.c.k == 7)),
    ],
)
def test_every_way_to_read_is_run_again(
    lab: PostgresLab, tables: Tables, read: Callable[[Session, Tables], str]
) -> None:
    with Session(tables.Base, readonly=True) as session:
        session.get(tables.Row, 1)
        end(lab, session)
        assert read(session, tables) == "row 7"


def test_an_expired_attribute_is_read_again_elsewhere(lab: PostgresLab, tables: Tables) -> None:
    with Session(tables.Base, readonly=True) as session:
        row = session.get_one(tables.Row, 1)
        session.expire(row)
        end(lab, session)
        assert row.text == "row 1"
        end(lab, session)
        session.refresh(row)
        assert row.text == "row 1"


@pytest.mark.parametrize(
    "state",
    [
        lambda session: session.execute(sa.text("SET LOCAL search_path TO public")),
        lambda session: session.connection().execute(sa.text("SELECT 1")),
        lambda session: session.begin_nested(),
    ],
)
def test_a_transaction_with_a_state_is_not_begun_anew_behind_its_back(
    lab: PostgresLab, tables: Tables, state: Callable[[Session], object]
) -> None:
    with Session(tables.Base, readonly=True) as session:
        session.get(tables.Row, 1)
        state(session)
        end(lab, session)
        with pytest.raises(exc.OperationalError) as raised:
            session.get(tables.Row, 2)
        assert type(raised.value) is exc.OperationalError
        session.rollback()
        assert session.get_one(tables.Row, 2).text == "row 2"


def test_a_snapshot_is_not_exchanged_for_another_one(lab: PostgresLab, configure: Callable[..., Tables]) -> None:
    """In REPEATABLE READ all statements see one moment; only the first may be run again."""
    tables = configure(options={"isolation_level": "REPEATABLE READ"})
    all_seen()
    with Session(tables.Base, readonly=True) as session:
        assert session.scalar(sa.text("SHOW transaction_isolation")) == "repeatable read"
        end(lab, session)
        with pytest.raises(exc.OperationalError):
            session.get(tables.Row, 2)
        assert session.get_one(tables.Row, 2).text == "row 2"  # a transaction of its own
        pooled = whom(session)
        session.commit()
        end_backend(lab, *pooled)
        assert session.get_one(tables.Row, 3).text == "row 3"


def test_with_every_node_gone_the_deadline_holds_and_the_error_is_sqlalchemy_s_too(
    fresh_postgresql_lab: PostgresLab,
) -> None:
    lab = fresh_postgresql_lab
    undaunted.configure(lab.settings_for("ledger"))
    try:
        all_seen()
        for node in lab.nodes:
            lab.kill(node)
        before_s = time.monotonic()
        with undaunted.options(deadline="1s"), Session("ledger", readonly=True) as session:
            with pytest.raises(exc.OperationalError) as raised:
                session.execute(sa.text("SELECT 1"))
            assert isinstance(raised.value, undaunted.errors.Exhausted)
        assert time.monotonic() - before_s > 0.9
        within(time.monotonic() - before_s, 1.2)
        assert issubclass(NoNodeAvailable, exc.OperationalError)
    finally:
        undaunted.close()


# -- asyncio -----------------------------------------------------------------------------------------


async def test_async_sessions_do_the_same(lab: PostgresLab, tables: Tables) -> None:
    who = sa.text("SELECT host(inet_server_addr()) || ':' || inet_server_port(), pg_backend_pid()")
    mark = uuid.uuid4().hex
    async with AsyncSession(tables.Base) as session:
        before = await session.token()
        session.add(tables.Note(mark=mark))
        await session.commit()
        given = await session.token()
        assert given is not None
        assert before is None or before < given
    count = sa.select(sa.func.count()).where(tables.Note.mark == mark)
    # So that there is another node to go to: whose position is not known yet, nobody may read from.
    await asyncio.to_thread(until, lambda: len(cluster_of("ledger").readers(after=given)) == 2, what="both replicas")
    async with AsyncSession(tables.Base, readonly=True, token=str(given)) as session:
        assert await session.scalar(count) == 1
        address, pid = (await session.execute(who)).one()
        await asyncio.to_thread(end_backend, lab, address, pid)
        assert (await session.get_one(tables.Row, 3)).text == "row 3"
        assert (await session.execute(who)).one()[0] != address
        with pytest.raises(exc.InvalidRequestError, match="readonly"):
            await session.execute(sa.delete(tables.Row))
        await session.commit()


async def test_waiting_for_a_node_holds_up_nobody_else(tables: Tables) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    task = asyncio.create_task(tick())
    async with AsyncSession(tables.Base, readonly=True, token=Token(NEVER, 1)) as session:
        with undaunted.options(deadline="500ms"), pytest.raises(exc.OperationalError):
            await session.get(tables.Row, 1)
    task.cancel()
    assert ticks > 10


async def test_two_hundred_tasks_read_their_own_writes(lab: PostgresLab, tables: Tables) -> None:
    replicas = [node for node in lab.nodes if lab.role(node) == "replica"]
    lab.lag(replicas[0])

    async def work() -> None:
        mark = uuid.uuid4().hex
        async with AsyncSession(tables.Base) as session:
            session.add(tables.Note(mark=mark))
            await session.commit()
        async with AsyncSession(tables.Base, readonly=True) as session:
            assert await session.scalar(sa.select(sa.func.count()).where(tables.Note.mark == mark)) == 1

    try:
        await asyncio.gather(*(work() for _ in range(200)))
    finally:
        lab.catch_up()
