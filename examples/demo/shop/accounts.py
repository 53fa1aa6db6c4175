"""The shop's bank: accounts, and the transfers and deposits that change them, on whatever base they are given.

``Bank(sqlalchemy.orm.DeclarativeBase)`` and ``Bank(undaunted.sqlalchemy.DeclarativeBase)`` are the same code. They
differ by that word, and by who runs a unit of work and who opens a session to read.
"""

from __future__ import annotations

import uuid  # noqa: TC003  # the models' annotations are read when the program runs
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["VAULT", "Bank"]

VAULT = 0
"""The account that deposits come from, so that the sum of all never changes."""


class Bank:
    """The tables, and the units of work.

    Every write leaves its own name behind, so that anybody may count afterwards how often it was applied.

    Args:
        base: The declarative base that the models derive from.
        unit: Makes a unit of work of a function whose first argument is a session. ``key="free"`` says that it inserts
            a row with a key that the client has made.
        reading: Opens a session that only reads.
    """

    def __init__(
        self, base: type[Any], *, unit: Callable[..., Any], reading: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        class Account(base):
            __tablename__ = "account"
            number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
            balance: Mapped[int]

        class Transfer(base):
            __tablename__ = "transfer"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]  # not unique: a transfer that was made twice must be there twice, to be found
            source: Mapped[int]
            target: Mapped[int]
            amount: Mapped[int]

        class Deposit(base):
            __tablename__ = "deposit"
            id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
            name: Mapped[str]
            account: Mapped[int]
            amount: Mapped[int]

        self.Account: Any = Account
        self.Transfer: Any = Transfer
        self.Deposit: Any = Deposit
        self.metadata: sa.MetaData = base.metadata
        self.open = unit(self._open)
        self.transfer = unit(self._transfer)
        self.deposit = unit(self._deposit, key="free")
        self._reading = reading

    def _open(self, session: Any, *, accounts: int, balance: int) -> None:
        """Open the accounts, before the first customer comes."""
        session.add_all(
            self.Account(number=number, balance=0 if number == VAULT else balance) for number in range(accounts + 1)
        )

    def _transfer(self, session: Any, name: str, *, source: int, target: int, amount: int) -> None:
        """Move an amount between two accounts, and write down that it was moved."""
        session.add(self.Transfer(name=name, source=source, target=target, amount=amount))
        self._move(session, source, target, amount)

    def _deposit(self, session: Any, name: str, *, slip: uuid.UUID, account: int, amount: int) -> None:
        """Pay an amount in, under the key on the slip, which whoever pays it in has made."""
        session.add(self.Deposit(id=slip, name=name, account=account, amount=amount))
        self._move(session, VAULT, account, amount)

    def _move(self, session: Any, source: int, target: int, amount: int) -> None:
        number = self.Account.number
        # Locked in the order of their numbers, so that two transfers never wait for each other.
        both = sa.select(self.Account).where(number.in_([source, target])).order_by(number).with_for_update()
        accounts = {account.number: account for account in session.scalars(both)}
        accounts[source].balance -= amount
        accounts[target].balance += amount

    def balance(self, number: int) -> int:
        """Read one account."""
        with self._reading() as session:
            found: int = session.get_one(self.Account, number).balance
            return found

    def balances(self) -> dict[int, int]:
        """Read all accounts, in one look."""
        with self._reading() as session:
            accounts = session.scalars(sa.select(self.Account).order_by(self.Account.number))
            return {account.number: account.balance for account in accounts}
