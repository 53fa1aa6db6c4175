"""The extension: everything that an application has to write is ``Undaunted(app)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from undaunted.errors import ConfigurationError, Exhausted, Problem
from undaunted.flask import blueprint, cli, requests, unavailable
from undaunted.flask.state import EXTENSION, SETTINGS, State, config_of
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from undaunted.config import Settings

__all__ = ["Undaunted"]


def _nobody() -> bool:
    return False


class Undaunted:
    """Keeps the models of a Flask application undaunted.

    Settings come from ``app.config["UNDAUNTED"]``, with the keys of ``undaunted.toml``; without them, from that file.
    One object serves any number of applications, also in one process: they share the clusters of the same name.

    Args:
        app: The application; else call `init_app`, as a factory does.
        is_staff: Says within a request whether its caller may see the status page and everything else that
            ``web.public`` does not name. Default: nobody.
        url_prefix: Where health and status are served; None leaves them out.

    Raises:
        ConfigurationError: See `init_app`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        is_staff: Callable[[], bool] = _nobody,
        url_prefix: str | None = "/undaunted",
    ) -> None:
        self._is_staff = is_staff
        self._url_prefix = url_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the application's settings, and tie its requests, errors, addresses and commands to them.

        Connects to nothing, so a database that is down keeps no application from starting; load it before a fork or
        after it.

        Raises:
            ConfigurationError: There are no settings, or something in them is wrong, or another application of this
                process has other ones for the same cluster, or a view that is there already names a profile which there
                is not; lists every mistake.
            RuntimeError: The application has this extension already.
        """
        if EXTENSION in app.extensions:
            raise RuntimeError(f"The Flask application {app.name!r} has undaunted already; call init_app once.")
        settings = _settings(app)
        mistakes = requests.mistakes_of(app)
        if mistakes:
            raise ConfigurationError(problems=mistakes)
        app.extensions[EXTENSION] = State(web=settings.web, is_staff=self._is_staff)
        requests.attach(app)
        if Exhausted not in app.error_handler_spec[None][None]:  # the application's own goes before
            app.register_error_handler(Exhausted, unavailable.answer)
        addresses = blueprint.make() if self._url_prefix is not None else blueprint.make(())
        app.register_blueprint(addresses, url_prefix=self._url_prefix)
        app.cli.add_command(cli.group_of(app))


def _settings(app: Flask) -> Settings:
    given: object = config_of(app).get("UNDAUNTED")
    if given is not None and not isinstance(given, Mapping):
        message = f"expected a mapping with the keys of undaunted.toml, not {type(given).__name__}."
        raise ConfigurationError(problems=[Problem(SETTINGS, message)])
    settings = REGISTRY.add(cast("Mapping[str, Any] | None", given), framework_name=SETTINGS)
    if not settings.clusters:
        message = (
            f"no cluster is configured. Set {SETTINGS} before init_app, or write undaunted.toml: "
            "`flask undaunted config init` makes one."
        )
        raise ConfigurationError(problems=[Problem("clusters", message)])
    return settings
