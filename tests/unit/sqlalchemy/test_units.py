"""Units of work on a small database: what is committed, what is run again, what is part of what, what is refused."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm
from tests.unit.sqlalchemy.units_model import Archive, Base, Contention, Order, Record, configure, keys, rows

import undaunted
from undaunted.engine.call import current_call
from undaunted.errors import ConfigurationError
from undaunted.events import RetryScheduled
from undaunted.sqlalchemy import Session, attempts, run_in_transaction, unit_of_work
from undaunted.sqlalchemy.errors import DeadlineExceeded, OutcomeUnknown, UnusableCluster
from undaunted.sqlalchemy.keys import KeyTableMissing
from undaunted.sqlalchemy.targets import cluster_of
from undaunted.sqlalchemy.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def databases(tmp_path: Path) -> None:
    configure(tmp_path)


@pytest.fixture
def contention(tmp_path: Path) -> Iterator[Contention]:
    made = Contention(tmp_path, times=2)
    yield made
    made.end()


@unit_of_work(Base)
def order(session: orm.Session, total: int, *, fails: BaseException | None = None) -> Order:
    made = Order(total=total)
    session.add(made)
    session.flush()
    if fails is not None:
        raise fails
    return made


def checked_out() -> int:
    pool = cluster_of(Base).writer.pool
    assert isinstance(pool, sa.pool.QueuePool)
    return pool.checkedout()


# --- success


def test_a_unit_commits_once_its_function_has_returned() -> None:
    made = order(3)
    assert rows(Base, Order.total) == [3]
    assert keys(Base) == 1
    assert checked_out() == 0
    assert (made.id, made.total) == (1, 3)  # it keeps its values, though its session has gone
    assert sa.inspect(made).detached


def by_run(body: Callable[[Any], Any]) -> Any:
    return unit_of_work(Base).run(body)


def by_function(body: Callable[[Any], Any]) -> Any:
    return run_in_transaction(Base, body)


def by_decorator(body: Callable[[Any], Any]) -> Any:
    return unit_of_work("ledger")(body)()


def by_loop(body: Callable[[Any], Any]) -> Any:
    value = None
    for attempt in attempts(Order):
        with attempt as session:
            value = body(session)
    return value


FORMS = pytest.mark.parametrize("form", [by_run, by_function, by_decorator, by_loop])


@FORMS
def test_each_form_runs_again_on_a_fresh_session_behind_contention(form: Any, contention: Contention) -> None:
    sessions: list[Any] = []

    def body(session: Any) -> int:
        assert session not in sessions
        sessions.append(session)
        session.add(Order(total=len(sessions)))
        session.flush()
        contention.meet()
        return len(sessions)

    assert form(body) == 3
    assert rows(Base, Order.total) == [3]
    assert (keys(Base), checked_out()) == (1, 0)


@FORMS
def test_contention_about_the_key_itself_is_run_again_before_the_function_is_called(form: Any, tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    heard: list[RetryScheduled] = []

    def release(event: RetryScheduled) -> None:
        heard.append(event)
        if len(heard) == 3:
            holder.rollback()

    undaunted.subscribe(release, RetryScheduled)
    ran: list[int] = []
    form(lambda session: ran.append(1))
    holder.close()
    assert (len(heard), ran, keys(Base)) == (3, [1], 1)


@FORMS
def test_an_error_of_the_function_undoes_all_and_passes_at_once(form: Any) -> None:
    error = LookupError("mine")
    ran: list[int] = []

    def body(session: Any) -> None:
        ran.append(1)
        session.add(Order(total=1))
        session.flush()
        raise error

    with pytest.raises(LookupError) as caught:
        form(body)
    assert caught.value is error
    assert error.__cause__ is None
    assert (ran, rows(Base, Order.id), keys(Base), checked_out()) == ([1], [], 0, 0)
    assert current_call() is None


@FORMS
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_passes_at_once_and_leaks_nothing(form: Any, kind: type[BaseException]) -> None:
    def body(session: Any) -> None:
        session.add(Order(total=1))
        session.flush()
        raise kind

    with pytest.raises(kind):
        form(body)
    assert (rows(Base, Order.id), keys(Base), checked_out()) == ([], 0, 0)
    order(2)
    assert rows(Base, Order.total) == [2]


@FORMS
def test_a_wrong_request_passes_as_it_is(form: Any) -> None:
    order(1)

    def body(session: Any) -> None:
        session.add(Order(id=1, total=2))

    with pytest.raises(exc.IntegrityError):
        form(body)
    assert rows(Base, Order.total) == [1]


class Wire(sqlite3.Connection):
    """A connection that fails as MySQL's do, by number: the reply to a COMMIT is lost, and then the server is gone."""

    loses_reply = is_down = ends = False

    def commit(self) -> None:
        super().commit()
        if Wire.loses_reply:
            Wire.loses_reply, Wire.is_down = False, Wire.ends
            raise sqlite3.OperationalError(2013, "Lost connection to server during query")

    def cursor(self, *args: Any) -> Any:
        if Wire.is_down:
            raise sqlite3.OperationalError(2006, "Server has gone away")
        return super().cursor(*args)


@FORMS
@pytest.mark.parametrize("ends", [False, True])
def test_a_commit_whose_reply_was_lost_is_never_said_not_to_have_happened(
    form: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, ends: bool
) -> None:
    """On databases without monitors, too: it is settled by its key, or told to be unknown."""
    configure(tmp_path, connect_args={"timeout": 0, "factory": Wire})
    for name, value in (("ends", ends), ("is_down", False), ("loses_reply", False)):
        monkeypatch.setattr(Wire, name, value)
    ran: list[int] = []

    def body(session: Any) -> int:
        ran.append(1)
        session.add(Order(total=1))
        session.flush()
        Wire.loses_reply = True
        return 7

    with undaunted.options(deadline="0.5s"):
        if ends:
            with pytest.raises(OutcomeUnknown):
                form(body)
        else:
            assert form(body) == 7
    Wire.is_down = False
    assert (ran, rows(Base, Order.total), keys(Base), checked_out()) == ([1], [1], 1, 0)


def test_a_unit_that_only_reads_writes_no_key() -> None:
    order(3)
    assert run_in_transaction(Base, lambda session: session.scalar(sa.select(Order.total)), readonly=True) == 3
    assert keys(Base) == 1


# --- deadlines


def test_endless_contention_ends_with_the_deadline(contention: Contention) -> None:
    contention.left = 10**6
    with pytest.raises(DeadlineExceeded) as caught:
        run_in_transaction(Base, lambda session: contention.meet(), deadline="300ms")
    assert isinstance(caught.value, exc.OperationalError)
    assert len(caught.value.attempts) > 1
    assert (keys(Base), checked_out()) == (0, 0)


def test_what_bounds_it_is_declared_with_it_or_around_it() -> None:
    def left(session: Any) -> float:
        call = current_call()
        assert call is not None
        return call.remaining_s()

    assert run_in_transaction(Base, left) == pytest.approx(15, abs=1)
    assert run_in_transaction(Base, left, deadline="4s") == pytest.approx(4, abs=1)
    assert unit_of_work(Base, profile="worker")(left)() == pytest.approx(60, abs=2)
    with undaunted.deadline("2s"):
        assert run_in_transaction(Base, left, deadline="60s") == pytest.approx(2, abs=1)
    for attempt in attempts(Base, deadline="7s"):
        with attempt as session:
            assert left(session) == pytest.approx(7, abs=1)


# --- units within units


def test_a_unit_within_a_unit_is_part_of_it() -> None:
    @unit_of_work(Base)
    def outer(session: orm.Session) -> None:
        assert sa.inspect(order(1)) in session.new or session.scalar(sa.select(sa.func.count(Order.id))) == 1
        for attempt in attempts("ledger"):
            with attempt as within:
                assert within is session
                within.add(Order(total=2))
        raise LookupError

    with pytest.raises(LookupError):
        outer()
    assert (rows(Base, Order.id), keys(Base)) == ([], 0)


def test_an_error_within_passes_raw_to_the_outer_unit() -> None:
    @unit_of_work(Base)
    def outer(session: orm.Session) -> str:
        error = LookupError()
        with session.begin_nested(), pytest.raises(LookupError) as caught:
            order(1, fails=error)
        assert caught.value is error
        return "handled"

    assert outer() == "handled"
    assert keys(Base) == 1


def test_on_another_cluster_it_is_a_transaction_of_its_own(contention: Contention) -> None:
    @unit_of_work(Archive)
    def record(session: orm.Session) -> None:
        session.add(Record(text="kept"))
        session.flush()
        contention.meet()  # and so run again by itself

    @unit_of_work(Base)
    def outer(session: orm.Session) -> None:
        record()
        session.add(Order(total=1))
        raise LookupError

    with pytest.raises(LookupError):
        outer()
    assert (rows(Base, Order.id), rows(Archive, Record.text)) == ([], ["kept"])
    assert contention.left == 0


def test_on_another_cluster_it_ends_with_the_outer_one(contention: Contention) -> None:
    contention.left = 10**6

    def inner(session: Any) -> None:
        contention.meet()

    def outer(session: Any) -> None:
        with pytest.raises(DeadlineExceeded):
            run_in_transaction(Archive, inner)

    run_in_transaction(Base, outer, deadline="400ms")
    assert keys(Archive) == 0


def test_another_thread_has_units_of_its_own() -> None:
    """Even one that runs in a copy of the context: nobody else may use a session that is in use."""
    heard: list[Any] = []

    def outer(session: Any) -> None:
        context = contextvars.copy_context()

        def inner(own: Any) -> None:
            heard.append(own is session)

        thread = threading.Thread(
            target=context.run, args=(functools.partial(run_in_transaction, Base, inner, readonly=True),)
        )
        thread.start()
        thread.join()

    run_in_transaction(Base, outer, readonly=True)
    assert heard == [False]


def test_a_context_that_outlives_a_unit_is_no_part_of_it() -> None:
    def copied(session: Any) -> contextvars.Context:
        return contextvars.copy_context()

    context = run_in_transaction(Base, copied)
    assert context.run(order, 4).total == 4
    assert rows(Base, Order.total) == [4]


def test_a_unit_that_writes_cannot_be_part_of_one_that_reads() -> None:
    def outer(session: Any) -> None:
        order(1)

    with pytest.raises(exc.InvalidRequestError, match="readonly=True"):
        run_in_transaction(Base, outer, readonly=True)


def test_a_unit_cannot_be_part_of_one_with_another_isolation() -> None:
    def inner(session: Any) -> str:
        return "part"

    def outer(session: Any) -> Any:
        return run_in_transaction(Base, inner, isolation="SERIALIZABLE")

    with pytest.raises(exc.InvalidRequestError, match="SERIALIZABLE"):
        run_in_transaction(Base, outer)
    assert run_in_transaction(Base, outer, isolation="SERIALIZABLE") == "part"


def test_what_goes_to_another_cluster_is_refused() -> None:
    def body(session: Any) -> None:
        session.add(Record(text="elsewhere"))

    with pytest.raises(exc.InvalidRequestError, match="unit of work of its own"):
        run_in_transaction(Base, body)
    assert (keys(Base), rows(Archive, Record.id)) == (0, [])


# --- the session


@pytest.mark.parametrize("name", ["commit", "close", "reset", "invalidate"])
def test_the_end_is_the_units(name: str) -> None:
    def body(session: Any) -> None:
        session.add(Order(total=1))
        getattr(session, name)()

    with pytest.raises(exc.InvalidRequestError, match="by itself"):
        run_in_transaction(Base, body)
    assert (rows(Base, Order.id), checked_out()) == ([], 0)


def test_what_was_rolled_back_by_the_function_is_not_committed_and_the_rest_is() -> None:
    def body(session: Any) -> None:
        session.add(Order(total=1))
        session.flush()
        session.rollback()
        session.add(Order(total=2))

    run_in_transaction(Base, body)
    assert (rows(Base, Order.total), keys(Base)) == ([2], 1)


def test_a_rollback_at_the_end_leaves_nothing() -> None:
    def body(session: Any) -> str:
        session.add(Order(total=1))
        session.flush()
        session.rollback()
        return "no"

    assert run_in_transaction(Base, body) == "no"
    assert (rows(Base, Order.id), keys(Base)) == ([], 0)


def test_a_savepoint_has_no_key_of_its_own() -> None:
    def body(session: Any) -> None:
        with session.begin_nested():
            session.add(Order(total=1))
        inner = session.begin_nested()
        session.add(Order(total=2))
        inner.rollback()

    run_in_transaction(Base, body)
    assert (rows(Base, Order.total), keys(Base)) == ([1], 1)


def test_its_transaction_is_begun_already() -> None:
    with pytest.raises(exc.InvalidRequestError, match="already begun"):
        run_in_transaction(Base, lambda session: session.begin())


# --- functions and methods


class Bank:
    @unit_of_work(Base)
    def deposit(self, session: orm.Session, total: int) -> Order:
        """Put something in."""
        made = Order(total=total)
        session.add(made)
        return made

    @classmethod
    @unit_of_work(Base)
    def count(cls, session: orm.Session) -> int | None:
        return session.scalar(sa.select(sa.func.count(Order.id)))

    @staticmethod
    @unit_of_work(Base, readonly=True)
    def totals(session: orm.Session) -> list[int]:
        return list(session.scalars(sa.select(Order.total)))


def test_methods_get_the_session_behind_their_object() -> None:
    assert Bank().deposit(5).total == 5
    assert (Bank.count(), Bank.totals()) == (1, [5])


def test_a_decorated_function_looks_like_itself_without_its_session() -> None:
    assert (Bank.deposit.__name__, Bank.deposit.__doc__) == ("deposit", "Put something in.")
    assert list(inspect.signature(Bank.deposit).parameters) == ["self", "total"]
    assert list(inspect.signature(order).parameters) == ["total", "fails"]


def generator(session: Any) -> Iterator[int]:
    yield 1


async def async_generator(session: Any) -> Any:
    yield 1


@pytest.mark.parametrize("function", [generator, async_generator])
def test_generators_are_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="is a generator"):
        unit_of_work(Base)(function)
    with pytest.raises(TypeError, match="is a generator"):
        run_in_transaction(Base, function)


async def coroutine(session: Any) -> None:
    """Not run."""


@pytest.mark.parametrize(
    ("makes", "says"),
    [
        (lambda session: (x for x in ()), "generator"),
        (lambda session, function=coroutine: function(session), "coroutine"),
    ],
)
def test_a_function_that_has_not_done_its_work_yet_is_refused(makes: Any, says: str) -> None:
    with pytest.raises(TypeError, match=f"returned a {says}"):
        run_in_transaction(Base, makes)
    assert keys(Base) == 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: unit_of_work(Base)(lambda: None), "takes no session"),
        (lambda: unit_of_work(Base)(staticmethod(lambda session: None)), "above @staticmethod"),
        (lambda: unit_of_work(Base)(classmethod(lambda cls, session: None)), "above @classmethod"),
        (lambda: unit_of_work(Base)(3), "decorates functions"),
        (lambda: unit_of_work(lambda session: None), "needs to know its cluster"),
        (lambda: unit_of_work(Base).__enter__(), "cannot be"),
        (lambda: unit_of_work(Base, attempts="3"), "whole number"),
    ],
)
def test_what_cannot_be_a_unit_is_told_so(wrong: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        wrong()


@pytest.mark.parametrize(
    "options", [{"key": "none"}, {"isolation": "AUTOCOMMIT"}, {"deadline": "soon"}, {"attempts": 0}]
)
def test_values_out_of_range_are_told_at_once(options: Any) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        unit_of_work(Base, **options)


def test_a_plain_function_in_an_event_loop_blocks_it_and_works() -> None:
    async def main() -> int:
        return order(7).total

    assert asyncio.run(main()) == 7


# --- loops


def test_a_loop_may_be_left_in_every_way() -> None:
    def by_return() -> str:
        for attempt in attempts(Base):
            with attempt as session:
                session.add(Order(total=1))
                return "returned"
        raise AssertionError

    assert by_return() == "returned"
    for attempt in attempts(Base):
        with attempt as session:
            session.add(Order(total=2))
            break
    turns = 0
    for attempt in attempts(Base):
        turns += 1
        with attempt as session:
            session.add(Order(total=3))
            continue
    assert (turns, rows(Base, Order.total), keys(Base)) == (1, [1, 2, 3], 3)


def test_a_loop_that_does_not_use_its_attempt_is_told_so() -> None:
    with pytest.raises(RuntimeError, match="with attempt as session"):
        for _ in attempts(Base):
            pass


# --- what cannot work


def test_an_autocommit_engine_is_refused(tmp_path: Path) -> None:
    configure(tmp_path, isolation_level="AUTOCOMMIT")
    with pytest.raises(UnusableCluster, match=r"options.isolation_level"):
        order(1)
    assert rows(Base, Order.id) == []


def test_a_missing_table_of_keys_is_one_sentence_with_a_remedy() -> None:
    heard: list[Any] = []
    undaunted.subscribe(heard.append, RetryScheduled)
    Base.metadata.tables["undaunted_keys"].drop(cluster_of(Base).writer)
    with pytest.raises(KeyTableMissing, match="create_all") as caught:
        order(1)
    assert isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value, exc.ProgrammingError)
    assert (heard, rows(Base, Order.id)) == ([], [])


def test_free_keys_need_postgresql() -> None:
    with pytest.raises(UnusableCluster, match="no PostgreSQL"):
        run_in_transaction(Base, lambda session: None, key="free")


def test_a_key_that_is_there_already_is_never_taken_for_another_units() -> None:
    order(1)
    (key,) = rows(Base, Base.metadata.tables["undaunted_keys"].c.key)
    unit = Unit(cluster_of(Base), unit_of_work(Base).terms, [], is_async=False)
    unit.key = key
    with pytest.raises(RuntimeError, match="already"):
        unit.applied_before()


def test_a_plain_session_is_no_unit() -> None:
    with Session(Base) as session:
        session.add(Order(total=1))
        session.commit()
    assert (rows(Base, Order.total), keys(Base)) == ([1], 0)
