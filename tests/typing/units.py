"""Units of work as an application writes them, checked by mypy and pyright in strict mode and never run."""

from __future__ import annotations

from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import orm
from typing_extensions import assert_type

from undaunted.sqlalchemy import (
    AsyncSession,
    DeclarativeBase,
    Session,
    attempts,
    key_table,
    run_in_transaction,
    sweep,
    unit_of_work,
)


class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}


class Account(Base):
    __tablename__ = "accounts"

    id: orm.Mapped[UUID] = orm.mapped_column(primary_key=True, default=uuid4)
    balance: orm.Mapped[int]


@unit_of_work(Base)
def transfer(session: Session, source: UUID, target: UUID, amount: int, *, note: str = "") -> int:
    session.get_one(Account, source).balance -= amount
    session.get_one(Account, target).balance += amount
    return amount


assert_type(transfer(uuid4(), uuid4(), 3), int)
assert_type(transfer(uuid4(), uuid4(), amount=3, note="rent"), int)
transfer(uuid4(), uuid4(), "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
transfer(uuid4(), uuid4())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


@unit_of_work(Base, key="free", deadline="5s", attempts=3, isolation="SERIALIZABLE")
async def open_account(session: AsyncSession, balance: int) -> Account:
    account = Account(balance=balance)
    session.add(account)
    return account


@unit_of_work("ledger", readonly=True, profile="web")
def total(session: orm.Session) -> float:
    return sum(account.balance for account in session.query(Account))


assert_type(total(), float)


class Bank:
    @unit_of_work(Base)
    def deposit(self, session: Session, account: UUID, amount: int) -> int:
        session.get_one(Account, account).balance += amount
        return amount

    @unit_of_work(Base)
    async def withdraw(self, session: AsyncSession, account: UUID, amount: int) -> int:
        (await session.get_one(Account, account)).balance -= amount
        return amount

    @classmethod
    @unit_of_work(Base)
    def count(cls, session: Session) -> int:
        return session.query(Account).count()


assert_type(Bank().deposit(uuid4(), 3), int)
assert_type(Bank.count(), int)


def move(session: Session, amount: int) -> str:
    return str(amount)


async def move_async(session: AsyncSession, amount: int) -> str:
    return str(amount)


assert_type(run_in_transaction(Base, move, 3), str)
assert_type(run_in_transaction(Base, move, amount=3, key="free", deadline=2.5), str)
assert_type(unit_of_work(Base).run(move, 3), str)
unit_of_work(Base).run(move, "3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def main() -> None:
    assert_type(await open_account(3), Account)
    assert_type(await Bank().withdraw(uuid4(), 3), int)
    assert_type(await run_in_transaction(Base, move_async, 3), str)
    assert_type(await unit_of_work(Base).run(move_async, 3), str)
    async for attempt in attempts(Base, deadline="5s"):
        async with attempt as session:
            assert_type(session, AsyncSession)
            await session.get(Account, uuid4())


for attempt in attempts(Base):
    with attempt as session:
        assert_type(session, Session)
        session.add(Account(balance=1))

assert_type(sweep(Base, older_than="48h"), int)
assert_type(key_table(Base.metadata), sa.Table)
