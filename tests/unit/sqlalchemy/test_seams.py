"""What is used of SQLAlchemy beneath its public names is still there, and does what it is used for."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import event, orm

from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy import seams, versions


@pytest.mark.parametrize("begin", ["by itself", "explicitly"])
def test_a_transaction_goes_on_without_one_of_its_connections(begin: str) -> None:
    first, second = (sa.create_engine("sqlite://", poolclass=sa.QueuePool) for _ in range(2))
    ended: list[str] = []
    for engine, name in ((first, "first"), (second, "second")):
        event.listen(engine, "rollback", lambda _, name=name: ended.append(f"{name} rolled back"))
        event.listen(engine, "commit", lambda _, name=name: ended.append(f"{name} committed"))
    try:
        with orm.Session() as session:
            if begin == "explicitly":
                session.begin()
            for engine in (first, second):
                assert session.scalar(sa.text("SELECT 1"), bind_arguments={"bind": engine}) == 1
            transaction = session.get_transaction()
            assert transaction is not None
            seams.leave(transaction, first)
            assert ended == ["first rolled back"]
            seams.leave(transaction, first)  # there is none any more
            assert session.scalar(sa.text("SELECT 1"), bind_arguments={"bind": first}) == 1  # a new one
            seams.leave(transaction, first)
            session.commit()
        assert ended == ["first rolled back", "first rolled back", "second committed"]
        assert isinstance(first.pool, sa.QueuePool)
        assert first.pool.checkedout() == 0
    finally:
        first.dispose()
        second.dispose()


def test_a_dead_connection_s_own_failure_to_end_is_nobody_s() -> None:
    engine = sa.create_engine("sqlite://")
    with orm.Session(engine) as session:
        session.execute(sa.text("SELECT 1"))
        found = session.connection().connection.dbapi_connection
        assert found is not None
        found.close()
        transaction = session.get_transaction()
        assert transaction is not None
        seams.leave(transaction, engine)
        assert session.scalar(sa.text("SELECT 2")) == 2
        session.commit()
    engine.dispose()


def test_psycopg_has_what_a_unit_begins_with() -> None:
    assert seams.missing() == []


def test_pools_have_what_ours_stand_on() -> None:
    assert seams.missing_of_pools() == []


def test_a_sqlalchemy_whose_pools_are_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "missing_of_pools", lambda: ["QueuePool._do_get"])
    with pytest.raises(
        ConfigurationError, match=r"SQLAlchemy [\d.]+ has no QueuePool\._do_get, .* Install a SQLAlchemy"
    ):
        versions.check_packages()


def test_a_psycopg_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seams, "missing", lambda: ["generators.execute"])
    with pytest.raises(ConfigurationError, match=r"psycopg [\d.]+ has no generators\.execute, .* Install a psycopg"):
        versions.check_packages()
