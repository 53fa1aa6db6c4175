"""A fake Cassandra cluster: nodes on loopback that drivers really connect to, with faults on demand.

Its one responsibility is to answer as a cluster would, in milliseconds and without a server, so that a test can show
what an application does when a reply is lost, a node hangs or a write times out. May import the standard library alone.

Keyspaces, tables, types and indexes are made as on a server; rows are kept in one store that all nodes share, cell by
cell, where the newest timestamp wins. With the fixture of the pytest plugin, for a model ``Hits`` with a counter::

    def test_a_lost_reply_counts_once(fake_cassandra):
        fake_cassandra.create_keyspace("shop")
        undaunted.configure(fake_cassandra.settings_for("catalog", keyspace="shop"))
        sync([Hits])
        fake_cassandra.script("UPDATE shop.hits").lose_reply()
        with pytest.raises(OutcomeUnknown):             # plain cqlengine raises nothing here, and counts twice
            Hits.objects(page="home").update(count=1)
        undaunted.close()
        assert fake_cassandra.execute("SELECT count FROM shop.hits") == [{"count": 1}]

What can be scripted, by pattern, opcode, node, page and number, is an error with all its fields before or after the
statement is executed, a lost reply, a dropped request, a hang and a delay::

    fake.script("INSERT", node=2).error(WriteTimeout(write_type="SIMPLE", received=1), applied=True)
    fake.script("SELECT", page=3, times=None).hang()
    fake.script(opcode="OPTIONS", times=None).hang()        # heartbeats

Nodes can be killed, started, frozen and thawed; a frozen node executes what it was sent once it is thawed::

    fake.freeze(1)
    ...
    fake.thaw(1)
    assert [each.node for each in fake.executed if "UPDATE" in each.text] == [2, 1]

`FakeCassandra.requests` are the statements of the application that arrived, `FakeCassandra.executed` those that were
executed, each with its node, consistencies, timestamp and page; so "applied once" is a fact and no guess.

What a real cluster does and this does not: replicas never differ (a frozen or killed node misses nothing, so there are
no hints, no repairs and no timeouts of replicas but scripted ones), nothing survives `close`, no materialized views,
functions, roles, tracing, compression, JSON, vectors or GROUP BY.
"""

from __future__ import annotations

from undaunted.testing.cql.cluster import FakeCassandra
from undaunted.testing.cql.errors import (
    AlreadyExists,
    BadCredentials,
    CasWriteUnknown,
    CdcWriteFailure,
    ConfigError,
    CqlError,
    FakeCassandraError,
    FunctionFailure,
    Invalid,
    IsBootstrapping,
    Malformed,
    Overloaded,
    ProtocolError,
    RawError,
    ReadFailure,
    ReadTimeout,
    ServerError,
    TruncateError,
    Unauthorized,
    Unavailable,
    Unprepared,
    WriteFailure,
    WriteTimeout,
)
from undaunted.testing.cql.journal import Executed, Request
from undaunted.testing.cql.node import FakeNode
from undaunted.testing.cql.scripts import Script

__all__ = [
    "AlreadyExists",
    "BadCredentials",
    "CasWriteUnknown",
    "CdcWriteFailure",
    "ConfigError",
    "CqlError",
    "Executed",
    "FakeCassandra",
    "FakeCassandraError",
    "FakeNode",
    "FunctionFailure",
    "Invalid",
    "IsBootstrapping",
    "Malformed",
    "Overloaded",
    "ProtocolError",
    "RawError",
    "ReadFailure",
    "ReadTimeout",
    "Request",
    "Script",
    "ServerError",
    "TruncateError",
    "Unauthorized",
    "Unavailable",
    "Unprepared",
    "WriteFailure",
    "WriteTimeout",
]
