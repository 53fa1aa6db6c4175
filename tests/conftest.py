"""What holds for every test: hypothesis' profiles, and that nothing is skipped unseen where CI decides."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator

IS_CI = os.environ.get("CI", "").lower() == "true"

# A busy machine is slow at any moment, so no example has a time limit of its own; in CI the examples are fixed, so that
# a failure there is one of the change that it stands beside, and the search for new ones is a developer's run.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, database=None)
settings.load_profile("ci" if IS_CI else "default")

# What a shell starts in the background ignores Ctrl-C, and so would every program that a test starts, and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_skipped: list[str] = []


def _note(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


pytest_runtest_logreport = _note
pytest_collectreport = _note


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """In CI a skipped test has proved nothing, so the run has failed."""
    if IS_CI and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    return (yield)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if IS_CI and _skipped:
        terminalreporter.write_line(f"With CI=true a skipped test is a failure: {', '.join(_skipped)}", red=True)
