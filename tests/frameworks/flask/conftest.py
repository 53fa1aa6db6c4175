"""Applications of Flask that are in no way of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def no_settings_left() -> Iterator[None]:
    REGISTRY.close()
    yield
    REGISTRY.close()


@pytest.fixture
def make_app() -> Callable[..., Flask]:
    """Makes an application with these settings under ``UNDAUNTED``; None leaves the key out."""

    def make(settings: Any) -> Flask:
        app = Flask(__name__)
        app.secret_key = "for tests"
        if settings is not None:
            app.config["UNDAUNTED"] = settings
        return app

    return make
