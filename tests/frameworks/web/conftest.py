"""Each test begins without settings and without clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_settings_left() -> Iterator[None]:
    REGISTRY.close()
    yield
    REGISTRY.close()
