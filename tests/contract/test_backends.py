"""The contract of the backends, each on nodes that are scripted: no server is needed, so `make matrix` runs it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.backends.cassandra import CassandraSide
from tests.contract.backends.mongodb import MongoDBSide
from tests.contract.backends.suite import ScriptedContract

if TYPE_CHECKING:
    from collections.abc import Iterator

SIDES = {"mongodb": MongoDBSide, "cassandra": CassandraSide}


@pytest.fixture(params=sorted(SIDES))
def side(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = SIDES[request.param]()
    try:
        yield made
    finally:
        made.close()


class TestBackends(ScriptedContract):
    """Every test of the suite, once for each."""
