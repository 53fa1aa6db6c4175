"""What both sides of the demo have in common: customers who are served until told to stop, and a ledger of it all.

Every operation is written to standard output before it is begun and when it came back (`undaunted.lab.ledger`). The
process is told ``go`` and ``stop`` on standard input, and ends at once when that is closed, so it cannot outlive the
one who started it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from undaunted.lab.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from undaunted.lab.ledger import Note

OPERATIONS_A_SECOND = 25.0  # of each customer; a shop, not a benchmark
ENDING_S = 60.0


class OperationRaised(Exception):  # a signal between two frames; the ledger has the error
    """The shop raised, and the ledger knows."""


class Customers:
    """The shop's customers: one thread each, every one does one thing over and over."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.closing = threading.Event()

    def prepare(self) -> None:
        """Fill the shop, before the first customer comes."""
        raise NotImplementedError

    def jobs(self) -> list[tuple[str, Callable[[str], None]]]:
        """Who does what: a name, and what is called with ``name-turn`` over and over."""
        raise NotImplementedError

    def threads(self) -> list[threading.Thread]:
        """Everybody, not yet begun."""
        return [threading.Thread(target=self._serve, args=job, name=job[0], daemon=True) for job in self.jobs()]

    def _serve(self, name: str, once: Callable[[str], None]) -> None:
        """Do one thing over and over, at a customer's pace, until the shop closes.

        What an operation raises is passed over here: it is in the ledger. Whatever else goes wrong is a mistake in this
        file and ends the process.
        """
        turn = 0
        due_s = time.monotonic() + random.random() / OPERATIONS_A_SECOND
        while not self.closing.wait(max(0.0, due_s - time.monotonic())):
            turn += 1
            with contextlib.suppress(OperationRaised):
                once(f"{name}-{turn}")
            due_s = max(due_s + 1 / OPERATIONS_A_SECOND, time.monotonic())

    @contextlib.contextmanager
    def operation(self, kind: str, name: str) -> Generator[Note]:
        """Record an operation; the whole story of one that raised goes to standard error."""
        try:
            with self.ledger.record(kind, name) as note:
                yield note
        except Exception as error:
            sys.stderr.write(f"--- {kind} {name}\n{traceback.format_exc()}\n")
            sys.stderr.flush()
            raise OperationRaised(name) from error


def tell(line: str) -> None:
    """Send a line to the one who started this process."""
    sys.stdout.write(line)
    sys.stdout.flush()


def listen(opening: threading.Event, closing: threading.Event) -> None:
    """Do as told on standard input, and end when nobody is there any more to tell."""
    words = {b"go": opening, b"stop": closing}
    while heard := os.read(0, 64):  # not sys.stdin, whose lock a thread must not hold when the interpreter ends
        for word in heard.split():
            words[word].set()
    os._exit(3)


def turn_of(name: str) -> int:
    """The number of a turn, out of its name."""
    return int(name.rpartition("-")[2])


def end_all(failure: threading.ExceptHookArgs) -> None:
    """A thread that fails outside of an operation is a mistake in this file: no half demo is run."""
    threading.__excepthook__(failure)
    sys.stderr.flush()
    os._exit(4)


def serve(make: Callable[[Ledger], Customers]) -> int:
    """Open the shop, serve until told to stop, close."""
    threading.excepthook = end_all
    customers = make(Ledger(sink=tell))
    opening = threading.Event()
    threading.Thread(target=listen, args=(opening, customers.closing), daemon=True, name="listen").start()
    customers.prepare()
    tell('{"is":"ready"}\n')
    opening.wait()
    threads = customers.threads()
    for thread in threads:
        thread.start()
    customers.closing.wait()
    last_s = time.monotonic() + ENDING_S
    for thread in threads:
        thread.join(max(0.0, last_s - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        os._exit(5)  # what has not come back is open in the ledger
    tell('{"is":"done"}\n')
    return 0
