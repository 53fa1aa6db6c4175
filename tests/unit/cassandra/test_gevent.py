"""Under gevent: greenlets work side by side, outlive a frozen node, and nothing blocks the loop meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.testing.cql import FakeCassandra

PROGRAM = Path(__file__).parent / "programs" / "greenlets.py"
ATTEMPT_S = 0.4


def test_greenlets_outlive_a_frozen_node(
    fake: FakeCassandra, settings_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    arguments = [sys.executable, str(PROGRAM), json.dumps(settings_of(fake)), str(go)]
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "CQLENG_ALLOW_SCHEMA_MANAGEMENT": "1"},
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"step": "worked", "results": 30}
        fake.freeze(1)
        go.touch()
        done = json.loads(process.stdout.readline())
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        fake.thaw(1)
    assert done["results"] == 30
    assert done["worst_s"] < ATTEMPT_S  # a wait for the frozen node would have held up all
