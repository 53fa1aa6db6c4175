"""A run of tests: its databases in the place of the real ones, for `manage.py test` and the pytest plugin."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from django.apps import apps
from django.conf import settings
from django.test.runner import ParallelTestSuite
from django.test.utils import get_runner

from undaunted.django import conf
from undaunted.errors import ConfigurationError
from undaunted.testing.databases import Databases

if TYPE_CHECKING:
    import unittest
    from collections.abc import Sequence

    from django.test.runner import DiscoverRunner

    from undaunted.django.apps import UndauntedConfig

__all__ = ["RUNNER", "ask", "begin_worker", "kept_apart", "make_runner", "turn"]

RUNNER = "undaunted.django.trial.make_runner"


def turn(app: UndauntedConfig, *, suffix: str = "") -> Databases:
    """Turn the clusters to the databases of a run; connects to nothing.

    Raises:
        ConfigurationError: The settings have mistakes, or a cluster cannot have a database of the run's own.
    """
    if app.mistakes:
        raise ConfigurationError(problems=app.mistakes)
    databases = Databases(suffix=suffix, names=conf.names_for_tests())
    databases.turn()
    app.databases = databases
    return databases


def ask(databases: Databases) -> bool:
    """Ask whether databases that are there already may be deleted, as Django asks of its own; True if none is there."""
    found = databases.existing()
    if not found:
        return True
    answer = input(f"The test databases {', '.join(found)} are there already. Type 'yes' to delete them: ")
    return answer.strip().lower() == "yes"


def begin_worker(counter: Any, *args: Any, **kwargs: Any) -> None:
    """Begin a process of ``--parallel``: as Django does, and with databases of its own. Django calls it by its name."""
    with counter.get_lock():  # Django counts itself up within it
        ParallelTestSuite.init_worker(counter, *args, **kwargs)
        suffix = f"_{counter.value}"
    app = cast("UndauntedConfig", apps.get_app_config("undaunted"))
    if app.databases is None:  # a process that was not forked has read the settings anew
        turn(app, suffix=suffix)
    else:
        app.databases.change(suffix)


def make_runner(*, real_runner: str | None = None, **options: Any) -> DiscoverRunner:
    """Make the application's test runner, kept apart; `RUNNER` names it to Django as if it were a class.

    Args:
        real_runner: Dotted path of the runner that ``--testrunner`` names; default that of the settings.
        options: For the runner.
    """
    app = cast("UndauntedConfig", apps.get_app_config("undaunted"))
    assert app.databases is not None  # noqa: S101  # `turn` comes first
    runner: type[DiscoverRunner] = get_runner(settings, real_runner)
    return kept_apart(runner, app.databases)(**options)


def kept_apart(runner: type[DiscoverRunner], databases: Databases) -> type[DiscoverRunner]:
    """The application's own test runner, which also makes and drops the databases of the run.

    With ``--parallel`` each process has databases of its own, with its number behind their names, as Django's have.
    """

    class Suite(runner.parallel_test_suite):  # type: ignore[name-defined, misc]  # known when Django has its settings
        init_worker = begin_worker

    class KeptApart(runner):  # type: ignore[valid-type, misc]
        parallel_test_suite = Suite
        _undaunted_suffixes: Sequence[str] = ("",)

        def build_suite(self, *args: Any, **kwargs: Any) -> unittest.TestSuite:
            suite: unittest.TestSuite = super().build_suite(*args, **kwargs)
            if isinstance(suite, ParallelTestSuite):
                self._undaunted_suffixes = [f"_{number}" for number in range(1, suite.processes + 1)]
            return suite

        def setup_databases(self, **kwargs: Any) -> Any:
            found = super().setup_databases(**kwargs)
            for suffix in self._undaunted_suffixes:
                databases.change(suffix)
                if self.interactive and not self.keepdb and not ask(databases):
                    sys.exit("Tests cancelled.")
                databases.make(keep=self.keepdb)
            if len(self._undaunted_suffixes) > 1:
                databases.change("")  # which closes everything, so that the workers are forked with nothing open
            return found

        def teardown_databases(self, old_config: Any, **kwargs: Any) -> None:
            for suffix in () if self.keepdb else self._undaunted_suffixes:
                databases.change(suffix)
                databases.drop()
            super().teardown_databases(old_config, **kwargs)

    return KeptApart
