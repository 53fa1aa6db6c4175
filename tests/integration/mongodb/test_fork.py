"""Workers that are forked off an application in use: each connects afresh by itself, at once."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.speed import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import MongoLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

PROGRAM = Path(__file__).parent / "programs" / "prefork.py"
WORKERS = 4
NOISE_S = 1.0
"""Four workers connect and authenticate at once, on a machine that is busy with their parent's threads."""


def _run(settings: dict[str, Any], how: str, go: Path, *, fault: Callable[[], object]) -> list[dict[str, Any]]:
    """Run the program; `fault` is called when every worker of `os.fork` has done its first work and looks out."""
    arguments = [sys.executable, str(PROGRAM), json.dumps(settings), how, str(WORKERS), str(go)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told: list[dict[str, Any]] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(json.loads(line))
            if sum(what["step"] == "worked" for what in told) == WORKERS and not go.exists():
                go.touch()
            elif sum(what["step"] == "ready" for what in told) == WORKERS and told[-1]["step"] == "ready":
                fault()
                Path(f"{go}.struck").touch()
            elif told[-1]["step"] == "failed":
                go.touch()
                Path(f"{go}.struck").touch()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    failures = [what["error"] for what in told if what["step"] == "failed"]
    assert not failures, failures[0]
    assert process.returncode == 0, errors
    return told


def _check_workers(told: list[dict[str, Any]]) -> None:
    worked = [what for what in told if what["step"] == "worked"]
    assert len(worked) == WORKERS
    print("first save of a worker: " + ", ".join(f"{what['took_s']:.3f} s" for what in worked))
    for what in worked:
        within(what["took_s"], 0.5 + NOISE_S)
        assert any("monitor" in thread for thread in what["threads"]), what["threads"]
    connections: dict[int, set[tuple[Any, Any]]] = {}
    for what in told:
        if "connections" in what:  # of a pool's processes one may have done the work of two
            connections.setdefault(what["pid"], set()).update(tuple(one) for one in what["connections"])
    for one, other in itertools.combinations(connections.values(), 2):
        assert one
        assert one.isdisjoint(other), "two processes have sent on one connection"


@pytest.mark.parametrize("how", ["os.fork", "unused", "multiprocessing", "spawn"])
def test_workers(lab: MongoLab, settings: Callable[..., dict[str, Any]], tmp_path: Path, how: str) -> None:
    """While four threads of the parent use the client, so that its locks are held at the fork.

    Then the primary steps down: the children's own monitors see it, and tell it to the listeners of each child.
    """
    told = _run(settings(), how, tmp_path / "go", fault=lab.step_down)
    _check_workers(told)
    again = [what for what in told if what["step"] == "again"]
    assert len(again) == (WORKERS if how in ("os.fork", "unused") else 0)
    for what in again:
        assert what["count"] == 1
        assert "PrimaryFound" in what["events"]


def test_workers_meet_a_failover(lab: MongoLab, settings: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    """The first thing that a worker hears after the fork is that its primary is dead."""
    told = _run(settings(), "os.fork", tmp_path / "go", fault=lab.kill)
    _check_workers(told)
    again = [what for what in told if what["step"] == "again"]
    assert [what["count"] for what in again] == [1] * WORKERS
    assert all("PrimaryFound" in what["events"] for what in again), again
