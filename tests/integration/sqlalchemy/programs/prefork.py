"""A server that loads its application, uses it, and forks its workers: run by test_fork.py, speaks JSON on stdout.

Usage: prefork.py SETTINGS SIDE WORKERS, where SIDE is ``undaunted``, ``unused`` (configured, and not used before the
fork) or ``plain``; for ``plain`` SETTINGS is a URL of SQLAlchemy.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

sys.path.insert(0, str(Path(__file__).parents[4]))

from tests.integration.sqlalchemy.tables import Tables, define

import undaunted
from undaunted.sqlalchemy import DeclarativeBase, Session, unit_of_work

warnings.filterwarnings("ignore", ".*multi-threaded, use of fork.*")

QUERIES = 200
HANGS_S = 8.0 if sys.argv[2] == "plain" else 40.0
"""Plain workers may wait for an answer that another one has taken; whoever should not hang is told apart from slow."""


NOTHING: dict[str, Any] = {"wrong": 0, "errors": [], "servers": []}


def tell(**what: Any) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())  # one write, so that lines of several processes stay whole


class Plain:
    """An engine of SQLAlchemy that was made, and used, before the fork."""

    def __init__(self, url: str) -> None:
        class Base(orm.DeclarativeBase):
            pass

        self.tables = define(Base)
        self._engine = sa.create_engine(url, pool_pre_ping=True)

    def write(self, mark: str) -> None:
        with orm.Session(self._engine) as session, session.begin():
            session.add(self.tables.Entry(mark=mark))

    def writer(self) -> orm.Session:
        return orm.Session(self._engine)

    reader = writer


class Undaunted:
    """Units of work and sessions of undaunted."""

    def __init__(self, settings: str) -> None:
        class Base(DeclarativeBase):
            __undaunted__ = {"cluster": "ledger"}

        undaunted.configure(json.loads(settings))
        self.tables: Tables = define(Base)
        self._write = unit_of_work(Base)(lambda session, mark: session.add(self.tables.Entry(mark=mark)))

    def write(self, mark: str) -> None:
        self._write(mark)

    def writer(self) -> orm.Session:
        return Session(self.tables.Base)

    def reader(self) -> orm.Session:
        return Session(self.tables.Base, readonly=True)


def ask(side: Plain | Undaunted) -> dict[str, Any]:
    """Ask what must come back as it was asked; count what is wrong, what fails, and on which connections."""
    wrong, errors, servers = 0, list[str](), set[int]()
    for number in range(QUERIES):
        asked = os.getpid() * 1000 + number
        try:
            with side.writer() if number % 2 else side.reader() as session:
                found, server = session.execute(
                    sa.select(sa.literal(asked), sa.func.pg_backend_pid(), sa.func.pg_sleep(0.0005))
                ).one()[:2]
                wrong += found != asked
                servers.add(server)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}"[:300])
    return {"wrong": wrong, "errors": errors, "servers": sorted(servers)}


def ask_or_hang(side: Plain | Undaunted) -> dict[str, Any] | None:
    """Ask in the parent; None where a worker has taken an answer that it waits for."""
    told: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: told.append(ask(side)), daemon=True)
    thread.start()
    thread.join(HANGS_S)
    return told[0] if told else None


def worker(side: Plain | Undaunted, name: str) -> None:
    """A worker's whole life; the way out is that of any process, so that what runs at exit runs."""
    status = 1
    faulthandler.dump_traceback_later(HANGS_S - 5)
    try:
        began_s = time.monotonic()
        try:
            side.write(f"fork-{os.getpid()}")
            first = None
        except Exception as error:
            first = f"{type(error).__name__}: {error}"[:300]
        took_s = time.monotonic() - began_s
        tell(step="worked", worker=name, pid=os.getpid(), took_s=took_s, first=first, **ask(side))
        status = 0
    except BaseException:
        tell(step="failed", worker=name, error=traceback.format_exc())
    sys.exit(status)


def wait(pids: list[int]) -> int:
    """Wait for the workers, but not for one that hangs; returns how many did."""
    ends_s = time.monotonic() + HANGS_S
    hung = 0
    for pid in pids:
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if time.monotonic() > ends_s:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                hung += 1
                break
            time.sleep(0.01)
    return hung


def hammer(side: Plain | Undaunted, stop: threading.Event, errors: list[str]) -> None:
    """Threads of the parent use the engines, and hold their locks, at the very moment of the fork."""
    while not stop.is_set():
        try:
            side.write(f"parent-{os.getpid()}")
            with side.reader() as session:
                assert session.get_one(side.tables.Row, 1).text == "row 1"
        except Exception:
            errors.append(traceback.format_exc())
            return
        stop.wait(0.01)


def main() -> None:
    side: Plain | Undaunted
    side = Plain(sys.argv[1]) if sys.argv[2] == "plain" else Undaunted(sys.argv[1])
    workers = int(sys.argv[3])
    is_used = sys.argv[2] != "unused"
    stop, errors = threading.Event(), list[str]()
    threads: list[threading.Thread] = []
    with side.writer() as session:
        if is_used:
            # One connection is in use over the fork, and stays the parent's; others are idle in their pools.
            session.add(side.tables.Entry(mark=f"open-{os.getpid()}"))
            session.flush()
            ask(side)
            side.write("parent")
        if sys.argv[2] == "undaunted":
            threads = [threading.Thread(target=hammer, args=(side, stop, errors), daemon=True) for _ in range(3)]
            for thread in threads:
                thread.start()
        pids: list[int] = []
        for number in range(workers):
            pid = os.fork()
            if pid == 0:
                worker(side, f"worker-{number}")
            pids.append(pid)
        own, hung = ask_or_hang(side), wait(pids)
        if own is not None:
            try:
                session.commit()
            except Exception as error:
                own["errors"].append(f"{type(error).__name__}: {error}"[:300])
        stop.set()
        for thread in threads:
            thread.join(30)
        tell(step="parent", pid=os.getpid(), hung=hung + (own is None), hammer=errors, **(own or NOTHING))
        if own is None:
            os._exit(0)  # nothing that is still to be done here would come back


if __name__ == "__main__":
    main()
