"""What undaunted adds to a MongoEngine operation that succeeds, paired with plain MongoEngine in one run.

Runs on a real replica set of the lab: ``python benchmarks/mongodb.py``. Each side has a process of its own (see
``apart.py``); they take turns, a few calls each, in an order that rotates, so that a slow moment of the machine and a
checkpoint of the server strike all of them alike. Each call is timed twice: by the wall, and by the processor time of
its thread, which the server's own ups and downs do not touch. Writes what it prints to a file when told to
(``--write``).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mongoengine
import pymongo
from apart import Sides
from paired import difference, tenth

import undaunted
from undaunted.lab import MongoLab
from undaunted.mongodb import Document, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paired import Times

PLAIN, BOUNDED, OURS = SIDES = ("plain", "bound", "added")
"""Plain MongoEngine; the same with a socket timeout, which no bounded call can do without; and undaunted. Names of one
length, since they name collections too."""

LIMITS: dict[str, dict[str, Any]] = {PLAIN: {}, BOUNDED: {"socketTimeoutMS": 15_000}}


def models(base: type, alias: dict[str, Any]) -> type:
    """The benchmark's model on a base."""
    body = {name: fields.IntField(default=0) for name in ("a", "b", "c", "d")}
    return type("Item", (base,), {**body, "name": fields.StringField(default="x"), **alias})


def prepare(side: str, uri: str, settings: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """The operations of one side, in its own process."""
    if side == OURS:
        undaunted.configure(settings)
        return operations(models(Document, {"__undaunted__": {"cluster": "bench"}, "meta": {"collection": side}}))
    mongoengine.register_connection(
        side, name="bench", host=uri, w="majority", uuidRepresentation="standard", **LIMITS[side]
    )
    return operations(models(mongoengine.Document, {"meta": {"db_alias": side, "collection": side}}))


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


OPERATIONS = (
    "get", "first", "count", "save new", "save changed", "update_one", "update by id", "update of 20 documents",
)  # fmt: skip


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
        f"{tenth(plain.cpu):.0f}",
        difference(plain.cpu, ours.cpu, of=tenth).shown("+.1f"),
        difference(plain.cpu, bounded.cpu, of=tenth).shown("+.1f"),
        difference(plain.cpu, ours.cpu).shown("+.1f"),
        difference(plain.wall, ours.wall).shown("+.1f"),
        f"{ratio:.3f}",
    )
    return f"| {' | '.join(map(str, cells))} |"


COLUMNS = (
    "operation", "calls a side", "plain, wall", "plain, processor", "plain, undisturbed",
    "undaunted adds, undisturbed", "a socket timeout alone adds, undisturbed", "undaunted adds, processor",
    "undaunted adds, wall", "ratio, wall",
)  # fmt: skip


def table(seconds: float, only: Sequence[str], calls: int, *, work: bool) -> list[str]:
    """Measure every operation on every side, and print each line as soon as it is known."""
    with MongoLab() as lab:
        settings = lab.settings_for("bench")
        settings["clusters"]["bench"]["database"] = "bench"
        rows: list[str] = []
        with Sides(prepare, {side: (side, lab.uri, settings) for side in SIDES}, work=work) as sides:
            for name in only or OPERATIONS:
                rows.append(row(name, sides.measure(name, seconds, calls)))
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=18, help="for each operation, all sides together")
    parser.add_argument("--only", nargs="*", default=[], metavar="OPERATION", help="instead of all of them")
    parser.add_argument("--in-a-row", type=int, default=20, help="calls that a side makes before it is another's turn")
    parser.add_argument("--bare", action="store_true", help="do nothing else between two calls")
    parser.add_argument("--write", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, pymongo {pymongo.version}, mongoengine {mongoengine.__version__}"
    machine = f"{os.cpu_count()} processors with a load of {os.getloadavg()[0]:.1f} before the run"
    head = [
        f"{versions}; {machine}.",
        f"{options.in_a_row} calls in a row, {'nothing' if options.bare else 'other work'} between two of them.",
        "Medians in microseconds; undisturbed: the tenth percentile. In brackets the 95 % interval of a difference.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    print("\n".join(head), flush=True)
    rows = table(options.seconds, options.only, options.in_a_row, work=not options.bare)
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
