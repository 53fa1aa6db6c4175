"""Readonly sessions while nodes die and freeze: no error, and hardly a pause, with any node."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import exc, orm
from tests.integration.speed import within
from tests.integration.sqlalchemy.tables import ROWS
from tests.integration.sqlalchemy.watch import until
from tests.integration.sqlalchemy.witness import Witness, longest_pause

import undaunted
from undaunted.sqlalchemy import AsyncSession, Session
from undaunted.sqlalchemy.cluster import cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sqlalchemy.sides import Plain
    from tests.integration.sqlalchemy.tables import Tables
    from tests.integration.sqlalchemy.witness import Pause
    from typing_extensions import Self

    from undaunted.lab import PostgresLab
    from undaunted.lab.node import LabNode

pytestmark = [pytest.mark.integration, pytest.mark.alone]

THREADS = 12
HEARTBEAT_S = 1.0
"""How long a node may be silent until it is lost, in the default settings."""
KILL_S = 0.1
"""The longest time without reads behind a kill; behind a freeze the heartbeat is added."""
NEW_CONNECTIONS_S = 0.2
"""For all threads at once to connect to replicas where none has read before."""
STARTING_S = 0.5
"""While servers are started and rewound, which takes the processors that readers run on."""
THINK_S = 0.005


class Readers:
    """Threads that read rows that never change, each in a session of its own each time."""

    def __init__(self, session: Callable[[], orm.Session], row: Any) -> None:
        self._session, self._row = session, row
        self._stop = threading.Event()
        self.ended_s: list[float] = []
        self.longest_s = 0.0
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(THREADS)]

    def _work(self, number: int) -> None:
        k = number
        while not self._stop.wait(THINK_S):
            k = (k + THREADS) % ROWS
            began_s = time.monotonic()
            try:
                with self._session() as session:
                    assert session.get_one(self._row, k).text == f"row {k}"
            except Exception as error:
                self.errors.append(error)
            else:
                now_s = time.monotonic()
                self.ended_s.append(now_s)
                self.longest_s = max(self.longest_s, now_s - began_s)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        until(lambda: len(self.ended_s) > 20 * THREADS, what="a load that runs")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in self._threads)

    def go_on(self, seconds: float) -> None:
        """Let them read for so long."""
        ends_s = time.monotonic() + seconds
        until(lambda: time.monotonic() >= ends_s)

    def check(self) -> None:
        """Raise the first error that a reader met."""
        for error in self.errors:
            raise error

    def pause(self, since_s: float) -> Pause:
        """The longest time without any read that came back."""
        return longest_pause(tuple(self.ended_s), since_s)


def ours_s(pause: Pause, witness: Witness, what: str) -> float:
    """How long a pause was beyond that of a plain reader on a node that is well, which is the machine's."""
    length_s, machine_s = pause[1] - pause[0], witness.paused_s(pause)
    print(f"{what}: without reads {length_s:.3f} s, the witness {machine_s:.3f} s")
    return length_s - machine_s


def untouched(lab: PostgresLab, node: LabNode) -> Witness:
    """A witness on a replica that is not this node."""
    return Witness(
        lab.url_of(next(n for n in lab.nodes if n != node and lab.role(n) == "replica")).replace("+psycopg", "")
    )


@pytest.mark.parametrize("which", ["primary", "replica"])
@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_no_reader_meets_an_error(lab: PostgresLab, ledger: Tables, which: str, fault: str) -> None:
    """Nobody is promoted meanwhile: reads do not need a primary."""
    cluster = cluster_of("ledger")
    node = next(node for node in lab.nodes if lab.role(node) == which)
    with (
        untouched(lab, node) as witness,
        Readers(lambda: Session(ledger.Base, readonly=True), ledger.Row) as readers,
    ):
        until(lambda: all(sight.is_up for sight in cluster.sights()), what="a sight of every node")
        readers.go_on(0.5)
        readers.longest_s = 0.0
        since_s = time.monotonic()
        lab.kill(node) if fault == "kill" else lab.freeze(node)
        readers.go_on(3.0)
    readers.check()
    longest_s, what = readers.longest_s, f"{fault} {which}, longest read {readers.longest_s:.3f} s"
    within(ours_s(readers.pause(since_s), witness, what), KILL_S + (HEARTBEAT_S if fault == "freeze" else 0))
    within(longest_s, HEARTBEAT_S + 0.2)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_with_reads_on_the_primary_a_replica_steps_in(
    lab: PostgresLab, configure: Callable[..., Tables], fault: str
) -> None:
    tables = configure(reads="fallback")
    cluster = cluster_of("ledger")
    with (
        untouched(lab, lab.primary()) as witness,
        Readers(lambda: Session(tables.Base, readonly=True), tables.Row) as readers,
    ):
        until(lambda: all(sight.is_up for sight in cluster.sights()), what="a sight of every node")
        readers.go_on(0.5)
        since_s = time.monotonic()
        lab.kill("primary") if fault == "kill" else lab.freeze("primary")
        readers.go_on(3.0)
    readers.check()
    gap_s = ours_s(readers.pause(since_s), witness, f"{fault} primary, reads = fallback")
    within(gap_s, KILL_S + NEW_CONNECTIONS_S + (HEARTBEAT_S if fault == "freeze" else 0))


def test_plain_readers_on_the_killed_primary_get_nothing_but_errors(lab: PostgresLab, plain: Plain) -> None:
    """Although both standbys are well: what is to be better than this."""
    row = plain._do.tables.Row
    with Readers(lambda: orm.Session(plain.engine), row) as readers:
        lab.kill("primary")
        since_s = time.monotonic()
        readers.go_on(1.0)
    assert not [at_s for at_s in readers.ended_s if at_s > since_s + 0.1]
    assert len(readers.errors) >= THREADS
    assert isinstance(readers.errors[-1], exc.OperationalError)


def test_reads_go_on_through_a_promotion_and_behind_it(lab: PostgresLab, ledger: Tables) -> None:
    """A promoted replica takes writes, and the others follow it: the readers are told of none of it."""
    cluster = cluster_of("ledger")
    with (
        untouched(lab, lab.primary()) as witness,
        Readers(lambda: Session(ledger.Base, readonly=True), ledger.Row) as readers,
    ):
        until(lambda: all(sight.is_up for sight in cluster.sights()), what="a sight of every node")
        since_s = time.monotonic()
        killed = lab.kill("primary")
        readers.go_on(0.5)
        behind_kill = readers.pause(since_s)
        lab.promote()
        readers.go_on(1.0)
        lab.rewind(killed)
        lab.wait_healthy()
        readers.go_on(0.5)
        before = len(readers.ended_s)
        readers.go_on(0.5)
        assert len(readers.ended_s) > before
        replicas = {node.address for node in lab.nodes if lab.role(node) == "replica"}
        until(lambda: set(cluster.readers(after=None)) == replicas, what="reads on the replicas that there are now")
    readers.check()
    within(ours_s(behind_kill, witness, "kill before a promotion"), KILL_S)
    whole = readers.pause(since_s)
    print(f"through a promotion: without reads {whole[1] - whole[0]:.3f} s")
    within(whole[1] - whole[0], STARTING_S)


def test_options_are_heard(lab: PostgresLab, ledger: Tables) -> None:
    """A frozen node holds nobody beyond the deadline of the block, however long the heartbeat is."""
    cluster = cluster_of("ledger")
    with Session(ledger.Base, readonly=True) as session:
        session.get(ledger.Row, 1)
    until(lambda: all(sight.is_up for sight in cluster.sights()), what="a sight of every node")
    for node in lab.nodes:
        lab.freeze(node)
    before_s = time.monotonic()
    with (
        undaunted.options(deadline="300ms"),
        Session(ledger.Base, readonly=True) as session,
        pytest.raises(exc.OperationalError),
    ):
        session.get(ledger.Row, 2)
    within(time.monotonic() - before_s, 0.4)


async def test_tasks_read_on_while_a_replica_freezes(lab: PostgresLab, ledger: Tables) -> None:
    """The event loop goes on, too."""
    cluster = cluster_of("ledger")
    async with AsyncSession(ledger.Base, readonly=True) as session:
        await session.get(ledger.Row, 1)
    until(lambda: all(sight.is_up for sight in cluster.sights()), what="a sight of every node")
    stop, ended_s, longest_s, ticks_s = asyncio.Event(), [time.monotonic()], [0.0], [time.monotonic()]

    async def read(number: int) -> None:
        while not stop.is_set():
            began_s = time.monotonic()
            async with AsyncSession(ledger.Base, readonly=True) as session:
                assert (await session.get_one(ledger.Row, number)).text == f"row {number}"
            ended_s.append(time.monotonic())
            longest_s[0] = max(longest_s[0], ended_s[-1] - began_s)
            await asyncio.sleep(THINK_S)

    async def tick() -> None:
        while not stop.is_set():
            ticks_s.append(time.monotonic())
            await asyncio.sleep(0.01)

    node = next(node for node in lab.nodes if lab.role(node) == "replica")

    async def fault() -> None:
        await asyncio.sleep(0.5)
        longest_s[0] = 0.0
        await asyncio.to_thread(lab.freeze, node)
        await asyncio.sleep(2.5)
        stop.set()

    with untouched(lab, node) as witness:
        await asyncio.gather(*(read(number) for number in range(40)), tick(), fault())
    tick_s = max(after - before for before, after in itertools.pairwise(ticks_s))
    what = f"asyncio, freeze replica, longest {longest_s[0]:.3f} s, loop held {tick_s:.3f} s"
    within(ours_s(longest_pause(ended_s, ended_s[0]), witness, what), HEARTBEAT_S + KILL_S)
    within(longest_s[0], HEARTBEAT_S + 0.6)  # some wait for a place in a pool first
    within(tick_s, 0.5)
