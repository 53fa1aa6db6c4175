"""Which of these tests run, in which order, and when again; and where the labs of a test stand."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from tests.integration.speed import TooSlow

from undaunted.lab import CassandraLab, MongoLab, PostgresLab

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_SLOW = "too slow at first"


@pytest.hookimpl(tryfirst=True)  # before ``-m`` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave those that take minutes out of the ordinary run, and begin with the slow ones.

    Several workers share the tests (`make test-integration`); a slow one begun last would leave the others idle.
    """
    for item in items:
        if "cassandra" in item.nodeid:
            item.add_marker(pytest.mark.cassandra)
    if "soak" not in str(config.option.markexpr):
        long = [item for item in items if item.get_closest_marker("soak")]
        if long:
            config.hook.pytest_deselected(items=long)
            items[:] = [item for item in items if item not in long]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Call a test again that was too slow, and only that, as `tests.integration.speed` says."""
    try:
        return (yield)
    except TooSlow as slow:
        pyfuncitem.user_properties.append((_SLOW, str(slow)))
        for given in pyfuncitem.funcargs.values():
            if isinstance(given, (CassandraLab, MongoLab, PostgresLab)):
                given.heal()
        wanted = inspect.signature(pyfuncitem.function).parameters
        pyfuncitem.obj(**{name: given for name, given in pyfuncitem.funcargs.items() if name in wanted})
        return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell which tests were in time at the second go alone."""
    for report in terminalreporter.getreports("passed"):
        for name, what in report.user_properties:
            if name == _SLOW and report.when == "call":
                terminalreporter.line(f"{name}: {report.nodeid}: {what}")


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, so that it sees its own labs only."""
    place = tmp_path_factory.mktemp("labs")
    monkeypatch.setenv("UNDAUNTED_LAB_HOME", str(place))
    return place
