"""From all sources to one `Settings`, or to one error that lists every mistake."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from undaunted.config.files import absolute, folder
from undaunted.config.schema import Settings
from undaunted.config.sections import ModelSettings
from undaunted.config.sources import Layers, Origin, dotted, find_file, nested, read_file
from undaunted.config.structure import Key, Reader, Table
from undaunted.errors import ConfigurationError, Problem

__all__ = ["BUILT_IN", "Loaded", "load", "model_settings"]

BUILT_IN: Mapping[str, Any] = {
    "profiles": {"web": {"retry": {"deadline": "5s"}}, "worker": {"retry": {"deadline": "60s"}}},
}
"""What holds before any source says anything: a profile for web requests and one for background work."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each of them came from.

    Attributes:
        settings: The settings, checked.
        origins: The source of each value that a source set, by its key, such as ``("retry", "deadline")``.
        file: Path of the settings file that was read, or None.
    """

    settings: Settings
    origins: Mapping[Key, Origin]
    file: str | None = None


def load(
    source: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    *,
    framework: Mapping[str, Any] | None = None,
    framework_name: str = "framework settings",
    environ: Mapping[str, str] | None = None,
    start: str | os.PathLike[str] | None = None,
) -> Loaded:
    """Read the settings: defaults < file < framework < environment < code.

    Args:
        source: The settings themselves, as code gives them (no file is looked for then); or the path of a file; or
            None, to find the file: ``UNDAUNTED_CONFIG``, else the nearest ``undaunted.toml`` or ``pyproject.toml`` with
            a table ``[tool.undaunted]``, from `start` upwards.
        framework: The same settings in a framework's own, such as Django's ``UNDAUNTED``.
        framework_name: What errors call these.
        environ: The environment; default ``os.environ``.
        start: Where the search for a file begins; default the working directory.

    Raises:
        ConfigurationError: Something is wrong; its `problems` are all mistakes of all sources.
        TypeError: `source` or `framework` is neither a mapping nor a path.
    """
    environ = os.environ if environ is None else environ
    begin = absolute(start or "")
    layers = Layers()
    layers.lay(BUILT_IN, Origin("default"))
    path: str | None = None
    if source is None:
        path = find_file(environ, begin)
    elif isinstance(source, (str, os.PathLike)):
        path = absolute(source, begin)
    elif not isinstance(source, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] callers may be untyped
        raise TypeError(f"expected a mapping, a path or None, not {type(source).__name__}")
    file = read_file(path, layers.problems) if path is not None else None
    if file is not None:
        layers.lay(cast("Mapping[str, object]", file.table()), Origin("file", file.path, file))
    if framework is not None:
        if not isinstance(framework, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] from untyped settings
            raise TypeError(f"{framework_name}: expected a mapping, not {type(framework).__name__}")
        layers.lay(framework, Origin("framework", framework_name))
    layers.environment(environ)
    if isinstance(source, Mapping):
        layers.lay(source, Origin("code"))
    return Loaded(_structured(layers, environ), layers.origins, file.path if file else None)


def _structured(layers: Layers, environ: Mapping[str, str]) -> Settings:
    folders = {k: folder(o.file.path) for k, o in layers.origins.items() if o.file is not None}
    reader = Reader(environ, folders)
    settings = Table(Settings).read(layers.table, (), reader)
    mistakes = layers.problems + reader.problems
    if mistakes or settings is None:
        raise ConfigurationError(problems=[_problem(key, message, layers) for key, message in mistakes])
    return settings


def _problem(key: Key, message: str, layers: Layers) -> Problem:
    whence = layers.whence(key)
    return Problem(dotted(key), f"{message} [{whence}]" if whence not in ("", "default", "code") else message)


def model_settings(declared: Mapping[str, Any], *, model: str) -> ModelSettings:
    """Read what a model declares in its class, `__undaunted__`; the keys are those of ``[models."..."]``.

    Args:
        declared: The declaration.
        model: The model's dotted path, for errors.

    Raises:
        ConfigurationError: Something in it is wrong; its `problems` are all mistakes.
    """
    problems: list[tuple[Key, str]] = []
    reader = Reader({})
    settings = Table(ModelSettings).read(
        nested(declared, problems) if isinstance(declared, Mapping) else declared,  # pyright: ignore[reportUnnecessaryIsInstance]
        ("__undaunted__",),
        reader,
    )
    problems += reader.problems
    if problems or settings is None:
        raise ConfigurationError(problems=[Problem(f"{model}.{dotted(key)}", message) for key, message in problems])
    return settings
