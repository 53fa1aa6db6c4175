"""Which of these tests run, and in which order; and where the labs of a test stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, so that it sees its own labs only."""
    place = tmp_path_factory.mktemp("labs")
    monkeypatch.setenv("UNDAUNTED_LAB_HOME", str(place))
    return place
