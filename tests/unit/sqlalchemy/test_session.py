"""Sessions on two small databases: which engine each statement gets, drop-in use, and what readonly refuses."""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy import exc, orm

import undaunted
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy import AsyncSession, DeclarativeBase, Session, Token, async_sessionmaker, sessionmaker, token
from undaunted.sqlalchemy.targets import cluster_of
from undaunted.sqlalchemy.tokens import LAST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}


class Account(Base):
    __tablename__ = "accounts"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str]


class Archive(DeclarativeBase):
    __undaunted__ = {"cluster": "archive"}


class Record(Archive):
    __tablename__ = "records"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


class Plain(orm.DeclarativeBase):
    pass


class Note(Plain):
    __tablename__ = "notes"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


@pytest.fixture(autouse=True)
def databases(tmp_path: Path) -> None:
    undaunted.configure(
        {
            "clusters": {
                name: {"backend": "sqlalchemy", "url": f"sqlite:///{tmp_path}/{name}.db"}
                for name in ("ledger", "archive")
            }
        }
    )
    Base.metadata.create_all(cluster_of("ledger").writer)
    Plain.metadata.create_all(cluster_of("ledger").writer)
    Archive.metadata.create_all(cluster_of("archive").writer)


def engines() -> tuple[sa.Engine, sa.Engine]:
    return cluster_of("ledger").writer, cluster_of("archive").writer


@pytest.mark.parametrize("target", [Base, Account, "ledger"])
def test_a_session_finds_its_engine_by_base_class_or_name(target: Any) -> None:
    ledger, _ = engines()
    with Session(target) as session:
        assert session.get_bind() is ledger
        session.add(Account(id=1, name="a"))
        session.commit()
    with Session(target) as session:
        assert session.scalars(sa.select(Account.name)).all() == ["a"]


def test_one_session_serves_several_bases() -> None:
    ledger, archive = engines()
    with Session(Base) as session:
        session.add_all([Account(id=1, name="a"), Record(id=2)])
        session.commit()
        assert session.get(Record, 2) is not None
        assert session.execute(sa.select(Record.__table__)).all() == [(2,)]  # of a table alone
        assert session.execute(sa.select(Archive.metadata.tables["records"].c.id)).all() == [(2,)]
        assert session.get_bind(Record) is archive
        assert session.get_bind(orm.class_mapper(Record)) is archive
        assert session.get_bind(clause=sa.insert(Record.__table__)) is archive
        assert session.get_bind(Note) is ledger  # declares nothing
        assert session.get_bind() is ledger


def test_without_a_target_each_class_says_where() -> None:
    ledger, archive = engines()
    with Session() as session:
        assert session.get_bind(Account) is ledger
        assert session.get_bind(Record) is archive
        with pytest.raises(exc.UnboundExecutionError):
            session.execute(sa.text("SELECT 1"))
        with pytest.raises(exc.UnboundExecutionError):
            session.get(Note, 1)


def test_the_default_cluster_serves_whatever_declares_nothing() -> None:
    undaunted.configure({"clusters": {"ledger": {"backend": "sqlalchemy", "url": "sqlite://", "default": True}}})
    with Session() as session:
        assert session.get_bind() is cluster_of("ledger").writer


def test_what_the_user_binds_goes_before_the_cluster() -> None:
    ledger, archive = engines()
    own = sa.create_engine("sqlite://")
    with Session(Base, binds={Record: own, Note.__table__: own}) as session:
        assert session.get_bind(Record) is own
        assert session.get_bind(Note) is own
        assert session.get_bind(Account) is ledger
        assert session.get_bind(Account, bind=archive) is archive
        assert session.execute(sa.text("SELECT 1"), bind_arguments={"bind": own}).scalar() == 1
    with Session(Base) as session:
        session.bind_mapper(Account, own)
        session.bind_table(Record.__table__, own)
        assert session.get_bind(Account) is session.get_bind(Record) is own
    with Session(Base, bind=own) as session:
        assert session.get_bind(Account) is own
    own.dispose()


def test_an_engine_or_a_connection_in_the_place_of_the_target() -> None:
    own = sa.create_engine("sqlite://")
    with own.connect() as connection:
        assert Session(own).get_bind() is own
        assert Session(connection).get_bind(Account) is connection
        assert Session(bind=own).get_bind() is own
    own.dispose()


@pytest.mark.parametrize("target", [3, object(), ["ledger"], Account(id=1, name="a")])
def test_anything_else_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match="a session is for a base, a mapped class or the name of a cluster, not for"):
        Session(target)


def test_an_unknown_cluster_is_named() -> None:
    with pytest.raises(ConfigurationError, match="there is no cluster 'legder'; did you mean 'ledger'"):
        Session("legder").get_bind()


# -- drop-in -----------------------------------------------------------------------------------------


def makers() -> list[Callable[..., Any]]:
    configured = orm.sessionmaker(class_=Session)
    configured.configure(bind=Base)
    return [
        sessionmaker(Base),
        sessionmaker("ledger", expire_on_commit=False),
        orm.sessionmaker(class_=Session, target=Base),
        orm.sessionmaker(Base, class_=Session),  # type: ignore[call-overload]
        configured,
    ]


@pytest.mark.parametrize("number", range(5))
def test_makers(number: int) -> None:
    make = makers()[number]
    with make.begin() as session:  # type: ignore[attr-defined]
        session.add(Account(id=1, name="a"))
    with make() as session, session.begin():
        assert isinstance(session, Session)
        session.get(Account, 1).name = "b"
    assert make().scalar(sa.select(Account.name)) == "b"


def test_a_maker_s_options_reach_the_session() -> None:
    make = sessionmaker(Base, readonly=True, info={"a": 1})
    assert make().readonly
    assert make(info={"b": 2}).info == {"a": 1, "b": 2}
    assert not make(readonly=False).readonly


def test_scoped_sessions() -> None:
    scoped = orm.scoped_session(sessionmaker(Base))
    scoped.add(Account(id=1, name="a"))
    scoped.commit()
    assert scoped.get(Account, 1).name == "a"
    scoped.remove()


def test_a_framework_s_session_class() -> None:
    """As Flask-SQLAlchemy makes its sessions: a subclass with a `get_bind` of its own, made with unknown options."""

    class Framework(Session):
        def __init__(self, db: object, **options: Any) -> None:
            super().__init__(**options)
            self.db = db

        def get_bind(self, mapper: Any = None, clause: Any = None, bind: Any = None, **options: Any) -> Any:
            return super().get_bind(mapper, clause=clause, bind=bind, **options)

    make = orm.sessionmaker(class_=Framework, db="db", query_cls=orm.Query)
    with make() as session:
        session.add(Account(id=1, name="a"))
        session.commit()
        assert session.query(Account).filter_by(name="a").one().id == 1
        assert session.db == "db"


def test_savepoints_bulk_and_legacy_queries() -> None:
    with Session(Base) as session:
        session.bulk_insert_mappings(orm.class_mapper(Account), [{"id": 1, "name": "a"}])
        with session.begin_nested():
            session.execute(sa.insert(Account), [{"id": 2, "name": "b"}])
        nested = session.begin_nested()
        session.add(Account(id=3, name="c"))
        session.flush()
        nested.rollback()
        session.query(Account).filter_by(id=2).update({"name": "d"})
        session.commit()
        assert [account.name for account in session.query(Account).order_by(Account.id)] == ["a", "d"]
        with session.connection() as connection:
            assert connection.engine is cluster_of("ledger").writer


# -- readonly ----------------------------------------------------------------------------------------


def test_a_readonly_session_refuses_what_it_can_see_to_be_a_change() -> None:
    with Session(Base) as session:
        session.add(Account(id=1, name="a"))
        session.commit()
    with Session(Base, readonly=True) as session:
        account = session.get_one(Account, 1)
        account.name = "a"
        session.flush()  # no change after all
        account.name = "b"
        with pytest.raises(exc.InvalidRequestError, match="this session is readonly"):
            session.scalars(sa.select(Account)).all()  # flushes first
        session.rollback()
        assert account.name == "a"
        for change in (sa.insert(Account), sa.update(Account).values(name="b"), sa.delete(Account)):
            with pytest.raises(exc.InvalidRequestError, match="this session is readonly"):
                session.execute(change)
        session.add(Account(id=2, name="c"))
        with pytest.raises(exc.InvalidRequestError, match="this session is readonly"):
            session.commit()


def test_a_readonly_session_takes_no_engine() -> None:
    with pytest.raises(TypeError, match="a readonly session chooses its nodes itself"):
        Session(cluster_of("ledger").writer, readonly=True)
    with pytest.raises(TypeError, match="a readonly session chooses its nodes itself"):
        Session(Base, readonly=True, binds={Account: cluster_of("ledger").writer})


def test_tokens_are_for_readonly_sessions_of_one_cluster() -> None:
    for options in ({"target": Base}, {"readonly": True}):
        with pytest.raises(TypeError, match="a token is for a readonly session of one cluster"):
            Session(token=Token(1, 2), **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'yesterday' is no token"):
        Session(Base, readonly=True, token="yesterday")


def test_tokens_need_postgresql() -> None:
    for ask in (Session(Base).token, lambda: token(Base)):
        with pytest.raises(ConfigurationError, match="Cluster 'ledger' is no PostgreSQL, so it has no tokens"):
            ask()
    with pytest.raises(TypeError, match="this session has no target"):
        Session().token()


# -- what was committed ------------------------------------------------------------------------------


def last() -> set[str]:
    return set(LAST.get())


def written_by(work: Callable[[Session], object]) -> set[str]:
    """The clusters on which a session that does this has committed something, as far as is known."""

    def run() -> set[str]:
        with Session(Base) as session:
            work(session)
            session.commit()
        return last()

    return contextvars.Context().run(run)


@pytest.mark.parametrize(
    "work",
    [
        lambda session: session.add(Account(id=1, name="a")),
        lambda session: session.execute(sa.update(Account).values(name="b")),
        lambda session: session.execute(sa.text("UPDATE accounts SET name = 'b'")),
        lambda session: session.execute(sa.text("WITH changed AS (SELECT 1) SELECT * FROM changed")),
        lambda session: session.scalars(sa.select(Account).with_for_update()).all(),
        lambda session: session.connection().execute(sa.delete(Account)),
        lambda session: session.bulk_insert_mappings(orm.class_mapper(Account), [{"id": 1, "name": "a"}]),
        lambda session: session.query(Account).delete(),
        lambda session: session.scalars(sa.insert(Account).values(id=1, name="a").returning(Account.id)).one(),
        lambda session: session.scalars(
            sa.select(Account).from_statement(sa.insert(Account).values(id=1, name="a").returning(Account))
        ).one(),
    ],
)
def test_a_commit_of_what_may_have_written_is_remembered(work: Callable[[Session], object]) -> None:
    assert written_by(work) == {"ledger"}


@pytest.mark.parametrize(
    "work",
    [
        lambda session: session.get(Account, 1),
        lambda session: session.execute(sa.select(Account)),
        lambda session: session.execute(sa.select(Account.__table__)),
        lambda session: session.query(Account).count(),
        lambda session: session.execute(sa.text(" select * from accounts")),
        lambda session: session.scalars(sa.text("SELECT id FROM accounts").columns(Account.id)).all(),
        lambda session: (session.add(Account(id=1, name="a")), session.rollback()),
        lambda session: (session.add(Account(id=1, name="a")), session.flush(), session.rollback()),
        lambda session: None,
    ],
)
def test_a_commit_of_what_has_only_read_is_not(work: Callable[[Session], object]) -> None:
    assert written_by(work) == set()


def test_each_cluster_written_is_remembered() -> None:
    assert written_by(lambda session: session.add_all([Account(id=1, name="a"), Record(id=1)])) == {"ledger", "archive"}


def test_a_context_manager_s_commit_is_remembered_as_well() -> None:
    def run() -> None:
        before_s = time.monotonic()
        with sessionmaker(Base).begin() as session, session.begin_nested():
            session.add(Account(id=1, name="a"))
        assert LAST.get()["ledger"].at_s >= before_s

    contextvars.Context().run(run)


# -- asyncio -----------------------------------------------------------------------------------------


def test_async_sessions_take_the_same_arguments() -> None:
    session = async_sessionmaker(Base, readonly=True, token="1-10")()
    assert isinstance(session, AsyncSession)
    assert isinstance(session.sync_session, Session)
    assert session.sync_session.readonly
    with pytest.raises(TypeError, match="a session is for a base, a mapped class or the name of a cluster, not for"):
        AsyncSession(3)
