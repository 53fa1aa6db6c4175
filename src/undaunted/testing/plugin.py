"""The pytest plugin: loaded by every run of pytest where undaunted is installed, so it imports no driver and no lab."""

from __future__ import annotations

from undaunted.testing.fixtures import (
    cassandra_lab,
    fake_cassandra,
    fresh_cassandra_lab,
    fresh_mongo_lab,
    fresh_postgresql_lab,
    healthy_cassandra_lab,
    healthy_mongo_lab,
    healthy_postgresql_lab,
    make_fake_cassandra,
    mongo_lab,
    postgresql_lab,
)

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
