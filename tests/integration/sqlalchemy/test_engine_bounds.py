"""Nothing waits longer than it may: a lock, a COMMIT, the pool, a black hole; and what a COMMIT's answer is worth."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from tests.contract.backends.postgres_gate import PostgresGate
from tests.integration.speed import within
from tests.integration.sqlalchemy.engines import Heard, opened, timed, until

import undaunted
from undaunted import sqlalchemy as us
from undaunted.lab import PostgresLab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.sqlalchemy.cluster import Cluster

pytestmark = [pytest.mark.integration, pytest.mark.alone]

SLACK_S = 0.1
ONE = sa.text("SELECT 1")


@pytest.fixture
def cluster(healthy_postgresql_lab: PostgresLab) -> Iterator[Cluster]:
    with opened(healthy_postgresql_lab.settings_for("ledger")) as made:
        yield made


@pytest.fixture
def locked(cluster: Cluster) -> Iterator[Any]:
    """A statement that waits for a lock."""
    with cluster.writer.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS locked (id int PRIMARY KEY)"))
    with cluster.writer.connect() as holder:
        holder.execute(sa.text("LOCK TABLE locked"))
        yield sa.text("INSERT INTO locked VALUES (1)")
        holder.execute(sa.text("DROP TABLE locked"))
        holder.commit()


def test_a_lock(cluster: Cluster, locked: Any) -> None:
    with (
        timed() as waited,
        pytest.raises(us.DeadlineExceeded) as caught,
        undaunted.options(deadline="300ms"),
        cluster.writer.begin() as connection,
    ):
        connection.execute(locked)
    assert waited.took_s >= 0.3
    within(waited.took_s, 0.3 + SLACK_S)
    assert isinstance(caught.value, exc.OperationalError)
    with cluster.writer.connect() as connection:
        assert connection.execute(ONE).scalar() == 1


async def test_a_lock_in_a_task(cluster: Cluster, locked: Any) -> None:
    with timed() as waited, pytest.raises(us.DeadlineExceeded), undaunted.options(deadline="300ms"):
        async with cluster.async_writer.begin() as connection:
            await connection.execute(locked)
    assert waited.took_s >= 0.3
    within(waited.took_s, 0.3 + SLACK_S)
    async with cluster.async_writer.connect() as connection:
        assert (await connection.execute(ONE)).scalar() == 1
    assert cluster.async_writer.pool.checkedout() == 0


def test_what_was_left_does_not_go_on_at_the_server(healthy_postgresql_lab: PostgresLab, cluster: Cluster) -> None:
    """Its locks go with it, within the second in which the server looks for its client."""
    with (
        contextlib.suppress(us.DeadlineExceeded),
        undaunted.options(deadline="200ms"),
        cluster.writer.begin() as connection,
    ):
        connection.execute(sa.text("SELECT pg_sleep(20)"))
    with healthy_postgresql_lab.operator("primary") as operator:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
        until(lambda: operator.execute(running).fetchone() == (0,), 3.0)


def test_deadlines_that_are_met_end_nothing(cluster: Cluster) -> None:
    with cluster.writer.connect() as connection:
        before = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
    for _ in range(20):
        with undaunted.options(deadline="100ms"), cluster.writer.connect() as connection:
            connection.execute(ONE)
    time.sleep(0.2)  # each of those deadlines passes, while nobody has the connection
    with cluster.writer.connect() as connection:
        assert connection.execute(sa.text("SELECT pg_backend_pid()")).scalar() == before


def test_the_pool(healthy_postgresql_lab: PostgresLab) -> None:
    settings = healthy_postgresql_lab.settings_for("ledger")
    settings["clusters"]["ledger"]["pool"] = {"size": 1, "max_overflow": 0, "timeout": "1s"}
    with opened(settings) as cluster, cluster.writer.connect():
        with timed() as waited, pytest.raises(exc.TimeoutError), undaunted.options(deadline="300ms"):
            cluster.writer.connect()
        assert waited.took_s >= 0.3
        within(waited.took_s, 0.3 + SLACK_S)
        with timed() as waited, pytest.raises(exc.TimeoutError):
            cluster.writer.connect()
        assert waited.took_s >= 1.0
        within(waited.took_s, 1.0 + SLACK_S)


async def test_the_pool_of_tasks(healthy_postgresql_lab: PostgresLab) -> None:
    settings = healthy_postgresql_lab.settings_for("ledger")
    settings["clusters"]["ledger"]["pool"] = {"size": 1, "max_overflow": 0}
    with opened(settings) as cluster:
        async with cluster.async_writer.connect():
            with timed() as waited, pytest.raises(exc.TimeoutError), undaunted.options(deadline="300ms"):
                async with cluster.async_writer.connect():
                    raise AssertionError
            assert waited.took_s >= 0.3
            within(waited.took_s, 0.3 + SLACK_S)


@pytest.fixture
def black_hole() -> Iterator[str]:
    """A node whose machine takes connections, and which says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@contextlib.contextmanager
def opened_at(address: str) -> Iterator[Cluster]:
    with opened({"clusters": {"ledger": {"backend": "sqlalchemy", "url": f"postgresql://app@{address}/x"}}}) as made:
        yield made


def test_a_black_hole(black_hole: str) -> None:
    with opened_at(black_hole) as cluster:
        with timed() as waited, pytest.raises(us.NoNodeAvailable) as caught, undaunted.options(deadline="300ms"):
            cluster.writer.connect()
        assert waited.took_s >= 0.3
        within(waited.took_s, 0.3 + SLACK_S)
        until(lambda: cluster.sights()[0].error == "Silent", 4.0)
        with pytest.raises(us.NoNodeAvailable, match="does not answer") as caught, undaunted.options(deadline="50ms"):
            cluster.writer.connect()
        assert isinstance(caught.value, exc.OperationalError)


async def test_a_black_hole_in_a_task(black_hole: str) -> None:
    with opened_at(black_hole) as cluster:
        with timed() as waited, pytest.raises(us.NoNodeAvailable), undaunted.options(deadline="300ms"):
            async with cluster.async_writer.connect():
                raise AssertionError
        assert waited.took_s >= 0.3
        within(waited.took_s, 0.3 + SLACK_S)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with opened_at(address) as cluster:
        unreachable = pytest.raises(us.NoNodeAvailable, match="cannot be reached")
        with timed() as waited, unreachable, undaunted.options(deadline="200ms"):
            cluster.writer.connect()
        assert waited.took_s >= 0.2
        within(waited.took_s, 0.2 + SLACK_S)
        with timed() as waited, pytest.raises(us.NoNodeAvailable):
            cluster.engine_of(address).connect()
        within(waited.took_s, SLACK_S)


def test_a_node_that_freezes_while_it_is_connected_to(healthy_postgresql_lab: PostgresLab, cluster: Cluster) -> None:
    with cluster.writer.connect() as connection:
        connection.execute(ONE)
    cluster.writer.dispose()
    healthy_postgresql_lab.freeze("primary")
    with timed() as waited, pytest.raises(us.NoNodeAvailable), undaunted.options(deadline="500ms"):
        cluster.writer.connect()
    assert waited.took_s >= 0.5
    within(waited.took_s, 0.5 + SLACK_S)


async def test_a_task_that_is_cancelled_leaves_nothing_behind(cluster: Cluster, locked: Any) -> None:
    async def wait() -> None:
        async with cluster.async_writer.begin() as connection:
            await connection.execute(locked)

    async with cluster.async_writer.connect() as connection:  # the first asks the server more, and SQLAlchemy 2.0 has
        await connection.execute(ONE)  # an error of its own for who is cancelled meanwhile
    tasks = [asyncio.create_task(wait()) for _ in range(5)]
    await asyncio.sleep(0.2)
    for task in tasks:
        task.cancel()
    with timed() as waited:
        done = await asyncio.gather(*tasks, return_exceptions=True)
    within(waited.took_s, 1.0)
    assert all(isinstance(each, asyncio.CancelledError) for each in done), done
    assert cluster.async_writer.pool.checkedout() == 0
    async with cluster.async_writer.connect() as connection:
        assert (await connection.execute(ONE)).scalar() == 1


class _Freezes(list[str]):
    """What has arrived at a gate, which lets nothing through any more once a new connection is being prepared."""

    def __init__(self, gate: PostgresGate) -> None:
        self._gate = gate

    def append(self, text: str) -> None:
        super().append(text)
        if text.startswith("SELECT set_config"):
            self._gate.goes_on.clear()


def test_a_node_that_falls_silent_behind_its_greeting_keeps_no_thread(healthy_postgresql_lab: PostgresLab) -> None:
    """`opened` waits for every thread of ours to end, and the node goes on saying nothing."""
    lab = healthy_postgresql_lab
    primary = lab.primary()
    gate = PostgresGate(primary.host, primary.port)
    gate.orders.arrived = _Freezes(gate)
    settings = lab.settings_for("ledger")
    settings["clusters"]["ledger"]["nodes"] = [gate.address]
    try:
        with opened(settings) as cluster:
            with timed() as waited, pytest.raises(us.NoNodeAvailable), undaunted.options(deadline="500ms"):
                cluster.writer.connect()
            assert waited.took_s >= 0.5
            within(waited.took_s, 0.5 + SLACK_S)
            assert any(text.startswith("SELECT set_config") for text in gate.orders.arrived)
    finally:
        gate.goes_on.set()
        gate.stop()


async def test_a_task_that_is_cancelled_while_it_connects(black_hole: str) -> None:
    with opened_at(black_hole) as cluster:
        task = asyncio.create_task(cluster.async_writer.connect().__aenter__())
        await asyncio.sleep(0.1)
        task.cancel()
        with timed() as waited, pytest.raises(asyncio.CancelledError):
            await task
        within(waited.took_s, SLACK_S)
        assert cluster.async_writer.pool.checkedout() == 0


def test_a_role_without_free_connections(healthy_postgresql_lab: PostgresLab, cluster: Cluster) -> None:
    """53300 is waited out; the monitors have theirs."""
    lab = healthy_postgresql_lab
    with cluster.writer.connect() as connection:
        connection.execute(ONE)
        user = connection.execute(sa.text("SELECT current_user")).scalar()
        until(lambda: all(sight.is_up for sight in cluster.sights()))
        with lab.operator("primary") as operator:
            operator.execute(f"ALTER ROLE {user} CONNECTION LIMIT 2")
            try:
                with timed() as waited, pytest.raises(us.NoNodeAvailable), undaunted.options(deadline="300ms"):
                    cluster.writer.connect()
                assert waited.took_s >= 0.3
                within(waited.took_s, 0.3 + SLACK_S)
                assert cluster.primary is not None
                timer = threading.Timer(0.3, operator.execute, [f"ALTER ROLE {user} CONNECTION LIMIT -1"])
                timer.start()
                with cluster.writer.connect() as second:
                    assert second.execute(ONE).scalar() == 1
                timer.join()
            finally:
                operator.execute(f"ALTER ROLE {user} CONNECTION LIMIT -1")


def test_a_commit_that_the_server_would_answer_with_rollback(cluster: Cluster) -> None:
    with cluster.writer.connect() as connection:
        connection.execute(sa.text("CREATE TEMPORARY TABLE t (id int)"))
        connection.commit()
        connection.execute(sa.text("INSERT INTO t VALUES (1)"))
        with contextlib.suppress(exc.DataError):
            connection.execute(sa.text("SELECT 1/0"))
        with pytest.raises(us.CommitRolledBack, match="had failed before its COMMIT") as caught:
            connection.commit()
        assert isinstance(caught.value, exc.InternalError)
        connection.rollback()
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 0


async def test_the_same_in_a_task(cluster: Cluster) -> None:
    async with cluster.async_writer.connect() as connection:
        with contextlib.suppress(exc.DataError):
            await connection.execute(sa.text("SELECT 1/0"))
        with pytest.raises(us.CommitRolledBack):
            await connection.commit()
        await connection.rollback()


def test_a_wait_for_a_standby_that_was_given_up(healthy_postgresql_lab: PostgresLab, cluster: Cluster) -> None:
    """The server answers such a COMMIT with success, and a notice."""
    lab = healthy_postgresql_lab
    with cluster.writer.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS weak (id int)"))
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
    lab.wait_for("nobody")
    with Heard() as heard, lab.operator("primary") as operator:

        def cancel() -> None:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'SyncRep'"
            until(lambda: operator.execute(waiting, [pid]).fetchall())
            operator.execute("SELECT pg_cancel_backend(%s)", [pid])

        canceller = threading.Thread(target=cancel)
        canceller.start()
        with cluster.writer.begin() as connection:
            assert connection.execute(sa.text("SELECT pg_backend_pid()")).scalar() == pid
            connection.execute(sa.text("INSERT INTO weak VALUES (1)"))
        canceller.join()
        (told,) = heard.of("DurabilityWeakened")
        assert told.node == cluster.primary
        assert cluster.status()["weakened_commits"] == 1
    lab.wait_for(None)
    with cluster.writer.begin() as connection:
        connection.execute(sa.text("DROP TABLE weak"))


def test_every_commit_hangs_since_its_standby_is_missing(healthy_postgresql_lab: PostgresLab, cluster: Cluster) -> None:
    lab = healthy_postgresql_lab
    with cluster.writer.begin() as connection:
        connection.execute(sa.text("CREATE TABLE IF NOT EXISTS hangs (id int)"))
    lab.wait_for("nobody")
    until(lambda: any(sight.waits_for_standby for sight in cluster.sights()))
    with (
        timed() as waited,
        pytest.raises(us.DeadlineExceeded),
        undaunted.options(deadline="300ms"),
        cluster.writer.begin() as connection,
    ):
        connection.execute(sa.text("INSERT INTO hangs VALUES (1)"))
    assert waited.took_s >= 0.3
    within(waited.took_s, 0.3 + SLACK_S)
    said = cluster.guard.diagnose() if cluster.guard.diagnose else None
    assert said is not None
    assert "every COMMIT" in said
    assert "synchronous_standby_names" in said
    lab.wait_for(None)
    with cluster.writer.begin() as connection:
        connection.execute(sa.text("DROP TABLE hangs"))


def test_a_promoted_node_that_lacks_what_was_acknowledged() -> None:
    """Asynchronous replication: no client can prevent it, and this one tells of it."""
    with PostgresLab(2, synchronous="") as lab, opened(lab.settings_for("ledger")) as cluster, Heard() as heard:
        with cluster.writer.begin() as connection:
            connection.execute(sa.text("CREATE TABLE t (id serial, told text)"))
        standby = next(node for node in lab.nodes if node.name != lab.primary().name)
        lab.wait_healthy()
        lab.kill(standby)
        for _ in range(3):
            with cluster.writer.begin() as connection:
                connection.execute(
                    sa.text("INSERT INTO t (told) SELECT repeat('x', 1000) FROM generate_series(1, 100)")
                )
            seen = next(sight for sight in cluster.sights() if sight.role == "primary")
            until(lambda seen=seen: cluster.token_since((seen.asked_s or 0.0) + 0.001))
        lab.kill("primary")
        lab.start(standby)
        lab.promote(standby)
        (told,) = until(lambda: heard.of("AcknowledgedLost"))
        assert told.node == standby.address
        assert told.lost_bytes > 1000
        assert cluster.status()["lost_acknowledged"] == 1
        with cluster.writer.connect() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar() == 0


def test_a_failover_that_loses_nothing_tells_of_no_loss(healthy_postgresql_lab: PostgresLab, cluster: Cluster) -> None:
    lab = healthy_postgresql_lab
    with Heard() as heard:
        with cluster.writer.begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS kept (id int)"))
        for number in range(20):
            with cluster.writer.begin() as connection:
                connection.execute(sa.text("INSERT INTO kept VALUES (:number)"), {"number": number})
        lab.kill("primary")
        lab.promote()
        with cluster.writer.begin() as connection:
            assert connection.execute(sa.text("SELECT count(*) FROM kept")).scalar() == 20
            connection.execute(sa.text("DROP TABLE kept"))
        until(lambda: heard.of("FailoverCompleted"))
        assert heard.of("AcknowledgedLost") == []
        assert heard.of("DurabilityWeakened") == []


def test_a_replica_without_free_connections_is_not_waited_for(
    healthy_postgresql_lab: PostgresLab, cluster: Cluster
) -> None:
    """There may be others."""
    lab = healthy_postgresql_lab
    standby = next(node for node in lab.nodes if node.name != lab.primary().name)
    with cluster.engine_of(standby.address).connect() as connection:
        user = connection.execute(sa.text("SELECT current_user")).scalar()
        until(lambda: all(sight.is_up for sight in cluster.sights()))
        with lab.operator("primary") as operator:
            operator.execute(f"ALTER ROLE {user} CONNECTION LIMIT 2")
            try:
                lab.wait_healthy()
                with timed() as waited, pytest.raises(us.NoNodeAvailable, match="53300"):
                    cluster.engine_of(standby.address).connect()
                within(waited.took_s, 1.0)
            finally:
                operator.execute(f"ALTER ROLE {user} CONNECTION LIMIT -1")
