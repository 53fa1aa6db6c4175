"""Scripts: which requests are meant, and what happens to them."""

from __future__ import annotations

import time

import pytest
from cassandra import OperationTimedOut
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.policies import RetryPolicy
from cassandra.query import SimpleStatement

from undaunted.testing.cql import FakeCassandra, FakeCassandraError, Overloaded, ServerError

COUNT = "UPDATE hits SET n = n + 1 WHERE page = 'home'"


def counted(fake) -> int:
    rows = fake.execute("SELECT n FROM ks.hits")
    return rows[0]["n"] if rows else 0


@pytest.fixture
def fake():
    with FakeCassandra() as made:
        yield made


def test_a_lost_reply_is_applied_and_not_answered(session, fake):
    script = fake.script("UPDATE hits").lose_reply()
    with pytest.raises(ConnectionException):
        session.execute(COUNT)
    assert counted(fake) == 1
    assert [request.text for request in script.fired] == [COUNT]
    assert script.fired[0].node == fake.executed[0].node


def test_the_default_policy_of_the_driver_counts_a_lost_reply_twice(fake, connect):
    fake.create_keyspace("ks")
    fake.execute("CREATE TABLE ks.hits (page text PRIMARY KEY, n counter)")
    stock = connect(fake, retry=RetryPolicy())
    fake.script("UPDATE ks.hits").lose_reply()
    stock.execute("UPDATE ks.hits SET n = n + 1 WHERE page = 'home'")
    assert counted(fake) == 2
    assert len({each.node for each in fake.executed}) == 2


def test_a_dropped_request_is_never_applied(session, fake):
    fake.script("UPDATE hits").drop()
    with pytest.raises(ConnectionException):
        session.execute(COUNT)
    assert counted(fake) == 0
    assert len(fake.requests) == 1


def test_a_hang_is_never_answered(session, fake):
    fake.script("UPDATE hits").hang()
    with pytest.raises(OperationTimedOut):
        session.execute(COUNT, timeout=0.1)
    fake.thaw()
    assert counted(fake) == 0
    session.execute(COUNT)
    assert counted(fake) == 1


def test_a_hang_may_be_applied_with_the_thaw(session, fake):
    script = fake.script("UPDATE hits").hang(apply_later=True)
    with pytest.raises(OperationTimedOut):
        session.execute(COUNT, timeout=0.1)
    session.execute(COUNT)
    assert counted(fake) == 1
    fake.thaw(script.fired[0].node)
    assert counted(fake) == 2
    first, second = fake.executed
    assert (second.request, second.at_s > first.at_s) == (script.fired[0], True)
    fake.thaw()
    assert counted(fake) == 2


def test_a_page_may_hang(session, fake):
    for key in range(9):
        fake.execute(f"INSERT INTO ks.t (k) VALUES ({key})")
    script = fake.script("SELECT k FROM t", page=3).error(Overloaded())
    rows = session.execute(SimpleStatement("SELECT k FROM t", fetch_size=2))
    found: list[int] = []
    with pytest.raises(Exception, match="overloaded"):
        found.extend(row.k for row in rows)
    assert len(found) == 4  # `extend` keeps what came before the error
    assert [request.page for request in script.fired] == [3]


def test_a_delay_holds_one_answer_and_no_other(session, fake):
    fake.script("SELECT v").delay(0.2)
    slow = session.execute_async("SELECT v FROM t")
    begun = time.monotonic()
    session.execute(COUNT)
    assert not slow._event.is_set()
    assert slow.result().one() is None
    assert time.monotonic() - begun > 0.1


def test_the_nth_and_as_many_as_wanted(session, fake):
    script = fake.script("INSERT", nth=2, times=2).error(ServerError())
    outcomes = []
    for key in range(5):
        try:
            session.execute(f"INSERT INTO t (k) VALUES ({key})")
            outcomes.append(True)
        except Exception:
            outcomes.append(False)
    assert outcomes == [True, False, False, True, True]
    assert len(script.fired) == 2


def test_always_and_no_more(session, fake):
    script = fake.script("INSERT", times=None).error(ServerError())
    for key in range(3):
        with pytest.raises(Exception, match="Server error"):
            session.execute(f"INSERT INTO t (k) VALUES ({key})")
    script.cancel()
    session.execute("INSERT INTO t (k) VALUES (1)")
    fake.script("INSERT", times=None).error(ServerError())
    fake.clear_scripts()
    session.execute("INSERT INTO t (k) VALUES (2)")


def test_one_node_alone(session, fake):
    fake.script("SELECT v", node=2, times=None).error(ServerError())
    failed = 0
    for _ in range(6):
        try:
            session.execute("SELECT v FROM t")
        except Exception:
            failed += 1
    assert failed == 2


def test_a_predicate_and_the_first_rule_that_means_it(session, fake):
    fake.script(lambda request: request.consistency == "LOCAL_ONE" and "v" in request.text).error(Overloaded("first"))
    fake.script().error(Overloaded("second"))
    for said in ("first", "second"):
        with pytest.raises(Exception, match=said):
            session.execute("SELECT v FROM t")
    session.execute("SELECT v FROM t")


def test_queries_on_the_tables_of_the_system_are_only_meant_by_opcode(session, fake):
    statements = fake.script(times=None).error(ServerError("not for me"))
    assert session.execute("SELECT key FROM system.local").one().key == "local"
    assert statements.fired == []
    fake.script("system.local", opcode="QUERY").error(ServerError("for me"))
    with pytest.raises(Exception, match="for me"):
        session.execute("SELECT key FROM system.local")


def test_a_handshake_may_hang_or_fail(fake, connect):
    fake.script(opcode="STARTUP", times=None).error(ServerError("not today"))
    with pytest.raises(NoHostAvailable, match="not today"):
        connect(fake)
    fake.clear_scripts()
    fake.script(opcode="STARTUP", times=None).hang()
    with pytest.raises(NoHostAvailable):
        connect(fake, connect_timeout=0.2)


def test_a_prepare_may_be_lost(session, fake):
    script = fake.script(opcode="PREPARE").drop()
    session.prepare("SELECT v FROM t WHERE k = ?")  # the driver asks the next node by itself
    asked = [request.node for request in fake.requests if request.opcode == "PREPARE"]
    assert script.fired[0].node == asked[0]
    assert len(set(asked)) > 1


def test_wait(session, fake):
    script = fake.script("SELECT v").hang()
    future = session.execute_async("SELECT v FROM t")
    (request,) = script.wait(timeout_s=10)
    assert request.text == "SELECT v FROM t"
    with pytest.raises(FakeCassandraError, match=r"met 1 times in 0.05 s, not 2"):
        script.wait(2, timeout_s=0.05)
    del future


def test_a_script_without_an_action_does_nothing(session, fake):
    fake.script("SELECT v")
    session.execute("SELECT v FROM t")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"nth": 0}, "count from 1"), ({"times": 0}, "count from 1"), ({"opcode": "query"}, "'QUERY', not 'query'")],
)
def test_bad_scripts(fake, options, said):
    with pytest.raises(FakeCassandraError, match=said):
        fake.script("x", **options)
