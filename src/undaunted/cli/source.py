"""Where a command finds the settings: the file and the environment alone, or a framework's settings between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from undaunted.config.loading import Loaded, load
from undaunted.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from undaunted.config import ClusterSettings

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

    @property
    def elsewhere(self) -> str:
        """Where settings come from if not from a file."""
        return "the environment" if self.framework is _nothing else self.framework_name

    def load(self, file: str | None = None) -> Loaded:
        """Read the settings: defaults < file < framework < environment.

        Args:
            file: The settings file; default: it is looked for.

        Raises:
            ConfigurationError: Something is wrong; lists every mistake.
        """
        return load(file, framework=self._given(), framework_name=self.framework_name)

    def open(self, file: str | None = None) -> Loaded:
        """Read the settings as `load` does, and register their clusters, unless the framework has; connects to nothing.

        Raises:
            ConfigurationError: Something is wrong, or a driver is missing.
        """
        from undaunted.registry import REGISTRY  # noqa: PLC0415 - most commands open nothing

        if file is None:
            REGISTRY.add(self._given(), framework_name=self.framework_name)
        else:
            REGISTRY.configure(file, framework=self._given(), framework_name=self.framework_name)
        return REGISTRY.loaded

    def chosen(self, loaded: Loaded, names: Sequence[str] = ()) -> list[ClusterSettings]:
        """The clusters of these names, or all.

        Raises:
            ConfigurationError: One is not there, or there is none at all; tells how to make settings.
        """
        settings = loaded.settings
        found = [settings.cluster(name) for name in dict.fromkeys(names)] or list(settings.clusters.values())
        if not found:
            raise ConfigurationError(problems=[Problem("clusters", self.nothing_configured(loaded))])
        return found

    def nothing_configured(self, loaded: Loaded) -> str:
        """Say that no cluster is configured, where that was looked for, and how to make settings."""
        nowhere = "no undaunted.toml, and no pyproject.toml with [tool.undaunted], from here upwards"
        where = loaded.file or nowhere
        if self.framework is not _nothing:
            where = f"{where}; nor any in {self.framework_name}"
        return (
            f"No cluster is configured ({where}). Add a table [clusters.NAME], or have the file made by asking a node: "
            f"{self.program} config init orders=mongodb://HOST:27017"
        )

    def _given(self) -> Mapping[str, Any] | None:
        given = self.framework()
        if given is None or isinstance(given, Mapping):
            return cast("Mapping[str, Any] | None", given)
        message = f"expected a mapping of settings, not {type(given).__name__}."
        raise ConfigurationError(problems=[Problem(self.framework_name, message)])
