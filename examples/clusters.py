"""The clusters of an example: started all at once, told to its settings, ended with it."""

from __future__ import annotations

import os
import secrets
import threading
from typing import TYPE_CHECKING

from undaunted.lab import CassandraLab, LabError, MongoLab, PostgresLab

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from undaunted.lab.lab import Lab

__all__ = ["LABS", "environment", "open_labs"]

LABS: dict[str, tuple[str, Callable[[str], Lab]]] = {
    "cassandra": ("catalogue", lambda name: CassandraLab(name=name)),
    "mongodb": ("orders", lambda name: MongoLab(name=name)),
    # On a busy machine a primary may be silent for two seconds and be well: one more would then take writes.
    "postgresql": ("ledger", lambda name: PostgresLab(name=name, auto_failover="4s")),
}
"""The cluster that each backend keeps for the shop, and its lab."""


def open_labs(
    backends: Sequence[str], name: str, stack: contextlib.ExitStack, *, say: Callable[[str], object]
) -> dict[str, Lab]:
    """Start the clusters, all at once, and close them with the stack; says what each waits for."""
    labs = {cluster: make(f"{name}-{cluster}") for cluster, make in (LABS[backend] for backend in backends)}
    failures: list[LabError] = []

    def start(lab: Lab) -> None:
        try:
            lab.open(progress=lambda step: say(f"  {lab.backend}: {step} ..."))
        except LabError as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(lab,), daemon=True) for lab in labs.values()]
    for lab, thread in zip(labs.values(), threads, strict=True):
        stack.callback(lab.close)
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return labs


def environment(labs: dict[str, Lab], home: Path) -> dict[str, str]:
    """What the shop's settings read."""
    told = {**os.environ, "SHOP_SECRET": secrets.token_urlsafe(50), "SHOP_STAFF": str(home / "staff.sqlite3")}
    for cluster in ("catalogue", "orders", "ledger"):
        told.pop(f"{cluster.upper()}_NODES", None)
    for cluster, lab in labs.items():
        declared = lab.settings_for(cluster)["clusters"][cluster]
        told[f"{cluster.upper()}_NODES"] = ",".join(declared["nodes"])
        if "url" in declared:
            told[f"{cluster.upper()}_URL"] = declared["url"]
    return told
