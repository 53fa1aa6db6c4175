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
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mongoengine
import pymongo
from paired import difference, measure

import undaunted
from undaunted.lab import MongoLab
from undaunted.mongodb import Document, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paired import Times

PLAIN, BOUNDED, OURS = SIDES = ("plain", "bound", "added")
"""Plain MongoEngine; the same with a socket timeout, which no bounded call can do without; and undaunted. Names of one
length, since they name collections too."""


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
        difference(plain.cpu, ours.cpu).shown("+.1f"),
        difference(plain.cpu, bounded.cpu).shown("+.1f"),
        difference(plain.wall, ours.wall).shown("+.1f"),
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
