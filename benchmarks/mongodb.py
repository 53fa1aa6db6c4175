"""What undaunted adds to a MongoEngine operation that succeeds, paired with plain MongoEngine in one run.

Runs on a real replica set of the lab: ``python benchmarks/mongodb.py``. The sides take turns call by call, in an order
that rotates, so that a slow moment of the machine, a checkpoint of the server and a cold cache strike all of them
alike; a tight loop over one side (``--in-a-row 50``) keeps its code in the processor's caches, as few applications do
between two waits for a server. Each call is timed twice: by the wall, and by the processor time of its thread, which
the server's own ups and downs do not touch. Writes what it prints to ``docs/_generated/cost-mongodb.md`` when told to
(``--write``).
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import random
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mongoengine
import pymongo

import undaunted
from undaunted.lab import MongoLab
from undaunted.mongodb import Document, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PLAIN, BOUNDED, OURS = SIDES = ("plain", "bound", "added")
"""Plain MongoEngine; the same with a socket timeout, which no bounded call can do without; and undaunted. Names of one
length, since they name collections too."""

_WARM_UP = 60
_BLOCKS = 30
_RESAMPLES = 2000


def models(base: type, alias: dict[str, Any]) -> type:
    """The benchmark's model on a base."""
    body = {name: fields.IntField(default=0) for name in ("a", "b", "c", "d")}
    return type("Item", (base,), {**body, "name": fields.StringField(default="x"), **alias})


def operations(model: Any) -> dict[str, Callable[[], Any]]:
    """The operations, each ready to be called again and again."""
    document = model(name="fixed").save()
    model.objects.insert([model(name="many") for _ in range(20)])
    numbers = iter(range(1, 10**9))

    def change() -> None:
        document.a = next(numbers)
        document.save()

    return {
        "get": lambda: model.objects.get(id=document.id),
        "first": lambda: model.objects(id=document.id).first(),
        "count": lambda: model.objects(id=document.id).count(),
        "save new": lambda: model(name="new").save(),
        "save changed": change,
        "update_one": lambda: model.objects(id=document.id).update_one(inc__b=1),
        "update by id": lambda: model.objects(id=document.id).update(inc__c=1),
        "update of 20 documents": lambda: model.objects(name="many").update(inc__c=1),
    }


class Times:
    """The calls of one side, in the order in which they were made; microseconds."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []


@dataclass(frozen=True)
class Difference:
    """What one side takes more than another, and where that would lie in 95 of 100 such runs."""

    added: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.added:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def measure(sides: Mapping[str, Callable[[], Any]], seconds: float, in_a_row: int) -> dict[str, Times]:
    """Call the sides in turn, each so often in a row, for as long as given."""
    found = {name: Times() for name in sides}
    names = list(sides)
    ends = time.perf_counter() + seconds
    number = -_WARM_UP
    while time.perf_counter() < ends or number < _BLOCKS:
        order = names if number % 2 else names[::-1]
        shift = number % len(order)
        for name in order[shift:] + order[:shift]:
            for _ in range(in_a_row):
                wall_us, cpu_us = timed(sides[name])
                if number >= 0:
                    found[name].wall.append(wall_us)
                    found[name].cpu.append(cpu_us)
        number += 1
    return found


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """One call in microseconds, by the wall and by the processor."""
    cpu = time.thread_time_ns()
    began = time.perf_counter_ns()
    function()
    ended = time.perf_counter_ns()
    return (ended - began) / 1e3, (time.thread_time_ns() - cpu) / 1e3


def difference(base: Sequence[float], other: Sequence[float]) -> Difference:
    """The difference of the medians within blocks of neighbouring calls, with the interval of a bootstrap over blocks.

    Blocks, since neighbours share the state of the machine: single calls are no independent samples.
    """
    size = len(base) // _BLOCKS
    spans = [slice(n * size, (n + 1) * size) for n in range(_BLOCKS)]
    blocks = [statistics.median(other[span]) - statistics.median(base[span]) for span in spans]
    chance = random.Random(1)  # the same data give the same interval
    medians = sorted(statistics.median(chance.choices(blocks, k=_BLOCKS)) for _ in range(_RESAMPLES))
    tail = _RESAMPLES // 40
    return Difference(statistics.median(blocks), medians[tail], medians[-1 - tail])


def row(name: str, times: Mapping[str, Times]) -> str:
    """One line of the table."""
    plain, bounded, ours = (times[side] for side in SIDES)
    median = statistics.median
    ratio = median(ours.wall) / median(plain.wall)
    cells = (
        name,
        len(plain.wall),
        f"{median(plain.wall):.0f}",
        f"{median(plain.cpu):.0f}",
        difference(plain.cpu, ours.cpu),
        difference(plain.cpu, bounded.cpu),
        difference(plain.wall, ours.wall),
        f"{ratio:.3f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


COLUMNS = (
    "operation", "calls a side", "plain, wall", "plain, processor", "undaunted adds, processor",
    "a socket timeout alone adds, processor", "undaunted adds, wall", "ratio, wall",
)  # fmt: skip


def table(seconds: float, only: Sequence[str], in_a_row: int) -> list[str]:
    """Measure every operation on every side, and print each line as soon as it is known."""
    with MongoLab() as lab:
        settings = lab.settings_for("bench")
        settings["clusters"]["bench"]["database"] = "bench"
        undaunted.configure(settings)
        limits: dict[str, dict[str, Any]] = {PLAIN: {}, BOUNDED: {"socketTimeoutMS": 15_000}}
        for alias, limit in limits.items():
            mongoengine.register_connection(
                alias, name="bench", host=lab.uri, w="majority", uuidRepresentation="standard", **limit
            )
        bases = {
            side: models(mongoengine.Document, {"meta": {"db_alias": side, "collection": side}}) for side in limits
        }
        bases[OURS] = models(Document, {"__undaunted__": {"cluster": "bench"}, "meta": {"collection": OURS}})
        sides = {side: operations(bases[side]) for side in SIDES}
        gc.collect()
        gc.freeze()
        rows: list[str] = []
        for name in only or sides[PLAIN]:
            rows.append(row(name, measure({side: sides[side][name] for side in SIDES}, seconds, in_a_row)))
            print(rows[-1], flush=True)
        for alias in limits:
            mongoengine.disconnect(alias)
        undaunted.close()
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=18, help="for each operation, all sides together")
    parser.add_argument("--only", nargs="*", default=[], metavar="OPERATION", help="instead of all of them")
    parser.add_argument("--in-a-row", type=int, default=1, help="calls that a side makes before it is another's turn")
    parser.add_argument("--write", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, pymongo {pymongo.version}, mongoengine {mongoengine.__version__}"
    machine = f"{os.cpu_count()} processors with a load of {os.getloadavg()[0]:.1f} before the run"
    head = [
        f"{versions}; {machine}.",
        f"{options.in_a_row} calls in a row. Medians in microseconds; in brackets the 95 % interval of a difference.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    print("\n".join(head), flush=True)
    rows = table(options.seconds, options.only, options.in_a_row)
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
