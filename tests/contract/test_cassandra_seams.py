"""The private names of the driver and of cqlengine on which the Cassandra backend stands, held against the installed.

`make matrix` runs this on the oldest and the newest release supported, and on scylla-driver.
"""

from __future__ import annotations

import inspect
import itertools
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cassandra
import pytest
from cassandra import cluster as driver
from cassandra import protocol
from cassandra.connection import Connection, ConnectionShutdown, DefaultEndPoint
from cassandra.cqlengine import columns, connection, models, query, statements
from cassandra.io import libevreactor
from cassandra.policies import ConstantReconnectionPolicy, RetryPolicy

import undaunted
from undaunted.cassandra import seams
from undaunted.cassandra.driver import _connection_class
from undaunted.cassandra.faults import CAS_WRITE_UNKNOWN
from undaunted.cassandra.models import GuardedDML, GuardedQuerySet
from undaunted.cassandra.policies import NoRetry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def unchecked() -> Iterator[None]:
    seams.check_driver.cache_clear()
    yield
    seams.check_driver.cache_clear()


def test_the_installed_release_has_all_of_them(unchecked: None) -> None:
    seams.check_driver()


@pytest.mark.parametrize(
    ("holder", "name"), [(connection, "_connections"), (driver, "_discard_cluster_shutdown")], ids=lambda v: str(v)[:30]
)
def test_a_release_without_one_is_refused_with_its_name(
    unchecked: None, monkeypatch: pytest.MonkeyPatch, holder: Any, name: str
) -> None:
    monkeypatch.delattr(holder, name)
    with pytest.raises(undaunted.ConfigurationError, match=rf"has no .*{name}"):
        seams.check_driver()


def test_a_release_too_old_is_refused(unchecked: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cassandra, "__version__", "3.25.0")
    with pytest.raises(undaunted.ConfigurationError, match=r"cassandra-driver 3\.25\.0 is too old. Install 3\.29"):
        seams.check_driver()


def test_a_connection_of_a_class_of_our_own_is_found_by_name() -> None:
    made = SimpleNamespace(handle_lazy_connect=lambda: None)
    seams.put("seams_test", made)
    assert connection.get_connection("seams_test") is made
    assert seams.registered("seams_test") is made
    assert seams.connections()["seams_test"] is made
    seams.forget("seams_test", made)
    assert seams.registered("seams_test") is None
    seams.forget("seams_test", made)


def test_forgetting_leaves_another_connection_of_that_name_alone() -> None:
    mine, other = SimpleNamespace(), SimpleNamespace()
    seams.put("seams_test", other)
    seams.forget("seams_test", mine)
    assert seams.registered("seams_test") is other
    seams.forget("seams_test", other)


def test_every_statement_asks_for_its_connection_in_the_one_place() -> None:
    """`get_connection` is what calls `handle_lazy_connect`, and `execute` asks it for the session."""
    asked: list[str] = []

    class Session:
        def execute(self, text: Any, values: Any, timeout: Any = None) -> str:
            asked.append(text.query_string)
            return "rows"

    made = SimpleNamespace(handle_lazy_connect=lambda: asked.append("lazy"), session=Session())
    seams.put("seams_test", made)
    try:
        assert connection.execute("SELECT 1", connection="seams_test") == "rows"
        assert asked == ["lazy", "SELECT 1"]
    finally:
        seams.forget("seams_test", made)


def test_the_default_keyspace_is_kept_where_it_was() -> None:
    before = seams.default_keyspace()
    try:
        seams.set_default_keyspace("elsewhere")
        assert models.DEFAULT_KEYSPACE == "elsewhere" == seams.default_keyspace()
    finally:
        seams.set_default_keyspace(before)


# -- forks: names of the driver's event loop -----------------------------------------------------------------------


class _Locked:
    """A lock that a thread of the parent held at the fork."""

    def __enter__(self) -> None:
        pytest.fail("a lock of the parent was taken")

    def __exit__(self, *_: object) -> None: ...


def test_the_loop_of_a_parent_process_is_let_go_of_without_its_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Inherited:
        lock = _Locked()
        is_closed = is_defunct = False
        _socket = SimpleNamespace(close=lambda: closed.append("socket"))

    inherited = Inherited()
    loop = SimpleNamespace(_pid=os.getpid() + 1, _live_conns={inherited}, _new_conns=set(), _lock=_Locked())
    monkeypatch.setattr(libevreactor, "_global_loop", loop)
    seams.abandon_loop()
    assert libevreactor._global_loop is None
    assert (inherited.is_closed, inherited.is_defunct, closed) == (True, True, ["socket"])
    own = SimpleNamespace(_pid=os.getpid())
    libevreactor._global_loop = own
    seams.abandon_loop()
    assert libevreactor._global_loop is own


def test_the_drivers_loop_has_the_names_that_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libevreactor, "_global_loop", None)
    libevreactor.LibevConnection.initialize_reactor()
    loop = libevreactor._global_loop
    assert loop._pid == os.getpid()
    assert set() == loop._live_conns == loop._new_conns
    assert libevreactor.LibevConnection._socket is None


def test_a_connection_that_is_being_made_tells_at_once_that_it_was_closed() -> None:
    """The driver itself finds out when its time to connect has passed, here an hour."""

    class Base(Connection):  # type: ignore[misc]  # the driver is untyped
        def close(self) -> None:
            self.is_closed = True

    made = _connection_class(Base)(DefaultEndPoint("127.0.0.1", 1), connect_timeout=3600)
    assert made.last_error is None
    assert not made.connected_event.is_set()
    made.close()
    assert made.connected_event.is_set()
    assert isinstance(made.last_error, ConnectionShutdown)


# -- what the driver's request shows -------------------------------------------------------------------------------


def test_a_request_can_be_sent_to_one_node_and_tells_whether_it_was_sent() -> None:
    assert driver.ResponseFuture.attempted_hosts is None
    assert callable(driver.Session.execute_async)
    for name in ("result", "add_callbacks", "has_more_pages"):
        assert hasattr(driver.ResponseFuture, name)


@pytest.mark.parametrize("ask", ["on_read_timeout", "on_write_timeout", "on_unavailable", "on_request_error"])
def test_every_question_of_the_driver_about_a_retry_is_answered_with_no(ask: str) -> None:
    assert getattr(NoRetry(), ask)(None, None, retry_num=0) == (RetryPolicy.RETHROW, None)
    asked = [name for name in dir(RetryPolicy) if name.startswith("on_")]
    assert set(asked) == {"on_read_timeout", "on_write_timeout", "on_unavailable", "on_request_error"}


def test_reconnecting_for_ever_is_what_none_means() -> None:
    waits = ConstantReconnectionPolicy(1.0, max_attempts=None).new_schedule()
    assert list(itertools.islice(waits, 1000)) == [1.0] * 1000


def test_the_driver_has_no_class_for_an_unknown_outcome_of_a_transaction() -> None:
    """Once it has, `faults` should use it."""
    assert CAS_WRITE_UNKNOWN not in protocol.error_classes


# -- what cqlengine shows ------------------------------------------------------------------------------------------


def test_cqlengines_hooks_have_the_shape_that_ours_override() -> None:
    assert list(inspect.signature(query.ModelQuerySet._execute).parameters) == ["self", "statement"]
    assert list(inspect.signature(query.DMLQuery._execute).parameters) == ["self", "statement"]
    assert list(inspect.signature(query.AbstractQuerySet._execute_query).parameters) == ["self"]
    assert list(inspect.signature(query.AbstractQuerySet._fill_result_cache_to_idx).parameters) == ["self", "idx"]
    assert list(inspect.signature(query.BatchQuery._execute_callbacks).parameters) == ["self"]
    assert issubclass(GuardedQuerySet, query.ModelQuerySet)
    assert issubclass(GuardedDML, query.DMLQuery)
    assert models.BaseModel.__queryset__ is query.ModelQuerySet
    assert models.BaseModel.__dmlquery__ is query.DMLQuery


def test_a_model_knows_its_keys_its_counter_and_its_routing() -> None:
    class Row(models.Model):
        __keyspace__ = "ks"
        part = columns.Integer(partition_key=True)
        cluster = columns.Integer(primary_key=True)
        n = columns.Counter()

    assert Row._has_counter
    assert Row._partition_key_index == {"part": 0}
    assert list(Row._primary_keys) == ["part", "cluster"]
    assert Row._routing_key_from_values([1], 4) == [b"\x00\x00\x00\x01"]
    assert Row.column_family_name() == "ks.row"
    manager = Row(part=1, cluster=2)._values["part"]
    assert manager.column.db_field_name == "part"
    assert callable(manager.reset_previous_value)


def test_statements_show_their_clauses() -> None:
    class Row(models.Model):
        __keyspace__ = "ks"
        key = columns.Integer(primary_key=True)
        text = columns.Text()

    made = statements.UpdateStatement("ks.row")
    made.add_where(Row._columns["key"], query.EqualsOperator(), 1)
    made.add_update(Row._columns["text"], "x")
    assert [(clause.field, clause.value) for clause in made.assignments] == [("text", "x")]
    assert type(made.assignments[0]) is statements.AssignmentClause
    assert [(clause.field, clause.value) for clause in made.where_clauses] == [("key", 1)]
    assert made.partition_key_values(Row._partition_key_index) == [1]


def test_a_result_can_be_stood_in_for() -> None:
    """What `results` and `settle` build on: a result reads these names of its future when it is made, and no others."""
    future = SimpleNamespace(
        has_more_pages=False, _col_names=["a"], _col_types=None, _paging_state=None, _continuous_paging_session=None,
        row_factory=None, query=None,
    )  # fmt: skip
    rows = driver.ResultSet(future, [{"a": 1}])
    assert rows.one() == {"a": 1}
    assert rows.current_rows == [{"a": 1}]
    assert not rows.has_more_pages
    assert rows.response_future is future
