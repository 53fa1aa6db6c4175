"""Where settings come from: a file, a framework, the environment, code; and which source set each value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from undaunted.config.files import absolute, is_file, near_path, read_text, upwards
from undaunted.config.raw import as_table, is_reference
from undaunted.config.structure import EnvironmentText, Key
from undaunted.config.toml import TomlError, TomlFile, literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["VARIABLE", "Layers", "Origin", "dotted", "find_file", "has_names", "nested", "read_file"]

FILE_NAME = "undaunted.toml"
PREFIX = "UNDAUNTED__"
VARIABLE = "UNDAUNTED_CONFIG"

PROJECT = "pyproject.toml"
TOOL = ("tool", "undaunted")

_BARE = re.compile(r"[A-Za-z0-9_-]+(\[\d+\])?")
_TWICE = "is given twice, once by a dotted key; give it once."


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
            return f"{near_path(self.file.path)}:{line}" if line else near_path(self.file.path)
        return f"environment {self.name}" if self.kind == "environment" else self.name or self.kind


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
            below = as_table(value)
            if below is not None and not is_reference(below):
                if not isinstance(table.get(key), dict) or is_reference(table[key]):
                    self._forget(here)
                    table[key] = {}
                    self.origins[here] = origin
                if below:
                    self.origins.pop(here, None)
                self._lay(table[key], below, origin, here)
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
            there: Mapping[str, object] = self.table
            for part in parts:
                path.append(next((key for key in there if _same(key, part)), part))
                there = as_table(there.get(path[-1])) or {}
            text = EnvironmentText(environ[variable], variable=variable)
            value: object = literal(text)
            layer: dict[str, Any] = {path[-1]: value if isinstance(value, dict) else text}
            for key in reversed(path[:-1]):
                layer = {key: layer}
            self.lay(layer, Origin("environment", variable))

    def whence(self, key: Key) -> str:
        """Say where a setting was set: it, the list or table it stands in, or what stands below or beside it."""
        plain = tuple(part.partition("[")[0] if part.endswith("]") else part for part in key)
        for length in range(len(plain), 0, -1):
            if plain[:length] in self.origins:
                return self.origins[plain[:length]].at(plain)
        for above in (plain, plain[:-1]):
            for at, origin in self.origins.items():
                if above and at[: len(above)] == above and (above == plain or origin.kind == "file"):
                    return origin.at(plain)
        return ""


def _same(key: str, part: str) -> bool:
    """Variables have no upper case and no hyphen; the names in settings may."""
    return key.lower().replace("-", "_") == part


def nested(layer: Mapping[str, object], problems: list[tuple[Key, str]], at: Key = ()) -> dict[str, Any]:
    """Take dotted keys apart: ``{"retry.deadline": 5}`` is ``{"retry": {"deadline": 5}}``."""
    table: dict[str, Any] = {}
    for key, value in layer.items():
        path = _path(str(key), at)
        here = (*at, *path)
        below = as_table(value)
        _put(table, path, value if below is None else nested(below, problems, here), here, problems)
    return table


def _path(key: str, at: Key) -> list[str]:
    """The parts of a dotted key; a name that may have dots of its own, of a model or a node, is one part."""
    path: list[str] = []
    while True:
        here = (*at, *path)
        if has_names(here) and not (path and here[0] in ("clusters", "profiles") and len(here) == 1):
            return [*path, key]
        part, dot, key = key.partition(".")
        path.append(part)
        if not dot:
            return path


def has_names(at: Key) -> bool:
    """Whether the keys of a table are names of the user's choice."""
    return at in (("clusters",), ("profiles",), ("models",), ("web", "profiles")) or (
        len(at) > 2 and at[-1] in ("members", "options")
    )


def _put(table: dict[str, Any], path: list[str], value: object, at: Key, problems: list[tuple[Key, str]]) -> None:
    for key in path[:-1]:
        below = table.setdefault(key, {})
        if not isinstance(below, dict):
            problems.append((at, _TWICE))
            return
        table = cast("dict[str, Any]", below)
    there = table.get(path[-1])
    if isinstance(there, dict) and isinstance(value, dict):
        for key, one in cast("dict[str, object]", value).items():
            _put(cast("dict[str, Any]", there), [key], one, (*at, key), problems)
    elif there is not None:
        problems.append((at, _TWICE))
    else:
        table[path[-1]] = value


def dotted(key: Key) -> str:
    """A key as it is written in TOML."""
    return ".".join(part if _BARE.fullmatch(part) else f'"{part}"' for part in key)


def find_file(environ: Mapping[str, str], start: str) -> str | None:
    """Find the settings file: ``UNDAUNTED_CONFIG``, else the nearest one from `start` upwards."""
    if environ.get(VARIABLE):
        return absolute(environ[VARIABLE], start)
    for folder in upwards(start):
        path = absolute(FILE_NAME, folder)
        if is_file(path):
            return path
        path = absolute(PROJECT, folder)
        if is_file(path) and _has_ours(path):
            return path
    return None


def _has_ours(project: str) -> bool:
    """Whether a pyproject.toml has settings of ours; one without them may be broken, that is not our business."""
    try:
        text = read_text(project)
    except ValueError:
        return False
    if "undaunted" not in text:
        return False
    try:
        return TomlFile(project, text, TOOL).table() is not None
    except TomlError:
        return any(line.lstrip().startswith("[tool.undaunted") for line in text.splitlines())


def read_file(path: str, problems: list[tuple[Key, str]]) -> TomlFile | None:
    """Read a settings file; what is wrong with it as a file is added to `problems`."""
    shown = near_path(path)
    try:
        text = read_text(path)
    except ValueError as error:
        problems.append(((), f"cannot read the settings file {shown} ({error}); correct its name or its permissions."))
        return None
    is_project = path.endswith(PROJECT)
    try:
        file = TomlFile(path, text, TOOL if is_project else ())
    except TomlError as error:
        problems.append(((), f"the settings file {shown} is not TOML: {error}."))
        return None
    if not isinstance(file.table(), dict):
        problems.append(((), f"the settings file {shown} has no table [tool.undaunted]; add it, or name another file."))
        return None
    return file
