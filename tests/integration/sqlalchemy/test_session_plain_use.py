"""Sessions without a unit of work: nothing is run again, errors are SQLAlchemy's own, and the next one works."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm
from tests.integration.sqlalchemy.servers import end_backend, whom

from undaunted.sqlalchemy import Session, sessionmaker
from undaunted.sqlalchemy.engines import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.sqlalchemy.tables import Tables

    from undaunted.lab import PostgresLab

pytestmark = pytest.mark.integration

AGAIN = 20
"""How often a plain session is asked again until what it does is called "for ever"."""


@pytest.fixture
def several_hosts(lab: PostgresLab) -> Iterator[sa.Engine]:
    """Plain SQLAlchemy with all nodes in its URL, as its documentation shows it, and with `pool_pre_ping`."""
    nodes = sorted(lab.nodes, key=lambda node: lab.role(node) != "primary")
    hosts = "&".join(f"host={node.address}" for node in nodes)
    made = sa.create_engine(
        f"{lab.url_of(nodes[0]).split('@')[0]}@/{lab.url_of(nodes[0]).rsplit('/', 1)[1]}?{hosts}", pool_pre_ping=True
    )
    yield made
    made.dispose()


def count(lab: PostgresLab, mark: str) -> int:
    with lab.connect(lab.primary()) as server:
        row = server.execute("SELECT count(*) FROM entry WHERE mark = %s", [mark]).fetchone()
        assert row is not None
        return row[0]


# -- a demoted node ----------------------------------------------------------------------------------


def test_plain_sqlalchemy_stays_on_a_demoted_node(lab: PostgresLab, several_hosts: sa.Engine, ledger: Tables) -> None:
    """It answers, so nothing replaces its connections; every write fails, for ever."""
    entry = ledger.Entry
    with orm.Session(several_hosts) as session:
        session.add(entry(mark="before"))
        session.commit()
    lab.step_down("primary")
    first_s = time.monotonic()
    states = []
    for _ in range(AGAIN):
        with orm.Session(several_hosts) as session, pytest.raises(exc.DBAPIError) as raised:
            session.add(entry(mark="after"))
            session.commit()
        states.append(getattr(raised.value.orig, "sqlstate", None))
    print(f"{time.monotonic() - first_s:.2f} s: {states}")
    assert states[-AGAIN // 2 :] == ["25006"] * (AGAIN // 2)


@pytest.mark.parametrize("form", ["session", "engine"])
def test_the_next_session_meets_the_node_that_takes_writes(
    lab: PostgresLab, configure: Callable[..., Tables], form: str
) -> None:
    """By a session of ours, or by our engine alone in an application that has its own sessions."""
    tables = configure(pool={"size": 3})
    mark = uuid.uuid4().hex
    make = sessionmaker(tables.Base) if form == "session" else orm.sessionmaker(engine("ledger"))
    sessions = [make() for _ in range(3)]
    for session in sessions:  # so that the pool is full of connections to the node
        session.add(tables.Entry(mark=mark))
        session.flush()
    for session in sessions:
        session.commit()
        session.close()
    lab.step_down("primary")
    errors = 0
    for _ in range(6):
        try:
            with make.begin() as session:
                session.add(tables.Entry(mark=mark))
        except exc.OperationalError:
            errors += 1
    assert errors == 0
    assert count(lab, mark) == 9


def test_a_demoted_node_that_a_session_is_still_on_is_left_behind_its_error(lab: PostgresLab, ledger: Tables) -> None:
    mark = uuid.uuid4().hex
    with Session(ledger.Base) as session:
        session.add(ledger.Entry(mark=mark))
        session.flush()
        before, _ = whom(session)
        lab.step_down("primary")
        with pytest.raises(exc.DBAPIError) as raised:
            session.commit()
        assert type(raised.value).__module__ == "sqlalchemy.exc"
        session.rollback()
        session.add(ledger.Entry(mark=mark))
        session.commit()
        assert whom(session)[0] != before
    assert count(lab, mark) == 1


# -- a lost connection -------------------------------------------------------------------------------


def test_a_plain_session_that_nobody_rolls_back_answers_nothing_any_more(
    lab: PostgresLab, several_hosts: sa.Engine, ledger: Tables
) -> None:
    with orm.Session(several_hosts) as session:
        session.get(ledger.Row, 1)
        end_backend(lab, *whom(session))
        with pytest.raises(exc.OperationalError):
            session.get(ledger.Row, 2)
        for _ in range(AGAIN):
            with pytest.raises(exc.PendingRollbackError):
                session.get(ledger.Row, 2)


def test_a_session_that_has_only_read_answers_again_behind_one_error(lab: PostgresLab, ledger: Tables) -> None:
    with Session(ledger.Base) as session:
        row = session.get_one(ledger.Row, 1)
        end_backend(lab, *whom(session))
        with pytest.raises(exc.OperationalError) as raised:
            session.get(ledger.Row, 2)
        assert type(raised.value) is exc.OperationalError  # SQLAlchemy's own, around the driver's own
        assert isinstance(raised.value.orig, psycopg.OperationalError)
        assert raised.value.connection_invalidated
        assert session.get_one(ledger.Row, 2).text == "row 2"
        assert row.text == "row 1"


def test_a_session_that_has_written_refuses_everything_until_its_transaction_is_over(
    lab: PostgresLab, ledger: Tables
) -> None:
    """What follows must not be committed without what was lost; the failed commit itself is the end."""
    lost, kept = uuid.uuid4().hex, uuid.uuid4().hex
    with Session(ledger.Base) as session:
        session.add(ledger.Entry(mark=lost))
        session.flush()
        end_backend(lab, *whom(session))
        with pytest.raises(exc.OperationalError):
            session.get(ledger.Row, 2)
        for _ in range(3):
            with pytest.raises(exc.PendingRollbackError):
                session.get(ledger.Row, 2)
        with pytest.raises(exc.PendingRollbackError):
            session.commit()
        session.add(ledger.Entry(mark=kept))
        session.commit()
    assert (count(lab, lost), count(lab, kept)) == (0, 1)


def test_a_lock_is_lost_with_its_transaction(lab: PostgresLab, ledger: Tables) -> None:
    """So a session that has only read FOR UPDATE does not go on by itself, either."""
    with Session(ledger.Base) as session:
        session.get(ledger.Row, 1, with_for_update=True)
        end_backend(lab, *whom(session))
        with pytest.raises(exc.OperationalError):
            session.get(ledger.Row, 2)
        with pytest.raises(exc.PendingRollbackError):
            session.get(ledger.Row, 2)


def test_a_failed_flush_is_over_with_the_commit_that_tells_of_it(lab: PostgresLab, ledger: Tables) -> None:
    mark = uuid.uuid4().hex
    with Session(ledger.Base) as session:
        session.get(ledger.Row, 1)
        end_backend(lab, *whom(session))
        session.add(ledger.Entry(mark=mark))
        with pytest.raises(exc.OperationalError):
            session.flush()
        with pytest.raises(exc.PendingRollbackError):
            session.commit()
        session.add(ledger.Entry(mark=mark))
        session.commit()
    assert count(lab, mark) == 1


def test_a_lost_commit_is_told_and_not_run_again(lab: PostgresLab, ledger: Tables) -> None:
    mark = uuid.uuid4().hex
    with Session(ledger.Base) as session:
        session.add(ledger.Entry(mark=mark))
        session.flush()
        end_backend(lab, *whom(session))
        with pytest.raises(exc.OperationalError) as raised:
            session.commit()
        assert type(raised.value) is exc.OperationalError
        assert session.get_one(ledger.Row, 1).text == "row 1"
    assert count(lab, mark) == 0


def test_a_scoped_session_that_is_never_removed_works_on(lab: PostgresLab, ledger: Tables) -> None:
    scoped = orm.scoped_session(sessionmaker(ledger.Base))
    assert scoped.get(ledger.Row, 1).text == "row 1"
    end_backend(lab, *whom(scoped()))
    with pytest.raises(exc.OperationalError):
        scoped.get(ledger.Row, 2)
    assert scoped.get(ledger.Row, 2).text == "row 2"
    scoped.remove()
