"""One row an error, one test a row: what each error of the driver means, and what an application sees of it."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import cassandra
import pytest
from cassandra import ConsistencyLevel, WriteType, protocol
from cassandra.cluster import NoHostAvailable
from cassandra.connection import (
    ConnectionBusy,
    ConnectionException,
    ConnectionShutdown,
    CrcMismatchException,
    ProtocolError,
    ProtocolVersionUnsupported,
)
from cassandra.pool import NoConnectionsAvailable

import undaunted
from undaunted.cassandra import BatchQuery, OutcomeUnknown, sync_table
from undaunted.cassandra.faults import CAS_WRITE_UNKNOWN, classify, fault_of, is_answer
from undaunted.core.budget import Budget
from undaunted.core.fault import Fault
from undaunted.core.operation import Kind, Operation
from undaunted.core.outage import Outage
from undaunted.core.policy import BudgetPolicy, Policy
from undaunted.engine.call import Call
from undaunted.engine.guard import Guard
from undaunted.registry import REGISTRY
from undaunted.testing import cql

if TYPE_CHECKING:
    from collections.abc import Iterator

READ = Operation(name="select", kind=Kind.READ, idempotent=True, needs_primary=False)
IDEMPOTENT = Operation(name="insert", kind=Kind.WRITE, idempotent=True, needs_primary=False)
ONCE = Operation(name="update", kind=Kind.WRITE, needs_primary=False)
CONDITIONAL = Operation(name="insert", kind=Kind.WRITE, settleable=True, needs_primary=False)
ALL = (READ, IDEMPOTENT, ONCE, CONDITIONAL)


def same(fault: Fault) -> dict[Operation, Fault]:
    return dict.fromkeys(ALL, fault)


def no_host(*inner: Any) -> NoHostAvailable:
    return NoHostAvailable("none", {f"127.0.0.{number}:9042": one for number, one in enumerate(inner, start=1)})


def write_timeout(write_type: int) -> cassandra.WriteTimeout:
    return cassandra.WriteTimeout("x", write_type=write_type, consistency=1, required_responses=2, received_responses=1)


def unavailable(consistency: int) -> cassandra.Unavailable:
    return cassandra.Unavailable("x", consistency=consistency, required_replicas=2, alive_replicas=1)


def message(kind: Any, code: int = 0) -> Exception:
    made: Exception = kind(code=code, message="x", info=None)
    return made


ROWS: list[tuple[Exception, bool, dict[Operation, Fault]]] = [
    # error, sent, fault by operation
    (no_host(), False, same(Fault.NOT_SENT)),
    (no_host(ConnectionException("marked down")), False, same(Fault.NOT_SENT)),
    (no_host(NoConnectionsAvailable(), ConnectionBusy()), False, same(Fault.NOT_SENT)),
    (no_host(), True, same(Fault.UNKNOWN)),
    (no_host(ConnectionShutdown("x")), True, same(Fault.UNKNOWN)),
    (no_host(message(protocol.ServerError)), True, same(Fault.UNKNOWN)),
    (no_host(message(protocol.IsBootstrappingErrorMessage)), True, same(Fault.NOT_SENT)),
    (no_host(message(protocol.IsBootstrappingErrorMessage), ConnectionShutdown("x")), True, same(Fault.UNKNOWN)),
    (no_host(unavailable(ConsistencyLevel.SERIAL), message(protocol.SyntaxException)), True, same(Fault.PERMANENT)),
    (
        no_host(message(protocol.IsBootstrappingErrorMessage), cassandra.InvalidRequest("x")),
        True,
        same(Fault.PERMANENT),
    ),
    (no_host(cassandra.AuthenticationFailed("x")), False, same(Fault.PERMANENT)),
    (NoConnectionsAvailable(), False, same(Fault.NOT_SENT)),
    (ConnectionBusy("x"), False, same(Fault.NOT_SENT)),
    (unavailable(ConsistencyLevel.SERIAL), True, same(Fault.NOT_SENT)),
    (unavailable(ConsistencyLevel.LOCAL_SERIAL), True, same(Fault.NOT_SENT)),
    (unavailable(ConsistencyLevel.LOCAL_QUORUM), True, {**same(Fault.NOT_SENT), CONDITIONAL: Fault.UNKNOWN}),
    (message(protocol.IsBootstrappingErrorMessage, 0x1002), True, same(Fault.NOT_SENT)),
    (
        message(protocol.OverloadedErrorMessage, 0x1001),
        True,
        {READ: Fault.SHED, IDEMPOTENT: Fault.SHED, ONCE: Fault.UNKNOWN, CONDITIONAL: Fault.UNKNOWN},
    ),
    (
        protocol.OverloadedErrorMessage(code=0x1001, message="Server is shutting down", info=None),
        True,
        same(Fault.NOT_SENT),
    ),
    (message(protocol.ServerError), True, same(Fault.UNKNOWN)),
    (message(protocol.TruncateError, 0x1003), True, same(Fault.UNKNOWN)),
    (ConnectionShutdown("x"), True, same(Fault.UNKNOWN)),
    (ConnectionShutdown("x"), False, same(Fault.NOT_SENT)),
    (ConnectionException("x"), True, same(Fault.UNKNOWN)),
    (CrcMismatchException("x"), True, same(Fault.UNKNOWN)),
    (ProtocolVersionUnsupported("127.0.0.1", 5), False, same(Fault.NOT_SENT)),
    (ProtocolError("garbage"), True, same(Fault.UNKNOWN)),
    (ProtocolError("garbage"), False, same(Fault.NOT_SENT)),
    (cassandra.OperationTimedOut(), True, same(Fault.UNKNOWN)),
    (cassandra.OperationTimedOut(), False, same(Fault.NOT_SENT)),
    (cassandra.ReadTimeout("x", data_retrieved=False), True, same(Fault.UNKNOWN)),
    (cassandra.ReadFailure("x", data_retrieved=False), True, same(Fault.UNKNOWN)),
    (cassandra.ReadFailure("x", error_code_map={"127.0.0.1": 0}), True, same(Fault.UNKNOWN)),
    (cassandra.ReadFailure("x", error_code_map={"127.0.0.1": 1, "127.0.0.2": 0}), True, same(Fault.UNKNOWN)),
    (cassandra.ReadFailure("x", error_code_map={"127.0.0.1": 1, "127.0.0.2": 1}), True, same(Fault.PERMANENT)),
    *((write_timeout(WriteType.name_to_value[name]), True, same(Fault.UNKNOWN)) for name in WriteType.name_to_value),
    (cassandra.WriteFailure("x", write_type=WriteType.SIMPLE), True, same(Fault.UNKNOWN)),
    (message(protocol.ErrorMessage, CAS_WRITE_UNKNOWN), True, same(Fault.UNKNOWN)),
    (message(protocol.ErrorMessage, 0x7777), True, same(Fault.UNKNOWN)),
    (message(protocol.CDCWriteException, 0x1600), True, same(Fault.PERMANENT)),
    (message(protocol.SyntaxException, 0x2000), True, same(Fault.PERMANENT)),
    (message(protocol.ConfigurationException, 0x2300), True, same(Fault.PERMANENT)),
    (message(protocol.ProtocolException, 0x000A), True, same(Fault.PERMANENT)),
    (message(protocol.BadCredentials, 0x0100), True, same(Fault.PERMANENT)),
    (message(protocol.PreparedQueryNotFound, 0x2500), True, same(Fault.PERMANENT)),
    (cassandra.InvalidRequest("x"), True, same(Fault.PERMANENT)),
    (cassandra.Unauthorized("x"), True, same(Fault.PERMANENT)),
    (cassandra.AlreadyExists("ks", "t"), True, same(Fault.PERMANENT)),
    (cassandra.FunctionFailure("x", "ks", "f", ["int"]), True, same(Fault.PERMANENT)),
    (cassandra.AuthenticationFailed("x"), False, same(Fault.PERMANENT)),
    (cassandra.UnsupportedOperation("x"), False, same(Fault.PERMANENT)),
    (OSError("reset"), True, same(Fault.UNKNOWN)),
    (OSError("refused"), False, same(Fault.NOT_SENT)),
    (EOFError(), True, same(Fault.UNKNOWN)),
    (undaunted.ConfigurationError("x"), True, same(Fault.PERMANENT)),
    (TypeError("cannot bind"), False, same(Fault.PERMANENT)),
    # An answer that nobody could read: what it answers may have been applied.
    (
        ValueError("cannot decode"),
        True,
        {READ: Fault.PERMANENT, IDEMPOTENT: Fault.UNKNOWN, ONCE: Fault.UNKNOWN, CONDITIONAL: Fault.UNKNOWN},
    ),
]


@pytest.mark.parametrize(("error", "sent", "faults"), ROWS, ids=lambda v: repr(v)[:50])
def test_each_error_has_its_meaning(error: Exception, sent: bool, faults: dict[Operation, Fault]) -> None:
    assert {each: fault_of(error, each, sent=sent) for each in ALL} == faults


@pytest.mark.parametrize("kind", protocol.error_classes.values(), ids=lambda kind: kind.__name__)
def test_an_answer_of_every_class_of_the_driver_counts_as_sent(kind: Any) -> None:
    """Also where nothing was noted about the attempt: a server has spoken, so it had the request."""
    error = message(kind, kind.error_code)
    assert is_answer(error)
    refused = {protocol.IsBootstrappingErrorMessage, protocol.UnavailableErrorMessage}
    assert (fault_of(error, ONCE, sent=False) is Fault.NOT_SENT) <= (kind in refused)


def test_only_the_time_of_the_batch_log_is_not_counted_as_an_attempt() -> None:
    guard = Guard(
        cluster="catalog",
        backend="cassandra",
        policy=Policy(),
        budget=Budget(BudgetPolicy()),
        outage=Outage(),
        classify=classify,
        errors=None,  # type: ignore[arg-type]  # nothing is raised here
    )
    call = Call(guard, IDEMPOTENT, guard.policy)
    call.sent, call.node = True, "127.0.0.1:9042"
    for name, value in WriteType.name_to_value.items():
        failure = classify(write_timeout(value), call)
        assert (failure.fault, failure.node) == (Fault.UNKNOWN, "127.0.0.1:9042")
        assert failure.counted is (name != "BATCH_LOG")


# -- what an application sees ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def no_settings_left() -> Iterator[None]:
    """One cluster for all rows: in place of the fixture that closes all after each test."""
    REGISTRY.close()
    yield
    REGISTRY.close()


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest) -> Iterator[Any]:
    from tests.unit.cassandra import conftest as models

    with cql.FakeCassandra(nodes=3) as fake:
        fake.create_keyspace("shop")
        undaunted.configure(models.settings_of(fake, budget={"capacity": 10_000}))
        kinds = (models.Product, models.Line, models.Hits, models.Seat)
        for model in kinds:
            sync_table(model)
        yield SimpleNamespace(fake=fake, until=models.until, **{model.__name__: model for model in kinds})
        REGISTRY.close()


@pytest.fixture
def world(shared: Any) -> Iterator[Any]:
    fake = shared.fake
    for table in ("product", "line", "hits", "seat"):
        fake.execute(f"TRUNCATE shop.{table}")
    fake.clear_scripts()
    fake.clear_journal()
    yield shared
    fake.clear_scripts()


def insert(world: Any) -> None:
    world.Product.create(sku=1, name="lamp")


def append(world: Any) -> None:
    world.Product.objects(sku=1).update(log__append=[1])


def count(world: Any) -> None:
    world.Hits.objects(page="home").update(count=1)


TOKEN = uuid.uuid4()


def reserve(world: Any) -> None:
    world.Seat.if_not_exists().create(number=1, holder="ada", token=TOKEN)


def take(world: Any) -> None:
    world.Seat.objects(number=1).iff(holder="bob").update(holder="ada")


def batch(world: Any) -> None:
    with BatchQuery() as made:
        world.Line.batch(made).create(order=1, number=1, item="lamp")
        world.Line.batch(made).create(order=1, number=2, item="bulb")


def batch_with_append(world: Any) -> None:
    with BatchQuery() as made:
        world.Line.batch(made).create(order=1, number=1, item="lamp")
        world.Product.objects(sku=1).batch(made).update(log__append=[1])


def read(world: Any) -> None:
    list(world.Product.objects(sku=1))


WORDS = {
    insert: "INSERT", append: "UPDATE", count: "UPDATE", reserve: "INSERT", take: "UPDATE", batch: "BEGIN",
    batch_with_append: "BEGIN", read: "SELECT",
}  # fmt: skip
WRITES = (insert, append, count, reserve, take, batch, batch_with_append)
REPEATABLE = (insert, batch, read)

OK = "ok"
NATIVE = "native"
UNKNOWN = "unknown"

# What a server says before it has done anything; then every operation runs again, and is executed once.
REFUSED = [
    ("unavailable at serial", cql.Unavailable(consistency="LOCAL_SERIAL")),
    ("bootstrapping", cql.IsBootstrapping()),
    ("shutting down", cql.Overloaded("Server is shutting down")),
]
# What a server says when it may have done it; then only what may run twice runs again.
MAYBE = [
    ("server error", cql.ServerError()),
    ("overloaded", cql.Overloaded()),
    ("truncate", cql.TruncateError()),
    ("write failure", cql.WriteFailure()),
    ("unheard of", cql.RawError(number=0x7777)),
    *(
        (f"write timeout {kind}", cql.WriteTimeout(write_type=kind))
        for kind in ("SIMPLE", "UNLOGGED_BATCH", "BATCH", "BATCH_LOG", "COUNTER", "CAS", "VIEW", "CDC")
    ),
    ("cas unknown", cql.CasWriteUnknown()),
]
PERMANENT = [
    (cql.Malformed(), protocol.SyntaxException),
    (cql.Invalid(), cassandra.InvalidRequest),
    (cql.ConfigError(), protocol.ConfigurationException),
    (cql.Unauthorized(), cassandra.Unauthorized),
    (cql.FunctionFailure(), cassandra.FunctionFailure),
    (cql.CdcWriteFailure(), protocol.CDCWriteException),
    (cql.ProtocolError(), protocol.ProtocolException),
    (cql.AlreadyExists(keyspace="shop", table="product"), cassandra.AlreadyExists),
]


def seen(world: Any, change: Any) -> tuple[str, int]:
    """What the application sees, and how often it was executed."""
    if change is take:
        world.Seat.create(number=1, holder="bob")
        world.fake.clear_journal()
    try:
        change(world)
    except OutcomeUnknown as error:
        assert error.attempts  # noqa: PT017
        assert "secret" not in str(error)  # noqa: PT017
        found = UNKNOWN
    else:
        found = OK
    return found, len([each for each in world.fake.executed if WORDS[change] in each.text])


@pytest.mark.parametrize("change", [*WRITES, read], ids=lambda change: change.__name__)
@pytest.mark.parametrize("error", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_was_refused_runs_again_whatever_it_is(world: Any, error: Any, change: Any) -> None:
    script = world.fake.script(WORDS[change]).error(error)
    assert seen(world, change) == (OK, 1)
    assert len(script.fired) == 1


@pytest.mark.parametrize("change", WRITES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("error", [row[1] for row in MAYBE], ids=[row[0] for row in MAYBE])
def test_what_may_have_been_applied_runs_again_only_where_twice_is_once(world: Any, error: Any, change: Any) -> None:
    world.fake.script(WORDS[change]).error(error, applied=True)
    found, executed = seen(world, change)
    if change in REPEATABLE:
        assert (found, executed) == (OK, 2)
        first, second = (each for each in world.fake.executed if WORDS[change] in each.text)
        assert first.timestamp == second.timestamp
    elif change is reserve:  # its row shows that it was applied
        assert (found, executed) == (OK, 1)
    else:
        assert (found, executed) == (UNKNOWN, 1)


@pytest.mark.parametrize("change", [*WRITES, read], ids=lambda change: change.__name__)
@pytest.mark.parametrize("fault", ["lose_reply", "drop", "hang"])
def test_what_was_never_answered_runs_again_only_where_twice_is_once(world: Any, fault: str, change: Any) -> None:
    getattr(world.fake.script(WORDS[change]), fault)()
    found, executed = seen(world, change)
    applied = int(fault == "lose_reply")
    if change in REPEATABLE:
        assert (found, executed) == (OK, applied + 1)
    elif change is reserve and applied:
        assert (found, executed) == (OK, 1)
    else:
        assert (found, executed) == (UNKNOWN, applied)


@pytest.mark.parametrize(
    "error",
    [cql.ReadTimeout(), cql.ReadTimeout(received=2, data_present=False), cql.ReadFailure(), cql.ServerError(),
     cql.Overloaded(), cql.Unavailable()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_a_read_runs_again(world: Any, error: Any) -> None:
    world.Product.create(sku=1, name="lamp")
    world.fake.script("SELECT").error(error)
    assert world.Product.objects.get(sku=1).name == "lamp"


def test_a_read_that_fails_each_time_says_so_with_every_attempt(world: Any) -> None:
    world.until(lambda: all(each["role"] == "replica" for each in undaunted.status()["clusters"]["catalog"]["nodes"]))
    script = world.fake.script("SELECT", times=None).error(cql.ReadFailure())
    with pytest.raises(undaunted.Exhausted) as caught:
        read(world)
    assert isinstance(caught.value, NoHostAvailable)
    assert isinstance(caught.value.__cause__, cassandra.ReadFailure)
    assert len(caught.value.attempts) == len(script.fired) == 3
    assert len({request.node for request in script.fired}) == 3


def test_too_many_tombstones_are_there_at_every_try(world: Any) -> None:
    error = cql.ReadFailure(reasons={"127.0.0.1": 1, "127.0.0.2": 1})
    script = world.fake.script("SELECT", times=None).error(error)
    with pytest.raises(cassandra.ReadFailure):
        read(world)
    assert len(script.fired) == 1


@pytest.mark.parametrize("change", [insert, count, reserve, batch, read], ids=lambda change: change.__name__)
@pytest.mark.parametrize(("error", "kind"), PERMANENT, ids=[kind.__name__ for _, kind in PERMANENT])
def test_what_is_wrong_in_itself_is_told_once_in_the_drivers_own_words(
    world: Any, error: Any, kind: Any, change: Any
) -> None:
    script = world.fake.script(WORDS[change], times=None).error(error)
    with pytest.raises(kind) as caught:
        change(world)
    assert not isinstance(caught.value, undaunted.UndauntedError)
    assert len(script.fired) == 1
    assert caught.value.attempts[-1].fault is Fault.PERMANENT


def test_too_few_replicas_in_the_commit_of_a_transaction_leave_it_unknown(world: Any) -> None:
    """Its own consistency, and not the serial one, is that of the commit: what is refused then has been agreed on."""
    world.fake.script("UPDATE").error(cql.Unavailable(consistency="LOCAL_QUORUM"), applied=True)
    assert seen(world, take) == (UNKNOWN, 1)
    world.fake.execute("TRUNCATE shop.seat")
    world.fake.clear_journal()
    world.fake.script("UPDATE").error(cql.Unavailable(consistency="LOCAL_SERIAL"))
    assert seen(world, take) == (OK, 1)


def test_a_transaction_that_carries_a_value_of_its_own_is_settled_by_it(world: Any) -> None:
    world.Seat.create(number=1, holder="bob")
    for error in (cql.CasWriteUnknown(), cql.WriteTimeout(write_type="CAS"), cql.ServerError()):
        token = uuid.uuid4()
        world.fake.script("UPDATE").error(error, applied=True)
        world.Seat.objects(number=1).iff(holder="bob").update(token=token)
        assert world.Seat.objects.get(number=1).token == token


def test_the_drivers_own_except_clauses_go_on_catching(world: Any) -> None:
    world.fake.script("UPDATE").error(cql.WriteTimeout(write_type="COUNTER"), applied=True)
    with pytest.raises(cassandra.OperationTimedOut) as caught:
        count(world)
    assert isinstance(caught.value, cassandra.DriverException)
    assert isinstance(caught.value.__cause__, cassandra.WriteTimeout)
    assert caught.value.last_host in caught.value.errors
