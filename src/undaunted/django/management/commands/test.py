"""`manage.py test`: Django's own, with databases of the run's own in the place of the real ones.

An app's command of the same name goes before Django's. Whatever test runner the settings or ``--testrunner`` name is
used; it only makes and drops more databases than before.
"""

from __future__ import annotations

from typing import Any, cast

from django.apps import apps
from django.core.management.base import CommandError
from django.core.management.commands import test

from undaunted.django.apps import UndauntedConfig
from undaunted.django.trial import RUNNER, turn
from undaunted.errors import UndauntedError

__all__ = ["Command"]


class Command(test.Command):
    """Django's `test`, for clusters that must not be the real ones."""

    def handle(self, *test_labels: str, **options: Any) -> None:
        """Run the tests.

        Raises:
            CommandError: The settings have mistakes, or the databases cannot be made.
        """
        app = cast("UndauntedConfig", apps.get_app_config(UndauntedConfig.label))
        try:
            turn(app)
            super().handle(*test_labels, **{**options, "testrunner": RUNNER, "real_runner": options["testrunner"]})
        except UndauntedError as error:
            raise CommandError(str(error)) from error
        finally:
            if app.databases is not None:
                app.databases.turn_back()
                app.databases = None
