"""Sockets that are cut, deadlines that are kept, names that lead to a cluster, and databases without nodes."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

import undaunted
from undaunted import sqlalchemy as us
from undaunted.core.attempt import Attempt
from undaunted.core.fault import Fault
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy import sockets
from undaunted.sqlalchemy.cluster import Cluster, cluster_of
from undaunted.sqlalchemy.deadlines import deadline_here_s, remaining_here_s
from undaunted.sqlalchemy.pools import Pool
from undaunted.sqlalchemy.urls import libpq_parameters, node_url, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# -- sockets ---------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        server, _ = listening.accept()
    with client, server:
        yield client, server


def test_who_waits_on_a_socket_that_is_cut_comes_free(pair: tuple[socket.socket, socket.socket]) -> None:
    client, _ = pair
    ends = sockets.ends_of(client.fileno())
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(client.recv(1)))
    thread.start()
    assert sockets.cut(client.fileno(), ends)
    thread.join(5.0)
    assert got == [b""]


def test_a_descriptor_that_belongs_to_somebody_else_by_now_is_left_alone(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    ends = sockets.ends_of(client.fileno())
    fd = client.fileno()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        other = socket.create_connection(listening.getsockname())
        peer, _ = listening.accept()
    with other, peer:
        os.dup2(other.fileno(), fd)  # the connection was closed, and its descriptor given to another one
        assert not sockets.cut(fd, ends)
        other.sendall(b"x")
        assert peer.recv(1) == b"x"
    assert server.recv(1) == b""


def test_what_is_no_connection_is_left_alone() -> None:
    reader, writer = os.pipe()
    assert sockets.ends_of(reader) is None
    assert not sockets.cut(reader, None)
    assert not sockets.cut(reader, (("127.0.0.1", 1), ("127.0.0.1", 2)))
    os.close(reader)
    os.close(writer)
    assert sockets.ends_of(reader) is None
    assert not sockets.cut(reader, (("127.0.0.1", 1), ("127.0.0.1", 2)))


def test_news_on_an_idle_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    news = sockets.news_of(client.fileno())
    assert not news()
    server.close()
    ends_s = time.monotonic() + 5.0
    while not news():
        assert time.monotonic() < ends_s


# -- deadlines -------------------------------------------------------------------------------------


def test_the_earliest_deadline_holds() -> None:
    assert deadline_here_s() is None
    assert remaining_here_s(7.0) == 7.0
    with undaunted.options(deadline="10s"):
        outer_s = deadline_here_s()
        assert outer_s is not None
        assert remaining_here_s(7.0) == 7.0
        with undaunted.options(deadline="1s"):
            inner_s = deadline_here_s()
            assert inner_s is not None
            assert inner_s < outer_s
            assert remaining_here_s(7.0) <= 1.0
        assert deadline_here_s() == outer_s


def test_a_pool_gives_up_at_the_deadline_and_keeps_its_own_timeout() -> None:
    engine = sa.create_engine("sqlite://", poolclass=Pool, pool_size=1, max_overflow=0, pool_timeout=30)
    with engine.connect():
        began_s = time.monotonic()
        with undaunted.options(deadline="50ms"), pytest.raises(exc.TimeoutError):
            engine.connect()
        assert 0.05 <= time.monotonic() - began_s < 1.0
    engine.dispose()
    pool = engine.pool
    assert isinstance(pool, Pool)
    assert pool.timeout() == 30
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    engine.dispose()


# -- names -----------------------------------------------------------------------------------------

SQLITE: dict[str, Any] = {"backend": "sqlalchemy", "url": "sqlite://"}


@pytest.fixture
def configured() -> Iterator[None]:
    undaunted.configure({"clusters": {"ledger": {**SQLITE, "default": True}, "other": SQLITE}})
    yield
    undaunted.close()


class Named:
    __undaunted__ = {"cluster": "other"}


class Inheriting(Named):
    pass


class Unnamed:
    __undaunted__: dict[str, Any] = {}


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("target", "name"),
    [("other", "other"), (Named, "other"), (Inheriting, "other"), (Named(), "other"), (Unnamed, "ledger")],
)
def test_what_leads_to_a_cluster(target: Any, name: str) -> None:
    cluster = cluster_of(target)
    assert cluster.name == name
    assert cluster_of(cluster) is cluster
    assert us.engine(target) is cluster.writer


@pytest.mark.usefixtures("configured")
def test_what_leads_to_none() -> None:
    with pytest.raises(ConfigurationError, match="othr"):
        cluster_of("othr")


def test_a_class_without_a_cluster_and_without_a_default_one() -> None:
    undaunted.configure({"clusters": {"ledger": SQLITE}})
    with pytest.raises(ConfigurationError, match="default = true"):
        cluster_of(Unnamed)
    undaunted.close()


def test_the_default_is_forgotten_when_it_is_closed() -> None:
    for name in ("one", "two"):
        undaunted.configure({"clusters": {name: {**SQLITE, "default": True}}})
        assert cluster_of(Unnamed).name == name
    undaunted.close()


# -- databases without nodes -----------------------------------------------------------------------


@pytest.fixture
def sqlite(tmp_path: Any) -> Iterator[Cluster]:
    undaunted.configure({"clusters": {"ledger": {"backend": "sqlalchemy", "url": f"sqlite:///{tmp_path}/db"}}})
    yield cluster_of("ledger")
    undaunted.close()


def test_a_database_without_nodes_is_one_engine(sqlite: Cluster) -> None:
    assert not sqlite.is_postgresql
    assert sqlite.engine_of("anywhere:1") is sqlite.writer
    assert sqlite.primary is None
    assert sqlite.sights() == ()
    assert sqlite.readers(after=None) == []
    assert sqlite.token_since(0.0) is None
    assert sqlite.status()["nodes"] == []
    assert sqlite.guard.outage.is_over
    with sqlite.writer.connect() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("undaunted-")]


def test_its_pool_is_bounded_by_deadlines_where_it_is_one_of_queues(sqlite: Cluster) -> None:
    assert isinstance(sqlite.writer.pool, Pool)
    undaunted.configure({"clusters": {"ledger": SQLITE}})
    assert not isinstance(cluster_of("ledger").writer.pool, Pool)


def test_a_closed_cluster_says_so(sqlite: Cluster) -> None:
    undaunted.close()
    sqlite.close()
    with pytest.raises(ConfigurationError, match="Cluster 'ledger' has been closed"):
        _ = sqlite.writer


def test_an_async_driver_has_no_sync_engine() -> None:
    undaunted.configure({"clusters": {"ledger": {"backend": "sqlalchemy", "url": "sqlite+aiosqlite://"}}})
    with pytest.raises(ConfigurationError, match="is for asyncio only"):
        us.engine("ledger")
    undaunted.close()


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("sqlite://", {"no_such_option": 1}, "clusters.ledger.options: SQLAlchemy refuses them"),
        ("nothing://host/db", {}, "clusters.ledger.url: is no URL that SQLAlchemy understands"),
    ],
)
def test_what_sqlalchemy_refuses(url: str, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        undaunted.configure({"clusters": {"ledger": {"backend": "sqlalchemy", "url": url, "options": options}}})
        us.engine("ledger")
    undaunted.close()


# -- URLs ------------------------------------------------------------------------------------------


def test_the_url_of_a_node() -> None:
    url = sa.make_url("postgresql+psycopg://app:x@/shop?host=a:1&host=b:2&application_name=web")
    assert place_of("[::1]:5432") == ("::1", 5432)
    made = node_url(url, "pg2:6000")
    assert (made.host, made.port, dict(made.query)) == ("pg2", 6000, {"application_name": "web"})


def test_what_libpq_is_given() -> None:
    url = sa.make_url("postgresql+psycopg://app:x@a:1/shop?application_name=web")
    assert libpq_parameters(url, {"sslmode": "require", "prepare_threshold": None, "autocommit": True}) == {
        "user": "app",
        "password": "x",
        "dbname": "shop",
        "application_name": "web",
        "sslmode": "require",
    }


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        us.OutcomeUnknown,
        us.Exhausted,
        us.DeadlineExceeded,
        us.NoNodeAvailable,
        us.BudgetExhausted,
        us.CredentialsRefused,
        us.UnusableCluster,
        us.CommitRolledBack,
    ],
)
def test_an_error_of_ours_is_one_of_sqlalchemys(kind: Any) -> None:
    secret = exc.OperationalError("INSERT", {"card": "4711"}, ValueError("4711"))
    error = kind("told", attempts=[Attempt(node="n1:1", fault=Fault.UNKNOWN, elapsed_s=1.0, error=secret)])
    assert isinstance(error, undaunted.UndauntedError)
    assert isinstance(error, exc.DBAPIError)
    assert (error.orig, error.statement, error.params, error.code) == (None, None, None, None)
    assert str(error) == "told"
    assert str(kind()) != ""
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.attempts[0].node) == (kind, "told", "n1:1")
    assert b"4711" not in pickle.dumps(error)
