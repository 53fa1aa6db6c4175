"""The two sides that are put to the same test: plain SQLAlchemy as its users set it up, and undaunted."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.orm import Session as PlainSession

from undaunted.sqlalchemy import Session, unit_of_work

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sqlalchemy.tables import Tables

__all__ = ["Bodies", "Done", "Plain", "Side", "Undaunted", "node_of"]

_NAIVE_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation came back with, and from which node."""

    node: str | None
    value: Any = None


class Side(Protocol):
    """The operations of the load; each returns when it is done, or raises."""

    def entry(self, mark: str) -> Done: ...
    def note(self, mark: str) -> Done: ...
    def count(self, name: str) -> Done: ...
    def get(self, k: int) -> Done: ...
    def own(self, mark: str) -> Done: ...
    def stop(self) -> None:
        """Try nothing again from now on."""


def node_of(session: PlainSession) -> str | None:
    """The node that the session's connection leads to; None where it has just been lost."""
    try:
        found: Any = session.connection().connection.dbapi_connection
        return f"{found.info.host}:{found.info.port}"
    except (exc.SQLAlchemyError, psycopg.Error):
        return None


class Bodies:
    """What is done within one session: the same on both sides."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def add_entry(self, session: PlainSession, mark: str) -> Done:
        """Insert a row that the server numbers."""
        session.add(self.tables.Entry(mark=mark))
        session.flush()
        return Done(node_of(session))

    def add_note(self, session: PlainSession, mark: str) -> Done:
        """Insert a row whose key is made here, anew each time this runs."""
        session.add(self.tables.Note(mark=mark))
        session.flush()
        return Done(node_of(session))

    def add_one(self, session: PlainSession, name: str) -> Done:
        """Lock a counter, add one, and return what it then is."""
        counter = session.get_one(self.tables.Counter, name, with_for_update=True)
        counter.n += 1
        session.flush()
        return Done(node_of(session), counter.n)

    def read(self, session: PlainSession, k: int) -> Done:
        """One of the rows that never change."""
        text = session.get_one(self.tables.Row, k).text
        return Done(node_of(session), text)

    def look(self, session: PlainSession, mark: str) -> Done:
        """How often a mark that was noted is there."""
        found = session.scalar(sa.select(sa.func.count()).where(self.tables.Note.mark == mark))
        return Done(node_of(session), found)


class Plain:
    """SQLAlchemy as its documentation wants it for several hosts, with the loop around it that everybody writes.

    Args:
        url: All nodes, and that the one is wanted that takes writes.
        tables: Models on SQLAlchemy's own base.
        threads: How many use it at once.
    """

    def __init__(self, url: str, tables: Tables, *, threads: int = 18) -> None:
        self.engine = sa.create_engine(url, pool_pre_ping=True, pool_size=threads, connect_args={"connect_timeout": 2})
        self.caught: Counter[str] = Counter()
        self._do = Bodies(tables)
        self._stopped = threading.Event()

    def entry(self, mark: str) -> Done:
        return self._again(self._do.add_entry, mark)

    def note(self, mark: str) -> Done:
        return self._again(self._do.add_note, mark)

    def count(self, name: str) -> Done:
        return self._again(self._do.add_one, name)

    def get(self, k: int) -> Done:
        return self._again(self._do.read, k)

    def own(self, mark: str) -> Done:
        return self._again(self._do.look, mark)

    def stop(self) -> None:
        self._stopped.set()

    def _again(self, body: Callable[[PlainSession, Any], Done], what: Any) -> Done:
        while True:
            try:
                with PlainSession(self.engine) as session, session.begin():
                    return body(session, what)
            except Exception as error:
                self.caught[type(error).__name__] += 1
                if self._stopped.wait(_NAIVE_PAUSE_S):
                    raise


class Undaunted:
    """The same through units of work and readonly sessions; nothing around them.

    Args:
        tables: Models on a base of undaunted.
    """

    def __init__(self, tables: Tables) -> None:
        self._do = Bodies(tables)
        self._base = tables.Base
        self._entry = unit_of_work(tables.Base)(self._do.add_entry)
        self._note = unit_of_work(tables.Base, key="free")(self._do.add_note)
        self._count = unit_of_work(tables.Base)(self._do.add_one)

    def entry(self, mark: str) -> Done:
        return self._entry(mark)

    def note(self, mark: str) -> Done:
        return self._note(mark)

    def count(self, name: str) -> Done:
        return self._count(name)

    def get(self, k: int) -> Done:
        with Session(self._base, readonly=True) as session:
            return self._do.read(session, k)

    def own(self, mark: str) -> Done:
        with Session(self._base, readonly=True) as session:
            return self._do.look(session, mark)

    def stop(self) -> None:
        """It has its deadlines."""
