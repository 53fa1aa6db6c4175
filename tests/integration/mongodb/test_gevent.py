"""Under gevent, monkey-patched: greenlets in place of threads, and a loop that nothing blocks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import MongoLab

pytestmark = [pytest.mark.integration, pytest.mark.alone]

PROGRAM = Path(__file__).parent / "programs" / "greenlets.py"
GREENLETS, ROUNDS = 50, 10


def test_greenlets_survive_a_kill(lab: MongoLab, settings: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    go = tmp_path / "go"
    arguments = [sys.executable, str(PROGRAM), json.dumps(settings()), str(go)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told: dict[str, dict[str, Any]] = {}
        for line in process.stdout:
            what = json.loads(line)
            told[what["step"]] = what
            if what["step"] == "running":
                lab.kill("primary")
                go.touch()
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert told["worked"]["results"] == [ROUNDS + 1]
    assert told["worked"]["shared"] == GREENLETS * ROUNDS
    assert told["survived"]["results"] == [ROUNDS + 1]
    assert told["survived"]["again"] == [ROUNDS + 1]
    assert told["survived"]["shared"] == (2 * GREENLETS + 5) * ROUNDS
    assert told["cut"]["took_s"] < 1.0
    print(f"the loop was blocked {told['survived']['worst_s']:.3f} s at most while there was no primary")
    assert told["survived"]["worst_s"] < 1.0
