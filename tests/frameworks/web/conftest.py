"""Each test begins without settings, without clusters, and with nothing that an earlier one has committed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def no_settings_left() -> Iterator[None]:
    REGISTRY.close()
    tokens = sys.modules.get("undaunted.sqlalchemy.tokens")  # what is not imported holds nothing
    if tokens is not None:
        tokens.LAST.set({})
    yield
    REGISTRY.close()
