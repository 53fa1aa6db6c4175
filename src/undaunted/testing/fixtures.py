"""Fixtures on top of the lab and of the fake cluster. Each imports what it needs when a test first asks for it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from undaunted.lab import CassandraLab, MongoLab, PostgresLab
    from undaunted.testing.cql import FakeCassandra

__all__ = [
    "cassandra_lab",
    "fake_cassandra",
    "fresh_cassandra_lab",
    "fresh_mongo_lab",
    "fresh_postgresql_lab",
    "healthy_cassandra_lab",
    "healthy_mongo_lab",
    "healthy_postgresql_lab",
    "make_fake_cassandra",
    "mongo_lab",
    "postgresql_lab",
]


@pytest.fixture(scope="session")
def mongo_lab() -> Generator[MongoLab]:
    """One three-node replica set for the whole run, in whatever state the last test left it.

    A missing server is an error of the test, never a skip: the promise was not tested then.
    """
    from undaunted.lab import MongoLab  # noqa: PLC0415

    with MongoLab() as lab:
        yield lab


@pytest.fixture
def healthy_mongo_lab(mongo_lab: MongoLab) -> MongoLab:
    """The replica set of the run, healed: every node up, one primary, and every node has caught up."""
    mongo_lab.heal()
    return mongo_lab


@pytest.fixture
def fresh_mongo_lab() -> Generator[MongoLab]:
    """A three-node replica set of the test's own, new and empty; about three seconds."""
    from undaunted.lab import MongoLab  # noqa: PLC0415

    with MongoLab() as lab:
        yield lab


@pytest.fixture(scope="session")
def cassandra_lab() -> Generator[CassandraLab]:
    """One three-node cluster of Cassandra for the whole run, in whatever state the last test left it.

    The commit log is written before a write is acknowledged, so that a test may ask that nothing be lost. A missing
    server is an error of the test, never a skip: the promise was not tested then.
    """
    from undaunted.lab import CassandraLab  # noqa: PLC0415

    with CassandraLab() as lab:
        yield lab


@pytest.fixture
def healthy_cassandra_lab(cassandra_lab: CassandraLab) -> CassandraLab:
    """The cluster of the run, healed: every node up and seen by the others, one schema, a write at ALL from each."""
    cassandra_lab.heal()
    return cassandra_lab


@pytest.fixture
def fresh_cassandra_lab() -> Generator[CassandraLab]:
    """A three-node cluster of Cassandra of the test's own, new and empty; ten to fifteen seconds."""
    from undaunted.lab import CassandraLab  # noqa: PLC0415

    with CassandraLab() as lab:
        yield lab


@pytest.fixture(scope="session")
def postgresql_lab() -> Generator[PostgresLab]:
    """One PostgreSQL primary with two standbys for the whole run, in whatever state the last test left them.

    A missing server is an error of the test, never a skip: the promise was not tested then.
    """
    from undaunted.lab import PostgresLab  # noqa: PLC0415

    with PostgresLab() as lab:
        yield lab


@pytest.fixture
def healthy_postgresql_lab(postgresql_lab: PostgresLab) -> PostgresLab:
    """The nodes of the run, healed: every one up, one primary, and the others follow it and have caught up."""
    postgresql_lab.heal()
    return postgresql_lab


@pytest.fixture
def fresh_postgresql_lab() -> Generator[PostgresLab]:
    """A PostgreSQL primary with two standbys of the test's own, new and empty; about three seconds."""
    from undaunted.lab import PostgresLab  # noqa: PLC0415

    with PostgresLab() as lab:
        yield lab


@pytest.fixture
def make_fake_cassandra() -> Generator[Callable[..., FakeCassandra]]:
    """Makes fake clusters with the options of `FakeCassandra`, and closes them after the test; milliseconds each."""
    from undaunted.testing.cql import FakeCassandra  # noqa: PLC0415

    with ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(FakeCassandra(*args, **options))


@pytest.fixture
def fake_cassandra(make_fake_cassandra: Callable[..., FakeCassandra]) -> FakeCassandra:
    """A fake cluster of three nodes of the test's own, new and empty."""
    return make_fake_cassandra()
