"""Workers that are forked off an application in use: each connects afresh by itself, at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.speed import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import CassandraLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

PROGRAM = Path(__file__).parent / "programs" / "prefork.py"
WORKERS = 4
NOISE_S = 1.0
"""Four workers connect to three nodes at once, on a machine that is busy with their parent's threads."""


def _run(settings: dict[str, Any], how: str) -> list[dict[str, Any]]:
    arguments = [sys.executable, str(PROGRAM), json.dumps(settings), how, str(WORKERS)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=90, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    failures = [what["error"] for what in told if what["step"] == "failed"]
    assert not failures, failures[0]
    assert done.returncode == 0, done.stderr
    return told


@pytest.mark.parametrize("how", ["os.fork", "unused", "nested", "multiprocessing"])
def test_workers(lab: CassandraLab, settings: Callable[..., dict[str, Any]], how: str) -> None:
    """While four threads of the parent use the session, so that its locks are held at the fork."""
    del lab  # it is well
    told = _run(settings(), how)
    worked = [what for what in told if what["step"] == "worked"]
    assert len(worked) == (WORKERS if how != "nested" else 2 * WORKERS)
    print(f"{how}, first save of a worker: " + ", ".join(f"{what['took_s']:.3f} s" for what in worked))
    for what in worked:
        within(what["took_s"], 0.5 + NOISE_S)
    if how != "unused":
        (parent,) = [what for what in told if what["step"] == "parent"]
        print(f"{how}: the parent did {parent['calls']} calls, the slowest took {parent['slowest_s']:.3f} s")
        assert parent["after"] > 0
