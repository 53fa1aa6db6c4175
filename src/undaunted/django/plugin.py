"""The pytest plugin: with pytest-django, and under xdist, tests never meet a real database.

As soon as Django has been set up, every cluster is turned to a keyspace or database of the run's own, one for each of
xdist's workers. They are made when the first test needs them, and dropped at the end: for a test with the mark
``django_db``, of Django's ``TestCase``, or with one of pytest-django's fixtures for databases; any other test asks by
the fixture ``undaunted_db``. ``--reuse-db`` and ``--create-db`` hold for them, too.

It is loaded by every run of pytest where undaunted is installed, so it imports no Django by itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from undaunted.errors import UndauntedError

if TYPE_CHECKING:
    from collections.abc import Generator

    from undaunted.django.apps import UndauntedConfig
    from undaunted.testing.databases import Databases

__all__ = ["pytest_sessionstart", "pytest_unconfigure", "undaunted_db"]

_FIXTURES = frozenset(
    {"db", "transactional_db", "django_db_reset_sequences", "django_db_serialized_rollback", "django_db_setup"}
    | {"admin_user", "admin_client", "live_server"}
)
"""Fixtures of pytest-django after which a test may use databases."""


def _app() -> UndauntedConfig | None:
    """The app, where Django has been set up with it."""
    django = sys.modules.get("django.apps")
    if django is None or not django.apps.ready or not django.apps.is_installed("undaunted.django"):
        return None
    found: UndauntedConfig = django.apps.get_app_config("undaunted")
    return found


def pytest_sessionstart() -> None:
    """Turn the clusters to the run's databases, before a module of tests is imported.

    Raises:
        pytest.UsageError: The settings have mistakes, or a cluster cannot have a database of the run's own.
    """
    app = _app()
    if app is None:
        return
    from undaunted.django.trial import turn  # noqa: PLC0415  # imports Django

    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    try:
        turn(app, suffix=f"_{worker}" if worker else "")
    except UndauntedError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_unconfigure() -> None:
    """Turn the clusters back; whoever goes on after the run, goes on with the real ones."""
    app = _app()
    if app is not None and app.databases is not None:
        databases, app.databases = app.databases, None
        databases.turn_back()


@pytest.fixture(scope="session")
def undaunted_db(request: pytest.FixtureRequest) -> Generator[Databases | None]:
    """The databases of the run, with the tables and indexes of all models; None where Django does not use undaunted."""
    app = _app()
    if app is None or app.databases is None:
        yield None
        return
    reuse = bool(request.config.getoption("reuse_db", default=False))
    anew = bool(request.config.getoption("create_db", default=False))
    app.databases.make(keep=reuse and not anew)
    yield app.databases
    if not reuse:
        app.databases.drop()


@pytest.fixture(autouse=True)
def _undaunted_db_where_needed(request: pytest.FixtureRequest) -> None:  # pyright: ignore[reportUnusedFunction]
    if _app() is None:
        return
    if request.node.get_closest_marker("django_db") or not _FIXTURES.isdisjoint(request.fixturenames):
        request.getfixturevalue("undaunted_db")


@pytest.fixture(autouse=True, scope="class")
def _undaunted_db_of_a_class(request: pytest.FixtureRequest) -> None:  # pyright: ignore[reportUnusedFunction]
    """Before ``setUpClass`` and ``setUpTestData``, which no fixture of a function comes before."""
    django_test: Any = sys.modules.get("django.test")
    kind: Any = getattr(request, "cls", None)
    if _app() is not None and kind is not None and django_test and issubclass(kind, django_test.TransactionTestCase):
        request.getfixturevalue("undaunted_db")
