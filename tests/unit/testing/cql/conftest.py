"""Real drivers against the fake cluster: connected in milliseconds, shut down with the test."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.cqlengine import connection, models
from cassandra.policies import FallthroughRetryPolicy, RoundRobinPolicy, WhiteListRoundRobinPolicy

from undaunted.testing.cql import FakeCassandra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cassandra.cluster import Session

    Connect = Callable[..., Session]


def wait_for(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until something holds that another thread brings about."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"it has not come to be in {timeout_s} s"
        time.sleep(0.002)


@pytest.fixture(name="wait_for")
def waiting() -> Callable[..., None]:
    """`wait_for`, for tests."""
    return wait_for


@pytest.fixture(params=[4, 5], ids=["v4", "v5"])
def fake(request: pytest.FixtureRequest) -> Iterator[FakeCassandra]:
    """A cluster that speaks this version at most."""
    with FakeCassandra(protocol=request.param) as made:
        yield made


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes a session of the driver; `only` sends every statement to one node, and nothing is retried by default."""
    with ExitStack() as stack:

        def made(fake: FakeCassandra, *, only: int | None = None, retry: Any = None, **options: Any) -> Session:
            policy = RoundRobinPolicy() if only is None else WhiteListRoundRobinPolicy([fake.nodes[only - 1].address])
            profile = ExecutionProfile(
                load_balancing_policy=policy,
                retry_policy=retry or FallthroughRetryPolicy(),
                request_timeout=options.pop("timeout_s", 10.0),
            )
            options.setdefault("protocol_version", fake.nodes[0].member.protocol)
            points = fake.contact_points if only is None else [fake.nodes[only - 1].address]
            cluster = Cluster(points, port=fake.port, execution_profiles={EXEC_PROFILE_DEFAULT: profile}, **options)
            stack.callback(cluster.shutdown)
            session = cluster.connect()
            wait_for(lambda: len(session.get_pool_state()) == (len(fake.nodes) if only is None else 1))
            return session

        yield made


@pytest.fixture
def session(fake: FakeCassandra, connect: Connect) -> Session:
    """A session with the keyspace ``ks`` and a table ``t`` of a key and a value."""
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.t (k int PRIMARY KEY, v text)")
    fake.execute("CREATE TABLE ks.hits (page text PRIMARY KEY, n counter)")
    made = connect(fake)
    made.set_keyspace("ks")
    return made


@pytest.fixture
def engine(fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCassandra]:
    """The default connection of cqlengine, to a keyspace ``shop``."""
    monkeypatch.setenv("CQLENG_ALLOW_SCHEMA_MANAGEMENT", "1")
    fake.create_keyspace("shop")
    version = fake.nodes[0].member.protocol
    connection.setup(fake.contact_points, "shop", port=fake.port, protocol_version=version)
    yield fake
    connection.unregister_connection("default")
    models.DEFAULT_KEYSPACE = None  # cqlengine itself keeps it
