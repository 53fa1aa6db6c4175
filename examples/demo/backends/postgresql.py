"""The bank on a PostgreSQL primary with two standbys: plain SQLAlchemy, and undaunted."""

from __future__ import annotations

import functools
import random
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from psycopg import sql
from serving import Customers, turn_of
from shop.accounts import VAULT, Bank
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from backends.stage import ALIAS, Kinds, Stage, once
from undaunted.lab import PostgresLab
from undaunted.lab.verdict import Passage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from script import Faults

    from backends.stage import Audit
    from undaunted.lab import LabNode
    from undaunted.lab.ledger import Entry, Ledger

__all__ = ["STAGE"]

ACCOUNTS = 40
BALANCE = 1000
FAILOVER = "2s"
TWO_PRIMARIES_S = 1.5
CUTS = 5
CUT_AFTER_S = 1.0  # at the latest; before the servers choose another standby to wait for
TRIES = 5
CONNECTIONS = 10  # kept open by each side: one for each of its customers


class BankCustomers(Customers):
    """Transfers, deposits with keys of their own, looks at one balance and at all of them."""

    def __init__(self, bank: Bank, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.bank = bank

    def prepare(self) -> None:
        """Open the accounts."""
        self.bank.open(accounts=ACCOUNTS, balance=BALANCE)

    def jobs(self) -> list[tuple[str, Callable[[str], None]]]:
        """Who does what."""
        return [
            *((f"transfer-{number}", self.transfers) for number in range(1, 6)),
            ("deposit-1", self.deposits),
            ("deposit-2", self.deposits),
            ("read-1", self.reads),
            ("read-2", self.reads),
            ("scan-1", self.scans),
        ]

    def transfers(self, name: str) -> None:
        """Move an amount between two accounts."""
        source, target = random.sample(range(1, ACCOUNTS + 1), 2)
        with self.operation("transfer", name):
            self.bank.transfer(name, source=source, target=target, amount=1 + turn_of(name) % 9)

    def deposits(self, name: str) -> None:
        """Pay in."""
        slip = uuid.uuid4()
        with self.operation("deposit", name):
            self.bank.deposit(name, slip=slip, account=random.randint(1, ACCOUNTS), amount=1)

    def reads(self, name: str) -> None:
        """Look at one account."""
        with self.operation("balance", name):
            self.bank.balance(random.randint(1, ACCOUNTS))

    def scans(self, name: str) -> None:
        """Look at all accounts: whatever is under way, the sum is always the same."""
        with self.operation("scan", name) as note:
            note.text = _judge(self.bank.balances()).value


def _judge(balances: dict[int, int]) -> Passage:
    missing = ACCOUNTS * BALANCE - sum(balances.values())
    if missing == 0 and len(balances) == ACCOUNTS + 1:
        return Passage.EXACT
    return Passage.DOUBLED if missing < 0 else Passage.SHORT


class PostgreSQLStage(Stage):
    """Kill and freeze the primary, then lose the replies to COMMITs."""

    backend = "postgresql"
    kinds = Kinds(
        orm="sqlalchemy", checked_at="the primary", writes=("transfer", "deposit"), blind=(), reads=("balance",)
    )

    def lab(self) -> PostgresLab:
        """A primary, a synchronous and an asynchronous standby, and a watcher that promotes."""
        return PostgresLab(auto_failover=FAILOVER)

    def settings(self, lab: PostgresLab, database: str) -> dict[str, Any]:
        """As the lab has them, with a database for the side."""
        settings = lab.settings_for(ALIAS)
        url = sa.make_url(settings["clusters"][ALIAS]["url"])
        with lab.operator("primary") as connection:
            names = (sql.Identifier(database), sql.Identifier(url.username or ""))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
        own = url.set(database=database).render_as_string(hide_password=False)
        settings["clusters"][ALIAS] |= {"url": own, "reads": "replica", "pool": {"size": CONNECTIONS}}
        return settings

    def reach(self, lab: PostgresLab, database: str) -> str:
        """All hosts in one URL, of which libpq takes the one that is to be written to, and gives each two seconds."""
        url = sa.make_url(lab.url).set(database=database).update_query_dict({"connect_timeout": "2"})
        return url.render_as_string(hide_password=False)

    def customers(self, spec: dict[str, Any], ledger: Ledger) -> BankCustomers:
        """Connect as the spec says: this is all that differs between the two sides."""
        bank = _plain(spec["reach"]) if spec["side"] == "plain" else _undaunted(spec["settings"])
        return BankCustomers(bank, ledger)

    def audit(self, lab: PostgresLab, database: str, entries: Sequence[Entry]) -> Audit:  # noqa: ARG002  # names suffice
        """Read a side's rows on the primary."""
        with lab.operator("primary", dbname=database) as connection:
            balances: dict[int, int] = dict(connection.execute("SELECT number, balance FROM account").fetchall())
            moved = connection.execute("SELECT name, source, target, amount FROM transfer").fetchall()
            paid = connection.execute("SELECT name, account, amount FROM deposit").fetchall()
        due = Counter(dict.fromkeys(range(1, ACCOUNTS + 1), BALANCE)) + Counter()
        due[VAULT] = 0
        for source, target, amount in [row[1:] for row in moved] + [(VAULT, *row[1:]) for row in paid]:
            due[source] -= amount
            due[target] += amount
        crooked = sum(balances.get(number) != amount for number, amount in due.items())
        crooked += _judge(balances) is not Passage.EXACT
        return {"transfer": once(row[0] for row in moved), "deposit": once(row[0] for row in paid)}, crooked

    def revive(self, lab: PostgresLab, node: LabNode) -> None:
        """A killed primary comes back as a standby of the one that was promoted."""
        lab.rewind(node)

    def thaw(self, lab: PostgresLab, node: LabNode) -> None:
        """A frozen primary goes on and believes that it still is one, until an operator makes it a standby."""
        lab.thaw(node)
        time.sleep(TWO_PRIMARIES_S)
        lab.rewind(node)

    def last_fault(self, faults: Faults, lab: PostgresLab, *, at_s: float, is_quick: bool) -> None:  # noqa: ARG002
        """Cut connections off at the worst moment."""
        faults.undertake(
            "cut at COMMIT",
            lab.primary().name,
            functools.partial(cut_at_commit, lab),
            at_s=at_s,
            says=f"{CUTS} times the synchronous standby hangs, and who waits for his COMMIT is cut off",
        )


def cut_at_commit(lab: PostgresLab) -> None:
    """Lose the replies to COMMITs that were executed.

    While the synchronous standby hangs, each COMMIT on the primary is executed and waits. Whose connection is ended
    then has been committed, and is not told.
    """
    with lab.operator("primary") as connection:
        for _ in range(CUTS):
            found = connection.execute(
                "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'"
            ).fetchone()
            if found is None:
                return
            standby = lab.freeze(found[0])
            try:
                _end_waiting(connection)
            finally:
                lab.thaw(standby)
            lab.wait_healthy()


def _end_waiting(connection: Any) -> None:
    """End every connection whose COMMIT waits, as soon as some do."""
    give_up_s = time.monotonic() + CUT_AFTER_S
    while time.monotonic() < give_up_s:
        (waiting,) = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").fetchone()
        if waiting >= 4:
            break
        time.sleep(0.01)
    connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


def _plain(url: str) -> Bank:
    """As a careful application has it: pings before use, all hosts in the URL, and units of work that are retried."""

    class Base(DeclarativeBase):
        pass

    engine = sa.create_engine(url, pool_pre_ping=True, pool_size=CONNECTIONS)
    sessions = sessionmaker(engine)

    def unit(function: Callable[..., Any], *, key: str = "") -> Callable[..., Any]:  # noqa: ARG001  # it knows no keys
        return functools.partial(_retried, sessions, function)

    bank = Bank(Base, unit=unit, reading=sessions)
    bank.metadata.create_all(engine)
    return bank


def _retried(sessions: sessionmaker[Session], function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """The loop that many write: when the connection is lost, wait, and run it again."""
    for attempt in range(1, TRIES + 1):
        try:
            with sessions.begin() as session:
                return function(session, *args, **named)
        except sa.exc.OperationalError:
            if attempt == TRIES:
                raise
            time.sleep(0.25 * 2**attempt)
    return None


def _undaunted(settings: dict[str, Any]) -> Bank:
    import undaunted  # noqa: PLC0415  # not a line of it runs on the plain side
    from undaunted import sqlalchemy as kept  # noqa: PLC0415

    undaunted.configure(settings)

    class Base(kept.DeclarativeBase):
        __undaunted__ = {"cluster": ALIAS}  # noqa: RUF012

    def unit(function: Callable[..., Any], *, key: Literal["row", "free"] = "row") -> Callable[..., Any]:
        return kept.unit_of_work(Base, key=key)(function)

    bank = Bank(Base, unit=unit, reading=functools.partial(kept.Session, Base, readonly=True))
    bank.metadata.create_all(kept.engine(ALIAS))
    return bank


STAGE = PostgreSQLStage()
