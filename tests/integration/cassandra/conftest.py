"""One cluster for the whole run, with tables, and rows that are scanned; each test begins with every node well."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from cassandra import ConsistencyLevel
from cassandra.cqlengine import connection, models
from cassandra.cqlengine.management import sync_table
from cassandra.policies import DCAwareRoundRobinPolicy, TokenAwarePolicy
from tests.integration.cassandra.reader import Reader
from tests.integration.cassandra.tables import Tables, define, fill_rows

import undaunted
from undaunted.cassandra import Model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from undaunted.lab import CassandraLab

KEYSPACE = "drill"

os.environ["CQLENG_ALLOW_SCHEMA_MANAGEMENT"] = "1"


@pytest.fixture(scope="session")
def filled(cassandra_lab: CassandraLab) -> CassandraLab:
    """The cluster of the run, with a keyspace of these tests, its tables, and the rows that are only read."""
    cassandra_lab.heal()
    cassandra_lab.create_keyspace(KEYSPACE)
    undaunted.configure(cassandra_lab.settings_for("maker", keyspace=KEYSPACE))
    try:
        for model in define(Model, KEYSPACE, __undaunted__={"cluster": "maker"}).all():
            sync_table(model)
    finally:
        undaunted.close()
    cluster = cassandra_lab.cluster()
    try:
        fill_rows(cluster.connect(), KEYSPACE)
    finally:
        cluster.shutdown()
    return cassandra_lab


@pytest.fixture
def lab(filled: CassandraLab, healthy_cassandra_lab: CassandraLab) -> CassandraLab:
    del filled  # once for all
    return healthy_cassandra_lab


@pytest.fixture
def reader(lab: CassandraLab) -> Reader:
    return Reader(lab, KEYSPACE)


@pytest.fixture
def settings(cassandra_lab: CassandraLab) -> Callable[..., dict[str, Any]]:
    """The settings of the lab as the cluster ``shop``, with what a test wants otherwise."""

    def make(**changes: Any) -> dict[str, Any]:
        made = cassandra_lab.settings_for("shop", keyspace=KEYSPACE)
        made["clusters"]["shop"] |= changes
        return made

    return make


@pytest.fixture
def configure(settings: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Tables]]:
    """Declares the cluster ``shop`` to undaunted, and forgets it after the test."""

    def declare(**changes: Any) -> Tables:
        undaunted.configure(settings(**changes))
        return define(Model, KEYSPACE, __undaunted__={"cluster": "shop"})

    try:
        yield declare
    finally:
        undaunted.close()


@pytest.fixture
def shop(lab: CassandraLab, configure: Callable[..., Tables]) -> Tables:
    """Models of undaunted, with a deadline that outlasts the time in which a dead node is not known to be dead."""
    del lab  # it is well
    return configure(retry={"deadline": "40s"})


@pytest.fixture
def plain(lab: CassandraLab) -> Iterator[Tables]:
    """The same models on cqlengine's own base and connection, set up as its documentation wants it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # cqlengine has no other way to say these things
        connection.register_connection(
            "plain",
            [node.host for node in lab.nodes],
            consistency=ConsistencyLevel.LOCAL_QUORUM,
            cluster_options={
                "load_balancing_policy": TokenAwarePolicy(DCAwareRoundRobinPolicy("dc1")),
                "protocol_version": 5,
            },
        )
    try:
        yield define(models.Model, KEYSPACE, __connection__="plain")
    finally:
        connection.unregister_connection("plain")
