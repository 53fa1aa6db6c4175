"""Where a command finds the settings: the file and the environment alone, or a framework's settings between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from undaunted.config.loading import Loaded, load
from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Source"]


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a command finds the settings, and what its user calls it.

    Attributes:
        program: How the commands are called, such as ``"python manage.py undaunted"``: remedies quote it.
        framework: Gives the framework's settings, a mapping, or None where it has none; called whenever they are read,
            so it may be a closure over an application that is configured later.
        framework_name: What errors call these settings, such as ``"UNDAUNTED in settings.py"``.
    """

    program: str = "undaunted"
    framework: Callable[[], object] = _nothing
    framework_name: str = "framework settings"

    def load(self, file: str | None = None) -> Loaded:
        """Read the settings: defaults < file < framework < environment.

        Args:
            file: The settings file; default: it is looked for.

        Raises:
            ConfigurationError: Something is wrong; lists every mistake.
        """
        return load(file, framework=self._given(), framework_name=self.framework_name)

    def open(self, file: str | None = None) -> Loaded:
        """Read the settings as `load` does, and register their clusters; connects to nothing.

        Raises:
            ConfigurationError: Something is wrong, or a driver is missing.
        """
        from undaunted.registry import REGISTRY  # noqa: PLC0415 - most commands open nothing

        REGISTRY.configure(file, framework=self._given(), framework_name=self.framework_name)
        return REGISTRY.loaded

    def _given(self) -> Mapping[str, Any] | None:
        given = self.framework()
        if given is None or isinstance(given, Mapping):
            return cast("Mapping[str, Any] | None", given)
        message = f"expected a mapping of settings, not {type(given).__name__}."
        raise ConfigurationError(problems=[Problem(self.framework_name, message)])
