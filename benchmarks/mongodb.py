"""What undaunted adds to a MongoEngine operation that succeeds, paired with plain MongoEngine in one run.

Runs on a real replica set of the lab: ``python benchmarks/mongodb.py``. Each round times the same operation on both
sides, in turn, so that a slow moment of the machine strikes both; the figure that counts is the difference within a
round. Writes what it prints to ``docs/_generated/cost-mongodb.md`` when told to (``--write``).
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mongoengine

import undaunted
from undaunted.lab import MongoLab
from undaunted.mongodb import Document, fields

if TYPE_CHECKING:
    from collections.abc import Callable


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
        "save new": lambda: model(name="new").save(),
        "save changed": change,
        "update_one": lambda: model.objects(id=document.id).update_one(inc__b=1),
        "update by id": lambda: model.objects(id=document.id).update(inc__c=1),
        "update of 20 documents": lambda: model.objects(name="many").update(inc__c=1),
        "count": lambda: model.objects(id=document.id).count(),
    }


def timed(function: Callable[[], Any], calls: int) -> float:
    """Microseconds a call."""
    began = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - began) / calls * 1e6


def compare(rounds: int, calls: int) -> list[tuple[str, float, float, float, float]]:
    """For each operation: plain and undaunted medians, and median and spread of what is added, in microseconds."""
    plain = operations(models(mongoengine.Document, {"meta": {"db_alias": "plain", "collection": "plain"}}))
    ours = operations(models(Document, {"__undaunted__": {"cluster": "bench"}}))
    found = []
    for name in plain:
        pairs = []
        for number in range(rounds + 2):
            order = (plain, ours) if number % 2 else (ours, plain)
            taken = {id(side): timed(side[name], calls) for side in order}
            if number >= 2:
                pairs.append((taken[id(plain)], taken[id(ours)]))
        added = sorted(mine - theirs for theirs, mine in pairs)
        quarter = len(added) // 4
        found.append(
            (
                name,
                statistics.median(theirs for theirs, _ in pairs),
                statistics.median(mine for _, mine in pairs),
                statistics.median(added),
                added[-1 - quarter] - added[quarter],
            )
        )
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--write", type=Path, help="write the table to this file too")
    options = parser.parse_args()
    with MongoLab() as lab:
        mongoengine.register_connection(
            "plain", name="bench", host=lab.uri, w="majority", uuidRepresentation="standard"
        )
        settings = lab.settings_for("bench")
        settings["clusters"]["bench"]["database"] = "bench"
        undaunted.configure(settings)
        gc.collect()
        rows = compare(options.rounds, options.calls)
        mongoengine.disconnect("plain")
        undaunted.close()
    lines = [
        f"Python {platform.python_version()}, {options.rounds} paired rounds of {options.calls} calls; microseconds.",
        "",
        "| operation | plain | undaunted | added (median) | spread of that (quartiles) | ratio |",
        "|---|---|---|---|---|---|",
        *(f"| {n} | {p:.0f} | {o:.0f} | {a:+.1f} | {s:.1f} | {o / p:.3f} |" for n, p, o, a, s in rows),
    ]
    print("\n".join(lines))
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
