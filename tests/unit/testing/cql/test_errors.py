"""Each scripted error arrives as the driver's exception for it, with all fields, with both versions of the protocol."""

from __future__ import annotations

import cassandra
import pytest
from cassandra import ConsistencyLevel, WriteType, protocol
from cassandra.query import SimpleStatement

from undaunted.testing import cql

CL = ConsistencyLevel
FIELDS = [
    (cql.ServerError("broken"), protocol.ServerError, {"code": 0x0000, "message": "broken"}),
    (cql.ProtocolError("rude"), protocol.ProtocolException, {"code": 0x000A, "message": "rude"}),
    (cql.Overloaded(), protocol.OverloadedErrorMessage, {"code": 0x1001}),
    (cql.IsBootstrapping(), protocol.IsBootstrappingErrorMessage, {"code": 0x1002}),
    (cql.TruncateError(), protocol.TruncateError, {"code": 0x1003}),
    (cql.CdcWriteFailure(), protocol.CDCWriteException, {"code": 0x1600}),
    (cql.Malformed("line 1:0"), protocol.SyntaxException, {"code": 0x2000, "message": "line 1:0"}),
    (cql.Unauthorized(), cassandra.Unauthorized, {}),
    (cql.Invalid("no"), cassandra.InvalidRequest, {}),
    (cql.ConfigError(), protocol.ConfigurationException, {"code": 0x2300}),
    (cql.AlreadyExists(keyspace="a", table="b"), cassandra.AlreadyExists, {"keyspace": "a", "table": "b"}),
    (cql.RawError("odd", number=0x7777, tail=b"xyz"), protocol.ErrorMessage, {"code": 0x7777, "message": "odd"}),
    (
        cql.Unavailable(required=3, alive=1),
        cassandra.Unavailable,
        {"consistency": CL.LOCAL_QUORUM, "required_replicas": 3, "alive_replicas": 1},
    ),
    (cql.Unavailable(consistency="SERIAL"), cassandra.Unavailable, {"consistency": CL.SERIAL}),
    (
        cql.ReadTimeout(required=2, received=1, data_present=True),
        cassandra.ReadTimeout,
        {
            "consistency": CL.LOCAL_QUORUM,
            "required_responses": 2,
            "received_responses": 1,
            "data_retrieved": True,
        },
    ),
    (
        cql.FunctionFailure(keyspace="ks", function="f", arguments=("int", "text")),
        cassandra.FunctionFailure,
        {"keyspace": "ks", "function": "f", "arg_types": ["int", "text"]},
    ),
]


def ask(session, **options):
    return session.execute(SimpleStatement("SELECT v FROM t", consistency_level=CL.LOCAL_QUORUM, **options))


def test_errors_with_their_fields(session, fake):
    for error, theirs, fields in FIELDS:
        fake.script("SELECT v FROM t").error(error)
        with pytest.raises(theirs) as raised:
            ask(session)
        assert {name: getattr(raised.value, name) for name in fields} == fields, error
    assert fake.executed == ()
    ask(session)
    assert len(fake.executed) == 1


def test_write_timeouts_of_every_kind(session, fake):
    for kind in ("SIMPLE", "BATCH", "UNLOGGED_BATCH", "COUNTER", "BATCH_LOG", "CAS", "VIEW", "CDC"):
        fake.script("INSERT").error(cql.WriteTimeout(write_type=kind, received=0, required=2, contentions=3))
        with pytest.raises(cassandra.WriteTimeout) as raised:
            session.execute("INSERT INTO t (k, v) VALUES (1, 'x')")
        assert raised.value.write_type == WriteType.name_to_value[kind]
        assert (raised.value.received_responses, raised.value.required_responses) == (0, 2)
        assert raised.value.consistency == CL.LOCAL_ONE


def test_failures_say_who_failed_and_why(session, fake):
    reasons = {"127.0.0.1": 1, "127.0.0.2": 0x8001, "::1": 2}
    version = session.cluster.protocol_version
    fake.script("SELECT").error(cql.ReadFailure(reasons=reasons, received=1, data_present=True))
    with pytest.raises(cassandra.ReadFailure) as read:
        ask(session)
    fake.script("INSERT").error(cql.WriteFailure(reasons=reasons, write_type="BATCH"))
    with pytest.raises(cassandra.WriteFailure) as write:
        session.execute("INSERT INTO t (k, v) VALUES (1, 'x')")
    assert read.value.data_retrieved
    assert write.value.write_type == WriteType.BATCH
    for error in (read.value, write.value):
        assert error.failures == 3
        assert error.error_code_map == (reasons if version >= 5 else None)


def test_an_unknown_outcome_of_a_condition(session, fake):
    fake.script("IF NOT EXISTS").error(cql.CasWriteUnknown(received=1, required=2), applied=True)
    text = "INSERT INTO t (k, v) VALUES (1, 'x') IF NOT EXISTS"
    if session.cluster.protocol_version >= 5:
        with pytest.raises(protocol.ErrorMessage) as unknown:
            session.execute(text)
        assert unknown.value.code == 0x1700
    else:
        with pytest.raises(cassandra.WriteTimeout) as timeout:
            session.execute(text)
        assert timeout.value.write_type == WriteType.CAS
    assert fake.execute("SELECT v FROM ks.t") == [{"v": "x"}]


def test_a_statement_that_is_said_to_be_unprepared_is_prepared_again(session, fake):
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    fake.clear_journal()
    script = fake.script(opcode="EXECUTE").error(cql.Unprepared())
    session.execute(insert, (1, "x"))
    assert [request.opcode for request in fake.requests] == ["EXECUTE", "PREPARE", "EXECUTE"]
    assert [request.opcode for request in script.fired] == ["EXECUTE"]
    assert len(fake.executed) == 1


def test_an_error_comes_before_or_after_the_statement_is_executed(session, fake):
    fake.script("UPDATE hits").error(cql.WriteTimeout(write_type="COUNTER"))
    fake.script("UPDATE hits").error(cql.WriteTimeout(write_type="COUNTER"), applied=True)
    counts = []
    for _ in range(3):
        try:
            session.execute("UPDATE hits SET n = n + 1 WHERE page = 'home'")
            counts.append("ok")
        except cassandra.WriteTimeout:
            counts.append("timeout")
    assert counts == ["timeout", "timeout", "ok"]
    assert fake.execute("SELECT n FROM ks.hits") == [{"n": 2}]
    assert len(fake.executed) == 2
    assert len(fake.requests) == 3


def test_every_error_has_its_own_code():
    codes = [
        getattr(cql, name).code for name in cql.__all__ if name != "RawError" and hasattr(getattr(cql, name), "code")
    ]
    codes = [code for code in codes if isinstance(code, int)]
    assert len(codes) == 21
    assert sorted(set(codes)) == [
        *(0x0000, 0x000A, 0x0100, 0x1000, 0x1001, 0x1002, 0x1003, 0x1100, 0x1200, 0x1300, 0x1400, 0x1500, 0x1600),
        *(0x1700, 0x2000, 0x2100, 0x2200, 0x2300, 0x2400, 0x2500),
    ]
