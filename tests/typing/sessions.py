"""What type checkers make of sessions: SQLAlchemy's own types, and ours where ours are returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import sqlalchemy as sa
from sqlalchemy import orm
from typing_extensions import assert_type

from undaunted.sqlalchemy import (
    AsyncSession,
    DeclarativeBase,
    Session,
    SessionMixin,
    Token,
    async_sessionmaker,
    sessionmaker,
    token,
)


class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}


class Account(Base):
    __tablename__ = "accounts"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)


class Own(SessionMixin, orm.DeclarativeBase):
    __undaunted__ = {"cluster": "ledger", "profile": "web"}


class OwnSession(Session):
    pass


with Session(Base, readonly=True, token="1-3000148") as session:
    assert_type(session, Session)
    assert_type(session.get(Account, 1), Optional[Account])  # noqa: UP045
    assert_type(session.scalars(sa.select(Account)).all(), Sequence[Account])
    assert_type(session.token(), Optional[Token])  # noqa: UP045

with sessionmaker(Base).begin() as made:
    assert_type(made, Session)
assert_type(sessionmaker("ledger", class_=OwnSession)(), OwnSession)
assert_type(Own.session(readonly=True), Session)
assert_type(token(Base), Optional[Token])  # noqa: UP045
assert_type(Account(id=1).id, int)


async def main() -> None:
    async with async_sessionmaker(Base)() as session:
        assert_type(session, AsyncSession)
        assert_type(await session.get(Account, 1), Optional[Account])  # noqa: UP045
        assert_type(await session.token(), Optional[Token])  # noqa: UP045
