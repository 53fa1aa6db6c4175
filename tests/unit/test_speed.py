"""A test of a time is called again when it was too slow, and for nothing else (`tests/integration/speed.py`)."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

TESTS = """
from tests.integration.speed import within

calls = []

def test_slow_at_first():
    calls.append("first")
    within(calls.count("first") < 2, 0.5)

async def test_slow_at_first_async():
    calls.append("async")
    within(calls.count("async") < 2, 0.5)

def test_slow_twice():
    within(1.0, 0.5, "of the second")

def test_wrong_at_first():
    calls.append("wrong")
    assert calls.count("wrong") == 2
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_is_called_again(tmp_path: Path, pytestconfig: pytest.Config, workers: str) -> None:
    (tmp_path / "test_times.py").write_text(TESTS)
    options = [
        "-c",
        str(pytestconfig.inipath),
        "-p",
        "tests.integration.conftest",
        "-p",
        "no:cacheprovider",
        "-n",
        workers,
    ]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    ran = subprocess.run(command, cwd=pytestconfig.rootpath, capture_output=True, text=True, check=False, timeout=100)
    assert "2 failed, 2 passed" in ran.stdout, ran.stdout
    assert {line.split()[1].rpartition("::")[2] for line in ran.stdout.splitlines() if line.startswith("FAILED")} == {
        "test_slow_twice",
        "test_wrong_at_first",
    }
    told = [line for line in ran.stdout.splitlines() if line.startswith("too slow at first: ")]
    assert len(told) == 2
    assert all(line.endswith("1.000 s, and 0.500 s at the most") for line in told)
