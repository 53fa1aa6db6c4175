"""Where settings come from: a file, a framework, the environment, code; and which source set each value."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from undaunted.config.secrets import is_reference
from undaunted.config.structure import EnvironmentText, Key
from undaunted.config.toml import TomlFile, TomlMistake, literal

__all__ = ["Layers", "Origin", "dotted", "environment", "find_file", "nested", "read_file"]

FILE_NAME = "undaunted.toml"
PREFIX = "UNDAUNTED__"
VARIABLE = "UNDAUNTED_CONFIG"

NAMED = frozenset({"clusters", "profiles", "models", "members", "options"})
"""Tables whose keys are names and no paths: a dot in them (of a model, an address) nests nothing."""

_BARE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-[]"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which source set a value.

    Attributes:
        kind: ``"default"``, ``"file"``, ``"framework"``, ``"environment"`` or ``"code"``.
        name: The file's path, the variable's name, the framework's, or nothing.
        file: The file itself, to find the line in.
    """

    kind: str
    name: str = ""
    file: TomlFile | None = None

    def at(self, key: Key) -> str:
        """Say where the setting `key` was set, with the line if it was in a file."""
        if self.file is not None:
            line = self.file.line(key)
            return f"{_near_path(self.file.path)}:{line}" if line else _near_path(self.file.path)
        return f"environment {self.name}" if self.kind == "environment" else self.name or self.kind


def _near_path(path: str) -> str:
    """The path from the working directory where that is shorter, as a reader would type it."""
    try:
        return min(os.path.relpath(path), path, key=len)
    except (OSError, ValueError):  # no working directory, or another drive
        return path


class Layers:
    """Sources laid over each other, the nearer over the farther.

    Attributes:
        table: The settings as they result.
        origins: For each value, by its key, the source that set it.
        problems: What is wrong with the sources themselves.
    """

    def __init__(self) -> None:
        self.table: dict[str, Any] = {}
        self.origins: dict[Key, Origin] = {}
        self.problems: list[tuple[Key, str]] = []

    def lay(self, layer: Mapping[str, object], origin: Origin) -> None:
        """Lay one more source over what is there; its tables join, all else is replaced."""
        self._lay(self.table, nested(layer, self.problems), origin, ())

    def _lay(self, table: dict[str, Any], layer: Mapping[str, object], origin: Origin, at: Key) -> None:
        for key, value in layer.items():
            here = (*at, key)
            if isinstance(value, Mapping) and not is_reference(value):
                if not isinstance(table.get(key), dict) or is_reference(table[key]):
                    self._forget(here)
                    table[key] = {}
                    self.origins[here] = origin
                if value:
                    self.origins.pop(here, None)
                self._lay(table[key], cast("Mapping[str, object]", value), origin, here)
            elif value is not None:
                self._forget(here)
                table[key] = value
                self.origins[here] = origin

    def _forget(self, at: Key) -> None:
        for key in [key for key in self.origins if key[: len(at)] == at]:
            del self.origins[key]

    def environment(self, environ: Mapping[str, str]) -> None:
        """Lay the variables ``UNDAUNTED__...`` over what is there; a name that is there already keeps its spelling."""
        for variable in sorted(name for name in environ if name.startswith(PREFIX)):
            parts = variable[len(PREFIX) :].lower().split("__")
            if not all(parts):
                message = "the name of this environment variable has an empty part; write one __ between two keys."
                self.problems.append(((variable,), message))
                continue
            path: list[str] = []
            table: object = self.table
            for part in parts:
                there = cast("Mapping[str, object]", table) if isinstance(table, dict) else {}
                path.append(next((key for key in there if _same(key, part)), part))
                table = there.get(path[-1])
            text = EnvironmentText(environ[variable], variable=variable)
            value: object = literal(text)
            layer: dict[str, Any] = {path[-1]: value if isinstance(value, dict) else text}
            for key in reversed(path[:-1]):
                layer = {key: layer}
            self.lay(layer, Origin("environment", variable))

    def origin(self, key: Key) -> Origin | None:
        """The source of a setting: of itself, of the list or table it stands in, or of what is below it."""
        plain = tuple(part.partition("[")[0] for part in key)
        for length in range(len(plain), 0, -1):
            if plain[:length] in self.origins:
                return self.origins[plain[:length]]
        return next((origin for at, origin in self.origins.items() if at[: len(plain)] == plain), None)


def _same(key: str, part: str) -> bool:
    """Variables have no upper case and no hyphen; the names in settings may."""
    return key.lower().replace("-", "_") == part


def nested(layer: Mapping[str, object], problems: list[tuple[Key, str]], at: Key = ()) -> dict[str, Any]:
    """Take dotted keys apart: ``{"retry.deadline": 5}`` is ``{"retry": {"deadline": 5}}``."""
    table: dict[str, Any] = {}
    literally = bool(at) and at[-1] in NAMED
    for key, value in layer.items():
        path = _split(str(key), literally)
        here = (*at, *path)
        if isinstance(value, Mapping):
            value = nested(cast("Mapping[str, object]", value), problems, here)
        _put(table, path, value, here, problems)
    return table


def _split(key: str, literally: bool) -> list[str]:
    if literally:
        return [key]
    parts = key.split(".")
    for index, part in enumerate(parts[:-1]):
        if part in NAMED:
            rest = parts[index + 1 :]
            if part in ("clusters", "profiles"):  # their names have no dots
                return [*parts[: index + 2], *rest[1:]]
            return [*parts[: index + 1], ".".join(rest)]
    return parts


def _put(table: dict[str, Any], path: list[str], value: object, at: Key, problems: list[tuple[Key, str]]) -> None:
    for key in path[:-1]:
        if not isinstance(table.setdefault(key, {}), dict):
            problems.append((at, "is given twice, once by a dotted key; give it once."))
            return
        table = table[key]
    there = table.get(path[-1])
    if isinstance(there, dict) and isinstance(value, dict):
        for key, one in value.items():
            _put(there, [key], one, (*at, key), problems)
    elif there is not None:
        problems.append((at, "is given twice, once by a dotted key; give it once."))
    else:
        table[path[-1]] = value


def dotted(key: Key) -> str:
    """A key as it is written in TOML."""
    return ".".join(part if part and all(c in _BARE for c in part) else f'"{part}"' for part in key)


def find_file(environ: Mapping[str, str], start: str) -> str | None:
    """Find the settings file: ``UNDAUNTED_CONFIG``, else the nearest one from `start` upwards."""
    if environ.get(VARIABLE):
        return os.path.join(start, os.path.expanduser(environ[VARIABLE]))
    for folder in _upwards(os.path.abspath(start)):
        path = os.path.join(folder, FILE_NAME)
        if os.path.isfile(path):
            return path
        project = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(project) and _mentions(project):
            return project
    return None


def _upwards(folder: str) -> Iterator[str]:
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def _mentions(project: str) -> bool:
    """Whether a pyproject.toml has settings of ours; one that is broken or unreadable and not ours is not our business."""
    try:
        with open(project, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        return False
    if "undaunted" not in text:
        return False
    try:
        return TomlFile(project, text, ("tool", "undaunted")).table() is not None
    except TomlMistake:
        return any(line.lstrip().startswith("[tool.undaunted") for line in text.splitlines())


def read_file(path: str, problems: list[tuple[Key, str]]) -> TomlFile | None:
    """Read a settings file; what is wrong with it as a file is added to `problems`."""
    shown = _near_path(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        problems.append(((), f"cannot read the settings file {shown} ({reason}); correct the path or the file."))
        return None
    prefix = ("tool", "undaunted") if os.path.basename(path) == "pyproject.toml" else ()
    try:
        file_read = TomlFile(path, text, prefix)
    except TomlMistake as mistake:
        problems.append(((), f"the settings file {shown} is not TOML: {mistake}."))
        return None
    table = file_read.table()
    if not isinstance(table, dict):
        problems.append(((), f"the settings file {shown} has no table [tool.undaunted]; add it, or name another file."))
        return None
    return file_read
