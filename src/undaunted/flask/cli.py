"""``flask undaunted …``: the commands of `undaunted.cli`, with the application's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from flask.cli import ScriptInfo

from undaunted.cli.group import commands
from undaunted.cli.source import Source
from undaunted.cli.sync import sync
from undaunted.errors import ConfigurationError
from undaunted.flask.requests import mistakes_of
from undaunted.flask.state import EXTENSION, SETTINGS, config_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

__all__ = ["group_of", "undaunted"]

_PROGRAM = "flask undaunted"


def group_of(app: Flask) -> click.Group:
    """Make the group of commands with the settings of this application."""
    return _group(lambda: _given(app))


def _given(app: Flask) -> object:
    """The settings of an application.

    Raises:
        ConfigurationError: One of its views names a profile that there is not.
    """
    if EXTENSION in app.extensions and (mistakes := mistakes_of(app)):
        raise ConfigurationError(problems=mistakes)
    return config_of(app).get("UNDAUNTED")


def _group(framework: Callable[[], object]) -> click.Group:
    group = commands(Source(program=_PROGRAM, framework=framework, framework_name=SETTINGS))
    group.add_command(sync)  # the application imports its models
    return group


def _of_the_application() -> object:
    """The settings of the application that ``flask`` was told; wrong ones keep it from being loaded, and say so."""
    return _given(click.get_current_context().ensure_object(ScriptInfo).load_app())


undaunted = _group(_of_the_application)
"""The same, found by the entry point ``flask.commands``: there also while the application's settings are wrong."""
