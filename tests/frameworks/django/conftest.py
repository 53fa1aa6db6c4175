"""One Django for the process, as Django wants it; each test has settings of its own and leaves no cluster behind."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.conf import settings
from django.test import Client
from django.test.utils import override_settings
from django.urls import clear_url_caches

from undaunted.lab.ports import choose
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIDDLEWARE = "undaunted.django.middleware.UndauntedMiddleware"


@pytest.fixture(scope="session")
def _django() -> None:
    settings.configure(
        SECRET_KEY="for tests",
        ALLOWED_HOSTS=["testserver"],
        ROOT_URLCONF="tests.frameworks.django.site",
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "undaunted.django",
        ],
        MIDDLEWARE=[MIDDLEWARE, "tests.frameworks.django.site.who_am_i"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        UNDAUNTED={},
        USE_TZ=True,
    )
    django.setup()


@pytest.fixture
def site(_django: None) -> Iterator[Callable[..., Client]]:
    """Makes a client of the site with these ``UNDAUNTED``, and whatever settings of Django a test wants otherwise."""
    with ExitStack() as stack:
        stack.callback(REGISTRY.close)

        def make(undaunted: Any = None, **changes: Any) -> Client:
            stack.enter_context(override_settings(UNDAUNTED=undaunted, **changes))
            clear_url_caches()
            return Client(raise_request_exception=False)

        yield make


@pytest.fixture
def ledger(tmp_path: Any) -> dict[str, Any]:
    """Settings of one cluster that needs no server."""
    return {"clusters": {"ledger": {"backend": "sqlalchemy", "url": f"sqlite:///{tmp_path}/ledger.db"}}}


@pytest.fixture
def no_server(unused_port: int) -> dict[str, Any]:
    """Settings of one cluster where nobody listens; a request has 0.4 s."""
    return {
        "clusters": {"orders": {"backend": "mongodb", "nodes": [f"127.0.0.1:{unused_port}"], "database": "shop"}},
        "profiles": {"web": {"retry": {"deadline": "400ms"}}},
    }


@pytest.fixture
def unused_port() -> int:
    return choose(1, claim=lambda *_: None)[0]
