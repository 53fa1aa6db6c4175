"""The Django app: it takes the settings over when Django starts, and keeps what was wrong with them for the checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.core import checks
from django.core.signals import setting_changed

from undaunted.django import conf
from undaunted.errors import ConfigurationError, Problem
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from undaunted.testing.databases import Databases

__all__ = ["UndauntedConfig"]


class UndauntedConfig(AppConfig):
    """``"undaunted.django"`` in ``INSTALLED_APPS``.

    Attributes:
        mistakes: What is wrong with the settings; empty when all is well. System checks tell it, and the middleware
            refuses to be made with it, so that a server which runs no checks does not start half configured.
        databases: The databases of the test run that is going on; None outside of tests.
    """

    name = "undaunted.django"
    label = "undaunted"
    verbose_name = "undaunted"

    def __init__(self, app_name: str, app_module: Any) -> None:
        super().__init__(app_name, app_module)
        self.mistakes: Sequence[Problem] = ()
        self.databases: Databases | None = None
        # Here and not in `ready`: every app is made before the first module of models is imported, in whatever order
        # INSTALLED_APPS has them, so that models and other apps' `ready` find their clusters.
        self.take_settings()

    def take_settings(self, *, anew: bool = False) -> None:
        """Register the clusters that the settings name. Never raises for their mistakes; see `mistakes`."""
        try:
            conf.open_clusters(anew=anew)
            if self.databases is not None:
                self.databases.turn()
        except ConfigurationError as error:
            self.mistakes = error.problems or (Problem(conf.NAME, str(error)),)
            REGISTRY.refuse(error)  # else programs without checks, such as `manage.py shell`, use what lies beneath
        else:
            self.mistakes = ()

    def ready(self) -> None:
        """Register the system checks, and follow ``override_settings``."""
        from undaunted.django import checks as ours  # noqa: PLC0415  # the apps come first

        checks.register(ours.check_settings, "undaunted")
        checks.register(ours.check_site, "undaunted")
        checks.register(ours.check_models, "undaunted")
        checks.register(ours.check_views, "undaunted")
        checks.register(ours.check_public, "undaunted", deploy=True)
        setting_changed.connect(self._changed, dispatch_uid="undaunted")

    def _changed(self, *, setting: str, **_: object) -> None:
        if setting in (conf.NAME, conf.TEST_NAMES):
            self.take_settings(anew=True)
