"""The contract of the backends, each on nodes that do as they are told; so `make matrix` runs it too.

For MongoDB and Cassandra these are scripted. For SQLAlchemy it is one real PostgreSQL server behind a gate, since what
a transaction is, and what a COMMIT has done, is the server's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.backends.cassandra import CassandraSide
from tests.contract.backends.mongodb import MongoDBSide
from tests.contract.backends.sqlalchemy import SQLAlchemySide
from tests.contract.backends.suite import ScriptedContract

from undaunted.lab import PostgresLab

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDES = {"mongodb": MongoDBSide, "cassandra": CassandraSide, "sqlalchemy": SQLAlchemySide}


@pytest.fixture(scope="session")
def one_postgres() -> Iterator[PostgresLab]:
    """One server, for all tests here."""
    with PostgresLab(nodes=1) as lab:
        yield lab


@pytest.fixture(params=sorted(SIDES))
def side(request: pytest.FixtureRequest) -> Iterator[Any]:
    needed = [request.getfixturevalue("one_postgres")] if request.param == "sqlalchemy" else []
    made = SIDES[request.param](*needed)
    try:
        yield made
    finally:
        made.close()


class TestBackends(ScriptedContract):
    """Every test of the suite, once for each."""
