"""The engine of a cluster goes where writes are taken; those of nodes go to them; what is dead is not lent."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc
from tests.integration.speed import within
from tests.integration.sqlalchemy.engines import Heard, opened, ours, timed, until

from undaunted import sqlalchemy as us
from undaunted.sqlalchemy import sockets

if TYPE_CHECKING:
    from undaunted.lab import PostgresLab
    from undaunted.sqlalchemy.cluster import Cluster
    from undaunted.sqlalchemy.tokens import Token

pytestmark = pytest.mark.integration

WHERE = sa.text("SELECT inet_server_port(), pg_is_in_recovery(), pg_backend_pid()")


def where(engine: sa.Engine) -> tuple[int, bool, int]:
    with engine.connect() as connection:
        row = connection.execute(WHERE).one()
    return row[0], row[1], row[2]


def port_of(lab: PostgresLab, which: str) -> int:
    return int(lab.node(which).address.rpartition(":")[2])


def test_settings_alone_open_nothing(postgresql_lab: PostgresLab) -> None:
    with opened(postgresql_lab.settings_for("ledger")) as cluster:
        assert ours() == set()
        assert cluster.primary is None
        assert [node["role"] for node in cluster.status()["nodes"]] == ["unknown"] * 3
        assert us.engine("ledger") is us.engine("ledger") is cluster.writer
        assert us.async_engine("ledger") is cluster.async_writer
        assert ours() == set()


def test_each_engine_goes_to_its_node(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster:
        leader = lab.primary()
        assert where(cluster.writer)[:2] == (port_of(lab, leader.name), False)
        assert cluster.primary == leader.address
        for node in lab.nodes:
            assert where(cluster.engine_of(node.address))[:2] == (port_of(lab, node.name), node.name != leader.name)
        sights = until(lambda: all(sight.is_up for sight in cluster.sights()) and cluster.sights())
        assert {sight.role for sight in sights} == {"primary", "replica"}
        assert len({sight.system_identifier for sight in sights}) == 1
        assert {sight.timeline for sight in sights} == {sights[0].timeline}


async def test_async_engines_go_to_theirs(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster:
        leader = lab.primary()
        async with cluster.async_writer.connect() as connection:
            assert (await connection.execute(WHERE)).one()[1] is False
        standby = next(node for node in lab.nodes if node.name != leader.name)
        async with cluster.async_engine_of(standby.address).connect() as connection:
            assert (await connection.execute(WHERE)).one()[1] is True


def test_the_pool_keeps_connections(healthy_postgresql_lab: PostgresLab) -> None:
    with opened(healthy_postgresql_lab.settings_for("ledger")) as cluster:
        assert len({where(cluster.writer)[2] for _ in range(20)}) == 1


def test_what_the_server_has_ended_while_it_was_idle_is_not_lent(healthy_postgresql_lab: PostgresLab) -> None:
    """Without a question to the server: its last words and its end are seen on the socket."""
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster:
        before = where(cluster.writer)[2]
        with lab.operator("primary") as operator:
            operator.execute("SELECT pg_terminate_backend(%s)", [before])
        (link,) = cluster._links.all()
        until(link.has_ended)  # the server's process is off its list before its socket is closed
        assert where(cluster.writer)[2] != before


def test_an_idle_connection_that_has_been_told_something_is_well(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster, lab.connect() as other:
        with cluster.writer.connect() as connection:
            connection.execute(sa.text("LISTEN news"))
            connection.commit()
            before = connection.execute(WHERE).one()[2]
        other.execute("NOTIFY news")
        (link,) = cluster._links.all()
        until(sockets.news_of(link.pgconn.socket))
        assert where(cluster.writer)[2] == before


@pytest.mark.alone
def test_a_killed_primary(healthy_postgresql_lab: PostgresLab) -> None:
    """Its connections are left at once, and the next go to the promoted node."""
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster, Heard() as heard:
        old = lab.primary()
        held = [cluster.writer.connect() for _ in range(3)]
        for connection in held:
            connection.close()
        assert cluster.primary == old.address
        lab.kill("primary")
        until(lambda: cluster.primary is None, 1.0)
        new = lab.promote()
        with timed() as first:
            assert where(cluster.writer)[:2] == (port_of(lab, new.name), False)
        within(first.took_s, 0.2)
        assert cluster.primary == new.address
        (completed,) = heard.of("FailoverCompleted")
        assert (completed.from_node, completed.to_node) == (old.address, new.address)
        assert [event.node for event in heard.of("NodeLost")] == [old.address]
        with pytest.raises(us.NoNodeAvailable, match="cannot be used"):
            where(cluster.engine_of(old.address))


@pytest.mark.alone
def test_a_frozen_primary_sets_its_threads_free(healthy_postgresql_lab: PostgresLab) -> None:
    """One that is in the midst of a statement gets its error within the heartbeat's timeout."""
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster, cluster.writer.connect() as connection:
        connection.execute(WHERE)
        lab.freeze("primary")
        with timed() as waited, pytest.raises(exc.OperationalError) as caught:
            connection.execute(WHERE)
        assert waited.took_s >= 0.3
        within(waited.took_s, 1.3)
        assert caught.value.connection_invalidated
        assert cluster.primary is None


@pytest.mark.alone
async def test_a_frozen_primary_sets_its_tasks_free(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster:
        async with cluster.async_writer.connect() as connection:
            await connection.execute(WHERE)
            await asyncio.to_thread(lab.freeze, "primary")
            with timed() as waited, pytest.raises(exc.OperationalError):
                await connection.execute(WHERE)
            assert waited.took_s >= 0.3
            within(waited.took_s, 1.3)


@pytest.mark.alone
def test_an_old_primary_that_comes_back_gets_no_writes(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster, Heard() as heard:
        assert where(cluster.writer)
        old = lab.freeze("primary")
        until(lambda: cluster.primary is None, 2.0)
        new = lab.promote()
        assert where(cluster.writer)[0] == port_of(lab, new.name)
        assert heard.of("TwoPrimaries") == []
        lab.thaw(old)
        until(lambda: heard.of("TwoPrimaries"), 5.0)
        (told,) = heard.of("TwoPrimaries")
        assert (set(told.nodes), told.chosen) == ({old.address, new.address}, new.address)
        assert set(cluster.status()["contested"]) == {old.address, new.address}
        for _ in range(20):
            assert where(cluster.writer)[0] == port_of(lab, new.name)
        assert cluster.primary == new.address


@pytest.mark.alone
def test_a_promotion_beside_a_living_primary_ends_what_was_begun_there(healthy_postgresql_lab: PostgresLab) -> None:
    """What was committed there would be lost, so it is not committed there any more."""
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster:
        with pytest.raises(exc.OperationalError), cluster.writer.begin() as connection:
            connection.execute(WHERE)
            new = lab.promote(next(node for node in lab.nodes if node.name != lab.primary().name))
            until(lambda: cluster.primary == new.address)
            connection.execute(WHERE)
        assert where(cluster.writer)[0] == port_of(lab, new.name)


@pytest.mark.alone
def test_a_node_that_takes_no_writes_any_more_is_left(healthy_postgresql_lab: PostgresLab) -> None:
    """25006 ends the connection, where it is not the transaction's own wish to be read only."""
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster, lab.operator("primary") as operator:
        writer = cluster.writer
        with writer.begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS fenced (id int)"))
            before = connection.execute(WHERE).one()[2]
        with pytest.raises(exc.InternalError) as caught, writer.connect() as connection:
            connection.execution_options(postgresql_readonly=True).execute(sa.text("INSERT INTO fenced VALUES (1)"))
        assert not caught.value.connection_invalidated
        assert where(writer)[2] == before
        writer.dispose()  # SQLAlchemy has that connection begin with READ WRITE from now on, whatever is the default
        with writer.connect() as connection:
            connection.execute(WHERE)
            connection.rollback()
            try:
                operator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                operator.execute("SELECT pg_reload_conf()")
                until(lambda: cluster.primary is None, 2.0)
                with pytest.raises(exc.DBAPIError) as caught:
                    connection.execute(sa.text("INSERT INTO fenced VALUES (1)"))
                assert caught.value.connection_invalidated
            finally:
                operator.execute("ALTER SYSTEM RESET default_transaction_read_only")
                operator.execute("SELECT pg_reload_conf()")
        with writer.begin() as connection:
            connection.execute(sa.text("DROP TABLE fenced"))


def readable(cluster: Cluster, token: Token | None) -> set[str]:
    return set(cluster.readers(after=token))


@pytest.mark.alone
def test_readers_have_what_was_committed(healthy_postgresql_lab: PostgresLab) -> None:
    lab = healthy_postgresql_lab
    leader = lab.primary()
    standbys = [node for node in lab.nodes if node.name != leader.name]
    with opened(lab.settings_for("ledger")) as cluster, lab.connect() as plain:
        assert where(cluster.writer)
        until(lambda: len(cluster.readers(after=None)) == 2)
        lab.lag(standbys[0])
        plain.execute("CREATE TABLE IF NOT EXISTS behind (id int)")
        plain.execute("INSERT INTO behind VALUES (1)")
        committed_s = time.monotonic()
        assert cluster.token_since(committed_s) is None
        token = until(lambda: cluster.token_since(committed_s))
        until(lambda: readable(cluster, token) == {standbys[1].address})
        assert readable(cluster, None) == {node.address for node in standbys}
        assert cluster.readers(after=token, avoid={standbys[1].address}) == []
        lab.catch_up(standbys[0])
        until(lambda: readable(cluster, token) == {node.address for node in standbys})
        plain.execute("DROP TABLE behind")


@pytest.mark.alone
def test_replicas_serve_readers_again_after_a_promotion(healthy_postgresql_lab: PostgresLab) -> None:
    """Also those of a role that may not see what a standby receives."""
    lab = healthy_postgresql_lab
    with opened(lab.settings_for("ledger")) as cluster:
        assert where(cluster.writer)
        old = lab.kill("primary")
        new = lab.promote()
        with cluster.writer.begin() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS after_promotion (id int)"))
        committed_s = time.monotonic()
        token: Any = until(lambda: cluster.token_since(committed_s))
        other = next(node for node in lab.nodes if node.name not in (old.name, new.name))
        until(lambda: readable(cluster, token) == {other.address}, 15.0)
        with cluster.writer.begin() as connection:
            connection.execute(sa.text("DROP TABLE after_promotion"))
