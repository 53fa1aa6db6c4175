"""Objects in memory: what a unit of work is given is put back before it runs again, and refused where it cannot be."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm
from tests.unit.sqlalchemy.units_model import Base, Contention, Line, Order, configure, rows

from undaunted.sqlalchemy import Session, attempts, run_in_transaction, unit_of_work
from undaunted.sqlalchemy.errors import DeadlineExceeded
from undaunted.sqlalchemy.memory import Memory, mapped_arguments
from undaunted.sqlalchemy.targets import cluster_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def databases(tmp_path: Path) -> None:
    configure(tmp_path)


@pytest.fixture
def contention(tmp_path: Path) -> Iterator[Contention]:
    made = Contention(tmp_path, times=1)
    yield made
    made.end()


def take_next_id() -> None:
    """Another client gets the primary key that the first run had been given."""
    with cluster_of(Base).writer.begin() as connection:
        connection.execute(sa.insert(Order).values(total=-1, notes={}))


def test_plain_sqlalchemy_inserts_a_server_assigned_key_again() -> None:
    """What is protected against: the object keeps the key of the run that was undone, which is another one's by now."""
    order = Order(total=1)
    with orm.Session(cluster_of(Base).writer) as session:
        session.add(order)
        session.flush()
        session.rollback()
    take_next_id()
    with orm.Session(cluster_of(Base).writer) as session:
        session.add(order)
        with pytest.raises(exc.IntegrityError):
            session.flush()


@pytest.mark.parametrize("where", ["argument", "in a list", "closure"])
def test_a_new_object_gets_a_key_of_its_own_in_each_run(contention: Contention, where: str) -> None:
    order = Order(total=1)

    def place(session: Any, *given: Any) -> None:
        order.total += 1
        session.add(order)
        session.flush()
        if contention.left:
            assert order.id == 1
            session.rollback()
            take_next_id()
        contention.meet()

    def place_given(session: Any, given: Any) -> None:
        made = given[0] if isinstance(given, list) else given
        made.total += 1
        session.add(made)
        session.flush()
        if contention.left:
            session.rollback()
            take_next_id()
        contention.meet()

    if where == "closure":
        run_in_transaction(Base, place)
    else:
        run_in_transaction(Base, place_given, order if where == "argument" else [order])
    assert (order.id, order.total) == (2, 2)  # the change was made once
    assert sorted(rows(Base, Order.total)) == [-1, 2]


def test_in_a_loop_it_is_put_back_to_what_it_was_when_it_was_added(contention: Contention) -> None:
    order = Order(total=1)
    for attempt in attempts(Base):
        with attempt as session:
            session.add(order)
            order.total += 1
            session.flush()
            contention.meet()
    assert (order.id, order.total) == (1, 2)


def test_collections_and_plain_values_are_put_back_in_place(contention: Contention) -> None:
    kept = Line()
    order = Order(total=1, notes={"by": ["a"]}, lines=[kept])
    lines, notes = order.lines, order.notes

    def place(session: Any, order: Order) -> None:
        order.lines.append(Line())
        order.notes["by"].append("b")
        order.notes["run"] = True
        session.add(order)
        session.flush()
        contention.meet()

    run_in_transaction(Base, place, order)
    assert order.lines is lines
    assert order.notes is notes
    assert (len(lines), notes) == (2, {"by": ["a", "b"], "run": True})
    assert lines[0] is kept
    assert (len(rows(Base, Line.id)), rows(Base, Order.notes)) == (2, [{"by": ["a", "b"], "run": True}])


def test_a_unit_that_fails_for_good_leaves_objects_as_they_were(contention: Contention) -> None:
    contention.left = 10**6
    order = Order(total=1)

    def place(session: Any, order: Order) -> None:
        order.total = 9
        session.add(order)
        session.flush()
        contention.meet()

    with pytest.raises(DeadlineExceeded):
        run_in_transaction(Base, place, order, deadline="200ms")
    assert (order.id, order.total) == (None, 1)
    assert sa.inspect(order).transient
    with pytest.raises(LookupError):
        run_in_transaction(Base, fail_with, order, LookupError())
    assert (order.id, sa.inspect(order).transient) == (None, True)
    with pytest.raises(KeyboardInterrupt):
        run_in_transaction(Base, fail_with, order, KeyboardInterrupt())
    assert (order.id, sa.inspect(order).transient) == (None, True)
    for kind in (LookupError, KeyboardInterrupt):
        with pytest.raises(kind):
            for attempt in attempts(Base):
                with attempt as session:
                    fail_with(session, order, kind())
        assert (order.id, sa.inspect(order).transient) == (None, True)
    with Session(Base) as session:  # and it may be stored
        session.add(order)
        session.commit()
        assert order.id == 1


def fail_with(session: Any, order: Order, error: BaseException) -> None:
    session.add(order)
    session.flush()
    assert order.id == 1
    raise error


@pytest.mark.parametrize("state", ["persistent", "pending"])
def test_an_object_of_another_session_is_refused(state: str) -> None:
    with Session(Base) as other:
        order = Order(total=1)
        other.add(order)
        if state == "persistent":
            other.commit()
        for given in (order, [order], {"order": order}):
            with pytest.raises(exc.InvalidRequestError, match=r"session\.merge"):
                run_in_transaction(Base, lambda session, given: None, given)
        with pytest.raises(exc.InvalidRequestError, match=r"session\.merge"):
            run_in_transaction(Base, lambda session: session.add(order))
        other.rollback()


def test_what_was_loaded_before_is_merged_and_not_added(contention: Contention) -> None:
    with Session(Base, expire_on_commit=False) as session:
        order = Order(total=1)
        session.add(order)
        session.commit()
    order.total = 5

    def merge(session: Any, given: Order) -> None:
        session.merge(given)
        session.flush()
        contention.meet()

    with pytest.raises(exc.InvalidRequestError, match=r"session\.merge"):
        run_in_transaction(Base, lambda session, given: session.add(given), order)
    assert order.total == 5
    run_in_transaction(Base, merge, order)
    assert rows(Base, Order.total) == [5]
    with Session(Base) as session:
        clean = session.scalars(sa.select(Order)).one()
    run_in_transaction(Base, lambda session, given: session.merge(given, load=False).id, clean)
    order.total = 6
    run_in_transaction(
        Base,
        lambda session, given: session.merge_all([given]) if hasattr(session, "merge_all") else session.merge(given),
        order,
    )
    assert rows(Base, Order.total) == [6]


def test_a_unit_within_a_unit_may_be_given_what_its_session_holds() -> None:
    @unit_of_work(Base)
    def raise_total(session: orm.Session, order: Order) -> None:
        order.total += 1

    @unit_of_work(Base)
    def outer(session: orm.Session) -> None:
        order = Order(total=1)
        session.add(order)
        raise_total(order)

    outer()
    assert rows(Base, Order.total) == [2]


def test_what_is_made_within_a_unit_is_not_kept_by_it() -> None:
    memory = Memory()
    order = Order(total=1)
    memory.remember(order)
    gone = weakref.ref(order)
    del order
    gc.collect()
    assert gone() is None
    memory.restore()


def test_a_bulk_of_objects_that_are_gone_is_forgotten() -> None:
    memory = Memory()
    for _ in range(5000):
        memory.remember(Order(total=1))
    kept = Order(total=7)
    memory.remember(kept)
    assert len(memory._known) < 1100
    kept.total = 8
    memory.restore()
    assert kept.total == 7


@pytest.mark.parametrize("key", ["row", "undone"])
def test_a_unit_leaves_nothing_to_the_garbage_collector(key: str) -> None:
    """Its session goes with it, as with plain SQLAlchemy, and not whenever the collector runs."""
    sessions: list[weakref.ref[Session]] = []

    @unit_of_work(Base)
    def add(session: Session) -> None:
        sessions.append(weakref.ref(session))
        session.add(Order(total=1))
        if key == "undone":
            raise LookupError

    gc.disable()
    try:
        try:
            add()
        except LookupError:
            assert key == "undone"
        assert [session() for session in sessions] == [None]
        for attempt in attempts(Base):
            with attempt as session:
                sessions.append(weakref.ref(session))
        del attempt, session
        assert [session() for session in sessions] == [None, None]
    finally:
        gc.enable()


def test_only_mapped_objects_are_looked_at() -> None:
    order = Order(total=1)
    assert mapped_arguments(len, (1, Mock(), Order, "text", [2, order]), {"more": (None,)}) == [order]
