"""Which of these tests run, and in which order."""

from __future__ import annotations

import pytest


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
