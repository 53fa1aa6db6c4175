"""Clusters for the applications of these tests, with their tables."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.frameworks.servers import make_tables

if TYPE_CHECKING:
    from collections.abc import Callable

KEYSPACE = "sites"


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """What an application of these tests is told, for the backend that the test's parameter names."""
    made = _MAKERS[request.param](request)
    make_tables(made)
    return lambda **changes: {**made, **changes}


def _mongodb(request: pytest.FixtureRequest) -> dict[str, Any]:
    lab = request.getfixturevalue("healthy_mongo_lab")
    settings = lab.settings_for("shop")
    settings["clusters"]["shop"] |= {"database": f"sites{os.getpid()}"}
    return {"settings": settings, "side": "undaunted", "plain": lab.uri}


def _postgresql(request: pytest.FixtureRequest) -> dict[str, Any]:
    lab = request.getfixturevalue("healthy_postgresql_lab")
    return {"settings": lab.settings_for("shop"), "side": "undaunted", "plain": lab.url}


def _cassandra(request: pytest.FixtureRequest) -> dict[str, Any]:
    lab = request.getfixturevalue("healthy_cassandra_lab")
    lab.create_keyspace(KEYSPACE)
    return _of_cassandra(lab.settings_for("shop", keyspace=KEYSPACE))


def _fake(request: pytest.FixtureRequest) -> dict[str, Any]:
    fake = request.getfixturevalue("fake_cassandra")
    fake.create_keyspace(KEYSPACE)
    return _of_cassandra(fake.settings_for("shop", keyspace=KEYSPACE))


def _of_cassandra(settings: dict[str, Any]) -> dict[str, Any]:
    addresses = [node.rpartition(":") for node in settings["clusters"]["shop"]["nodes"]]
    plain = {"hosts": [host for host, _, _ in addresses], "port": int(addresses[0][2])}
    return {"settings": settings, "side": "undaunted", "plain": plain}


_MAKERS: Any = {
    "mongodb": _mongodb,
    "postgresql": _postgresql,
    "cassandra": _cassandra,
    "fake": _fake,
}
