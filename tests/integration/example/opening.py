"""Opens an example shop with the program that `make example` runs, and sees to it that nothing of it stays."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.labs import until

from undaunted.lab import CassandraLab, MongoLab, PostgresLab

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Opened", "marked", "opened"]

RUN = Path(__file__).parents[3] / "examples" / "run.py"
MARK = "UNDAUNTED_EXAMPLE_TEST"
OPENING_S = 200.0
CLOSING_S = 60.0
LABS: dict[str, Any] = {"catalogue": CassandraLab, "orders": MongoLab, "ledger": PostgresLab}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A shop that is open.

    Attributes:
        url: Where it is.
        port: Its port on 127.0.0.1.
        password: Of the user ``keeper``, where the shop has an office.
        labs: Its clusters, by their names in its settings.
        process: The program.
        mark: What every process that belongs to it carries in its environment.
    """

    url: str
    port: int
    password: str
    labs: dict[str, Any]
    process: subprocess.Popen[bytes]
    mark: str


@contextlib.contextmanager
def opened(tmp_path: Path, *options: str) -> Generator[Opened]:
    """Open a shop, close it, and look whether anything of it is left."""
    name = f"example-{os.getpid()}-{secrets.token_hex(3)}"
    output = tmp_path / "output"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(RUN), "--port", "0", "--name", name, *options],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            env={**os.environ, MARK: name},
            start_new_session=True,
        )
    mark = f"{MARK}={name}"
    try:
        until(
            lambda: process.poll() is not None or "It runs until" in output.read_text(),
            timeout_s=OPENING_S,
            what="the shop's opening",
        )
        told = output.read_text()
        assert process.poll() is None, told
        url, password = re.search(r"http://\S+", told), re.search(r"password (\S+)\)", told)
        assert url is not None, told
        clusters = [cluster for cluster in LABS if f"{name}-{cluster}\n" in told]
        yield Opened(
            url=url[0],
            port=int(url[0].rstrip("/").rpartition(":")[2]),
            password="" if password is None else password[1],
            labs={cluster: LABS[cluster].attach(f"{name}-{cluster}") for cluster in clusters},
            process=process,
            mark=mark,
        )
        if process.poll() is None:
            process.terminate()
            assert process.wait(CLOSING_S) == 143, output.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        until(lambda: not marked(mark), timeout_s=CLOSING_S, what="the end of all that belongs to the shop")


def marked(mark: str) -> list[int]:
    """Every living process that carries the mark."""
    found: list[int] = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found
