"""No growth of memory over many calls, good ones and failed ones: ``python benchmarks/memory.py``.

Runs on a real replica set of the lab. Exits with 1 when the process has grown by more than the allowance, which is what
the allocator needs to settle. Takes about two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
from pathlib import Path

import undaunted
from undaunted.lab import MongoLab
from undaunted.mongodb import Document, fields

ALLOWANCE_KB = 3000


class Item(Document):
    """What is read and changed."""

    __undaunted__ = {"cluster": "bench"}  # noqa: RUF012
    number = fields.IntField(default=0)


def resident_kb() -> int:
    """Memory that the process holds, in kilobytes."""
    gc.collect()
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def grown_kb(name: str, calls: int, warm_up: int, function: object) -> int:
    """Growth over `calls` calls, after a warm-up."""
    for _ in range(warm_up):
        function()  # type: ignore[operator]
    before = resident_kb()
    for _ in range(calls):
        function()  # type: ignore[operator]
    grown = resident_kb() - before
    print(f"{name}: {calls} calls, {before} kB before, {grown:+d} kB")
    return grown


def main() -> int:
    """Run and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--failed", type=int, default=10_000)
    options = parser.parse_args()
    with MongoLab() as lab:
        settings = lab.settings_for("bench")
        settings["clusters"]["bench"]["retry"] = {"fail_fast_after": "1s", "deadline": "2s"}
        undaunted.configure(settings)
        item = Item().save()

        def good() -> None:
            Item.objects(id=item.id).as_pymongo().first()

        def failed() -> None:
            with contextlib.suppress(undaunted.UndauntedError):
                Item.objects(id=item.id).as_pymongo().first()

        grown = [grown_kb("good", options.calls, 2_000, good)]
        with lab.fail_command(["find"], close_connection=True, on="all"), undaunted.deadline("20ms"):
            grown.append(grown_kb("failed, each tried until its deadline", options.failed // 20, 50, failed))
        for node in lab.nodes:
            lab.kill(node)
        for _ in range(3):
            failed()
        grown.append(grown_kb("failed at once, with no node there", options.failed, 500, failed))
        undaunted.close()
    return int(any(kilobytes > ALLOWANCE_KB for kilobytes in grown))


if __name__ == "__main__":
    sys.exit(main())
