"""Where CI decides, a test that was skipped has failed: in one process, and in workers side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
HARMLESS = """
    import pytest
    def test_passes(): pass
    @pytest.mark.xfail
    def test_fails_as_expected(): assert False
"""
SKIPS = """
    import pytest
    def test_in_its_body(): pytest.skip("no server")
    @pytest.mark.skip(reason="no server")
    def test_by_a_marker(): pass
    @pytest.fixture
    def server(): pytest.skip("no server")
    def test_by_a_fixture(server): pass
"""
NO_DRIVER = """
    import pytest
    pytest.importorskip("no_such_driver")
    def test_never_collected(): pass
"""
TOLD = "With CI=true a skipped test is a failure: "


def run(folder: Path, *, ci: str, workers: int, **modules: str) -> tuple[int, set[str]]:
    """Run these modules beside a copy of our conftest; the exit status, and the skips that it tells."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in modules.items():
        (folder / f"test_{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "no:cacheprovider", "-n", str(workers), "--rootdir=."],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        cwd=folder,
        env={**os.environ, "CI": ci, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    told = [line.removeprefix(TOLD) for line in done.stdout.splitlines() if line.startswith(TOLD)]
    assert len(told) <= 1, done.stdout
    return done.returncode, set(told[0].split(", ")) if told else set()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_skip_fails_the_run_in_ci(tmp_path: Path, workers: int) -> None:
    status, told = run(tmp_path, ci="true", workers=workers, harmless=HARMLESS, skips=SKIPS, driver=NO_DRIVER)
    assert status == pytest.ExitCode.TESTS_FAILED
    tests = ("test_in_its_body", "test_by_a_marker", "test_by_a_fixture")
    assert told == {"test_driver.py", *(f"test_skips.py::{test}" for test in tests)}


def test_a_run_without_skips_passes_in_ci(tmp_path: Path) -> None:
    assert run(tmp_path, ci="true", workers=2, harmless=HARMLESS) == (pytest.ExitCode.OK, set())


def test_elsewhere_a_skip_is_a_skip(tmp_path: Path) -> None:
    assert run(tmp_path, ci="", workers=2, harmless=HARMLESS, skips=SKIPS) == (pytest.ExitCode.OK, set())
