"""What undaunted costs a unit of SQLAlchemy work that succeeds, paired with plain SQLAlchemy in one run.

Runs on a primary with two standbys of the lab, one of them synchronous: ``python benchmarks/sqlalchemy_cost.py``. The
sides take turns call by call, in an order that rotates. Plain SQLAlchemy is measured twice: bare, and with
``pool_pre_ping``, without which it hands out connections that died. Prints how often the time of plain SQLAlchemy goes
into that of undaunted, by the wall, and writes it to ``docs/_generated/cost-sqlalchemy.md`` when told to (``--write``).

The data is on a disk, where a COMMIT waits for it, and again on a RAM disk, where little but Python is left of a call.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import statistics
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa
from paired import measure, ratio
from sqlalchemy import orm

import undaunted
from undaunted import sqlalchemy as kept
from undaunted.lab import PostgresLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from paired import Times

BARE, PINGED, OURS = "bare", "pinged", "undaunted"
ROWS = 100


def model_on(base: type[Any]) -> Any:
    """The benchmark's model, with a key that the client makes."""

    class Item(base):
        __tablename__ = "item"
        id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str]
        count: orm.Mapped[int]

    return Item


class Plain:
    """What plain SQLAlchemy does, on an engine of its own."""

    def __init__(self, engine: sa.Engine, model: Any, keys: Sequence[uuid.UUID]) -> None:
        self.sessions = orm.sessionmaker(engine)
        self.model = model
        self.keys = keys
        self.turn = 0

    def get(self) -> None:
        """Open a session, read one row by its key, close."""
        self.turn += 1
        with self.sessions() as session:
            assert session.get(self.model, self.keys[self.turn % len(self.keys)]) is not None

    def insert(self) -> None:
        """Add one row and commit."""
        with self.sessions.begin() as session:
            self.add(session)

    def update(self) -> None:
        """Read one row for update, count it up and commit."""
        with self.sessions.begin() as session:
            self.change(session)

    def add(self, session: Any) -> None:
        """The work of `insert`."""
        session.add(self.model(id=uuid.uuid4(), name="new", count=0))

    def change(self, session: Any) -> None:
        """The work of `update`."""
        self.turn += 1
        key = self.keys[self.turn % len(self.keys)]
        session.get(self.model, key, with_for_update=True).count += 1


class Ours(Plain):
    """The same with undaunted."""

    def __init__(self, base: Any, model: Any, keys: Sequence[uuid.UUID], *, key: str = "row") -> None:
        super().__init__(kept.engine(base), model, keys)
        self.base = base
        self._insert = kept.unit_of_work(base, key=key)(self.add)
        self._update = kept.unit_of_work(base, key=key)(self.change)

    def get(self) -> None:
        """The same in a readonly session."""
        self.turn += 1
        with kept.Session(self.base, readonly=True) as session:
            assert session.get(self.model, self.keys[self.turn % len(self.keys)]) is not None

    def insert(self) -> None:
        """The same as a unit of work."""
        self._insert()

    def update(self) -> None:
        """The same as a unit of work."""
        self._update()


def cases(lab: PostgresLab) -> dict[str, dict[str, Callable[[], None]]]:
    """What is measured: for each row of the table the three sides."""
    settings = lab.settings_for("bench")
    settings["clusters"]["bench"]["reads"] = "replica"
    undaunted.configure(settings)

    class PlainBase(orm.DeclarativeBase):
        pass

    class Base(kept.DeclarativeBase):
        __undaunted__ = {"cluster": "bench"}  # noqa: RUF012

    class OnPrimary(kept.DeclarativeBase):
        __undaunted__ = {"cluster": "bench", "reads": "primary"}  # noqa: RUF012

    engines = {BARE: sa.create_engine(lab.url), PINGED: sa.create_engine(lab.url, pool_pre_ping=True)}
    models = {base: model_on(base) for base in (PlainBase, Base, OnPrimary)}
    Base.metadata.create_all(kept.engine(Base))
    keys = [uuid.uuid4() for _ in range(ROWS)]
    with orm.Session(engines[BARE]) as session, session.begin():
        session.add_all(models[PlainBase](id=key, name="fixed", count=0) for key in keys)
    lab.wait_healthy()  # so that the standbys have them
    plain = {side: Plain(engine, models[PlainBase], keys) for side, engine in engines.items()}
    rowed, free = Ours(Base, models[Base], keys), Ours(Base, models[Base], keys, key="free")
    primary = Ours(OnPrimary, models[OnPrimary], keys)
    return {
        "get, on the primary": {side: one.get for side, one in (plain | {OURS: primary}).items()},
        "get, on a standby": {side: one.get for side, one in (plain | {OURS: rowed}).items()},
        "insert, key row": {side: one.insert for side, one in (plain | {OURS: rowed}).items()},
        "insert, free key": {side: one.insert for side, one in (plain | {OURS: free}).items()},
        "update, key row": {side: one.update for side, one in (plain | {OURS: rowed}).items()},
    }


PLACES = {"disk": "data on a disk", "ram": "data on a RAM disk"}
COLUMNS = (
    "calls a side", "plain, µs", "plain with a ping, µs", "undaunted, µs",
    "undaunted : plain with a ping", "undaunted : plain",
)  # fmt: skip


def row(name: str, times: Mapping[str, Times]) -> str:
    """One line of the table."""
    walls = {side: times[side].wall for side in (BARE, PINGED, OURS)}
    cells = (
        name,
        len(walls[BARE]),
        *(f"{statistics.median(wall):.0f}" for wall in walls.values()),
        ratio(walls[PINGED], walls[OURS]).shown(".3f"),
        ratio(walls[BARE], walls[OURS]).shown(".3f"),
    )
    return f"| {' | '.join(map(str, cells))} |"


@contextlib.contextmanager
def lab_on(place: str) -> Iterator[PostgresLab]:
    """A lab whose data is on a disk, or in memory."""
    if place == "ram":
        with PostgresLab() as lab:
            yield lab
        return
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)  # for root the servers are run by another user, who must get through
        with PostgresLab(directory=Path(folder) / "lab") as lab:
            yield lab


def table(place: str, seconds: float, only: Sequence[str]) -> list[str]:
    """Measure every case, and print each line as soon as it is known."""
    rows = [f"| {' | '.join((PLACES[place], *COLUMNS))} |", f"|{'---|' * (len(COLUMNS) + 1)}"]
    print("\n".join(rows), flush=True)
    with lab_on(place) as lab:
        found = cases(lab)
        gc.collect()
        for name in only or found:
            rows.append(row(name, measure(found[name], seconds)))
            print(rows[-1], flush=True)
        undaunted.close()
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=24, help="for each case, all sides together")
    parser.add_argument("--on", nargs="*", choices=[*PLACES], default=[*PLACES], help="where the data is")
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE", help="instead of all of them")
    parser.add_argument("--write", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, SQLAlchemy {sa.__version__}, psycopg {psycopg.__version__}"
    machine = f"{os.cpu_count()} processors with a load of {os.getloadavg()[0]:.1f} before the run"
    head = [
        f"{versions}; {machine}.",
        "Medians; a ratio below 1 means that undaunted is the quicker one. In brackets its 95 % interval.",
        "",
    ]
    print("\n".join(head), flush=True)
    rows = [line for place in options.on for line in (*table(place, options.seconds, options.only), "")]
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join([*head, *rows]), encoding="utf-8")


if __name__ == "__main__":
    main()
