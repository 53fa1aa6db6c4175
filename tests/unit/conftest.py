"""Each unit test begins without settings and without clusters, in whatever order the tests run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_settings_left() -> Iterator[None]:
    """Close what any test has opened: whatever asks `REGISTRY.loaded` keeps the settings for the whole process."""
    REGISTRY.close()
    if "cassandra.cqlengine.models" in sys.modules:  # what a test has left here by cqlengine's own setup()
        sys.modules["cassandra.cqlengine.models"].DEFAULT_KEYSPACE = None
    yield
    REGISTRY.close()
