"""Under gevent, monkey-patched: greenlets in place of threads, and a loop that nothing blocks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.speed import within

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import MongoLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

PROGRAM = Path(__file__).parent / "programs" / "greenlets.py"
GREENLETS, ROUNDS = 50, 10
HANGS_S = 120.0


def test_greenlets_survive_a_kill(lab: MongoLab, settings: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    go, complaints = tmp_path / "go", tmp_path / "stderr"
    arguments = [sys.executable, str(PROGRAM), json.dumps(settings()), str(go)]
    with complaints.open("wb") as stderr:  # a pipe that nobody reads yet would hold a program that complains a lot
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=stderr, text=True)
    # If it hangs, it is ended, so that its complaints are told.
    watch = threading.Timer(HANGS_S, process.kill)
    watch.start()
    told: dict[str, dict[str, Any]] = {}
    try:
        assert process.stdout is not None
        for line in process.stdout:
            what = json.loads(line)
            told[what["step"]] = what
            if what["step"] == "running":
                lab.kill("primary")
                go.touch()
        process.wait(60)
    finally:
        watch.cancel()
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    errors = complaints.read_text(encoding="utf-8")
    assert process.returncode == 0, f"it came as far as {list(told)}; {errors[-5000:]}"
    assert "Traceback" not in errors
    assert told["worked"]["results"] == [ROUNDS + 1]
    assert told["worked"]["shared"] == GREENLETS * ROUNDS
    assert told["survived"]["results"] == [ROUNDS + 1]
    assert told["survived"]["again"] == [ROUNDS + 1]
    assert told["survived"]["shared"] == (2 * GREENLETS + 5) * ROUNDS
    within(told["cut"]["took_s"], 1.0)
    print(f"the loop was blocked {told['survived']['worst_s']:.3f} s at most while there was no primary")
    within(told["survived"]["worst_s"], 1.0)
