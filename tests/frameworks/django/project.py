"""A small project of Django in a folder of a test's own, and its programs run as a developer runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Project", "make_project"]

_MANAGE = """
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
execute_from_command_line(sys.argv)
"""

_SETTINGS = """
SECRET_KEY = "for tests"
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
DEBUG = {debug!r}
ROOT_URLCONF = "urls"
INSTALLED_APPS = ["shop", "undaunted.django"]  # the models come first, in whatever order
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "undaunted.django.middleware.UndauntedMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DATABASES = {databases!r}
TEMPLATES = [{{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}}]
USE_TZ = True
UNDAUNTED = {undaunted!r}
UNDAUNTED_TEST = {names!r}
"""

_URLS = """
from django.urls import include, path
urlpatterns = [path("undaunted/", include("undaunted.django.urls")){more}]
"""


@dataclass
class Project:
    """A project in a folder."""

    folder: Path

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / path).write_text(text)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its programs: nothing of this process's own settings or of pytest's workers."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UNDAUNTED", "PYTEST", "DJANGO", "COLUMNS"))
        }
        return {**kept, "PYTHONPATH": str(self.folder), "PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1"}

    def manage(self, *arguments: str, said: str | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``manage.py``; what is said to it stands on its standard input."""
        return self._run([sys.executable, "manage.py", *arguments], said, environ)

    def pytest(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run pytest with pytest-django, as the project's developer does."""
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *arguments]
        return self._run(command, None, {"DJANGO_SETTINGS_MODULE": "settings", **environ})

    def _run(self, command: list[str], said: str | None, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environ, **environ},
            input=said or "",
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )


def make_project(
    folder: Path,
    *,
    undaunted: Any,
    models: str,
    tests: str = "",
    views: str = "",
    names: dict[str, str] | None = None,
    databases: dict[str, Any] | None = None,
    debug: bool = False,
) -> Project:
    """Write a project with one app, ``shop``."""
    made = Project(folder)
    (folder / "shop").mkdir()
    made.write("manage.py", _MANAGE)
    made.write(
        "settings.py",
        _SETTINGS.format(undaunted=undaunted, names=names or {}, databases=databases or {}, debug=debug),
    )
    made.write("urls.py", _URLS.format(more=', path("", include("shop.urls"))' if views else ""))
    made.write("shop/__init__.py", "")
    made.write("shop/models.py", models)
    made.write("shop/tests.py", tests)
    if views:
        made.write("shop/urls.py", views)
    made.write("pytest.ini", "[pytest]\npython_files = tests.py\n")
    return made
