"""A class archive for Cassandra: its classes as Java would load them, made once, so that every start is quicker.

Java checks an archive against the class path and its own build, and goes on without one that does not fit.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

from undaunted.lab import jvm
from undaunted.lab.cache import cache, exclusive
from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from undaunted.lab.java import Java

__all__ = ["REHEARSAL", "find_archive", "make_archive", "use"]

REHEARSAL = (
    "CREATE KEYSPACE r WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '1'}",
    "CREATE TABLE r.rows (id int PRIMARY KEY, value int, texts list<text>)",
    "CREATE TABLE r.counts (id int PRIMARY KEY, value counter)",
    "INSERT INTO r.rows (id, value) VALUES (1, 1) IF NOT EXISTS",
    "UPDATE r.rows SET texts = texts + ['a'] WHERE id = 1",
    "UPDATE r.counts SET value = value + 1 WHERE id = 1",
    "BEGIN BATCH INSERT INTO r.rows (id) VALUES (2); INSERT INTO r.rows (id) VALUES (3); APPLY BATCH",
    "SELECT * FROM r.rows",
)
"""What a node does while its classes are being listed: each kind of statement loads classes of its own."""


def use(path: Path | None) -> list[str]:
    """The options of a JVM that starts with this archive, or without one."""
    return [] if path is None else [f"-XX:SharedArchiveFile={path}", "-Xshare:auto"]


def find_archive(java: Java, *, class_path: Sequence[Path]) -> Path | None:
    """The archive for this Java and these jars, if there is one."""
    path = _path(java, class_path)
    return path if path.exists() else None


def make_archive(
    java: Java,
    *,
    class_path: Sequence[Path],
    room: Path,
    run: Callable[[Sequence[str]], None],
    dump: Callable[[Sequence[str]], None],
    progress: Callable[[str], object],
) -> None:
    """Make the archive for this Java and these jars where there is none (half a minute); if that fails, say so.

    Args:
        java: What runs the nodes.
        class_path: The jars, in their order.
        room: A directory for what is needed in between.
        run: Runs a node from its start to its clean stop, with more options for its JVM.
        dump: Runs a command to its end.
        progress: Told of a step that takes time.
    """
    path = _path(java, class_path)
    if path.exists():
        return
    try:
        with exclusive(path.with_suffix(".lock")):
            if not path.exists():
                progress("making a class archive, once")
                made = room / path.name
                _make(java, class_path=class_path, made=made, run=run, dump=dump)
                _publish(made, path)
                made.unlink()
    except (LabError, OSError) as error:
        progress(f"no class archive could be made, so every start takes longer: {str(error).splitlines()[0][:200]}")


def _make(
    java: Java,
    *,
    class_path: Sequence[Path],
    made: Path,
    run: Callable[[Sequence[str]], None],
    dump: Callable[[Sequence[str]], None],
) -> None:
    listed = made.with_suffix(".classes")
    run([f"-XX:DumpLoadedClassList={listed}"])
    where = [f"-XX:SharedClassListFile={listed}", f"-XX:SharedArchiveFile={made}"]
    classes = ["-cp", jvm.class_path(class_path)]
    dump([str(java.program), *jvm.SMALL, "-Xshare:dump", *where, *jvm.opens(), *classes])


def _publish(made: Path, path: Path) -> None:
    """Copy it to a name of its own first: the cache may be on another disk, and a reader must see it whole."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        shutil.copyfile(made, fresh)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _path(java: Java, class_path: Sequence[Path]) -> Path:
    told = [str(java.program), java.told, *(f"{jar} {jar.stat().st_size}" for jar in class_path)]
    return cache() / f"cassandra-{hashlib.sha256(chr(10).join(told).encode()).hexdigest()[:16]}.jsa"
