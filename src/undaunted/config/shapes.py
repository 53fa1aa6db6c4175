"""The kinds of values that settings have; each names what it expects when it found something else."""

from __future__ import annotations

import math
import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar, cast

from undaunted.config.files import read_text, reason_unreadable
from undaunted.config.raw import found, is_reference
from undaunted.config.secrets import Secret
from undaunted.config.structure import EnvironmentText, Key, Reader, Shape, near
from undaunted.core.durations import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Choice", "Duration", "FilePath", "Number", "SecretText", "Switch", "Text", "Whole"]

S = TypeVar("S", bound=str)


class Text(Shape[str]):
    """A string that is not empty."""

    kind = "string"
    is_text = True

    def _read(self, value: object, at: Key, reader: Reader) -> str | None:
        if isinstance(value, str) and value.strip():
            return str(value)
        reader.problem(at, f"expected a string, found {found(value)}.")
        return None


class Choice(Shape[S]):
    """One of a few words."""

    is_text = True

    def __init__(self, choices: tuple[S, ...]) -> None:
        self.choices = choices
        self.kind = "one of " + ", ".join(f'"{choice}"' for choice in choices)

    def _read(self, value: object, at: Key, reader: Reader) -> S | None:
        for choice in self.choices:
            if value == choice:
                return choice
        reader.problem(at, f"found {found(value)}; {near(value, self.choices)}Give {self.kind}.")
        return None


class Switch(Shape[bool]):
    """true or false."""

    kind = "true or false"

    def _read(self, value: object, at: Key, reader: Reader) -> bool | None:
        if isinstance(value, bool):
            return value
        reader.problem(at, f"expected true or false, without quotes; found {found(value)}.")
        return None


class Number(Shape[float]):
    """A finite number within bounds, both included unless `above`."""

    def __init__(self, low: float, high: float = math.inf, *, above: bool = False) -> None:
        self.low, self.high, self.above = low, high, above
        self.kind = f"number {'above' if above else 'from'} {low:g}" + ("" if high == math.inf else f" to {high:g}")

    def _read(self, value: object, at: Key, reader: Reader) -> float | None:
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and value < sys.float_info.max
            and not (self.above and value == self.low)
        ):
            return float(value)
        reader.problem(at, f"expected a {self.kind}, found {found(value)}.")
        return None


class Whole(Shape[int]):
    """An integer within bounds, both included."""

    def __init__(self, low: int, high: float = math.inf) -> None:
        self.low, self.high = low, high
        self.kind = f"integer from {low}" + ("" if high == math.inf else f" to {high:g}")

    def _read(self, value: object, at: Key, reader: Reader) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high:
            return value
        reader.problem(at, f"expected an {self.kind}, found {found(value)}.")
        return None


class Duration(Shape[float]):
    """A positive length of time: ``"50ms"``, ``"5s"``, ``"1m"`` or a number of seconds."""

    kind = "duration"

    def __init__(self, at_least_s: float = 0.0) -> None:
        self.at_least_s = at_least_s

    def _read(self, value: object, at: Key, reader: Reader) -> float | None:
        try:
            length_s = seconds(cast("Any", value))
        except (TypeError, ValueError):
            reader.problem(
                at, f'found {found(value)}; give a positive duration such as "50ms", "5s" or 5, which means seconds.'
            )
            return None
        if length_s <= 0:
            reader.problem(at, f"found {found(value)}; a duration must be longer than nothing.")
        elif length_s < self.at_least_s:
            reader.problem(at, f"found {found(value)}; it must be {self.at_least_s:g} s or more.")
        else:
            return length_s
        return None


class FilePath(Shape[str]):
    """A file that can be read; a relative path starts in the folder of the settings file that names it."""

    kind = "path of a file"
    is_text = True

    def _read(self, value: object, at: Key, reader: Reader) -> str | None:
        # code and frameworks give paths as objects too
        name = cast("object", os.fspath(cast("Any", value))) if hasattr(value, "__fspath__") else value
        if not isinstance(name, str) or not name:
            reader.problem(at, f"expected the path of a file, found {found(name)}.")
            return None
        path = reader.path(at, name)
        reason = reason_unreadable(path)
        if reason is None:
            return path
        reader.problem(at, f"cannot read the file {path} ({reason}); correct the path or the permissions.")
        return None


class SecretText(Shape[Secret]):
    """A secret, from an environment variable or a file; a plain string is refused and not shown."""

    kind = 'secret: { env = "NAME" } or { file = "PATH" }'
    is_text = True

    def _read(self, value: object, at: Key, reader: Reader) -> Secret | None:
        if isinstance(value, EnvironmentText) and value:  # it is where a secret may be: in the environment
            return Secret(str(value), origin=f"environment variable {value.variable}")
        if not is_reference(value):
            reader.problem(
                at, 'a secret is never written in the settings; give { env = "VARIABLE" } or { file = "PATH" }.'
            )
            return None
        reference = cast("Mapping[str, object]", value)
        if len(reference) > 1:
            reader.problem(at, "names both an environment variable and a file; give one of them.")
            return None
        [(how, name)] = reference.items()
        if not isinstance(name, str) or not name:
            wanted = "the name of an environment variable" if how == "env" else "the path of a file"
            reader.problem((*at, how), f"expected {wanted}, found {found(name)}.")
            return None
        return _variable(name, at, reader) if how == "env" else _content(name, at, reader)


def _variable(name: str, at: Key, reader: Reader) -> Secret | None:
    if reader.environ.get(name):
        return Secret(reader.environ[name], origin=f"environment variable {name}")
    state = "empty" if name in reader.environ else "not set"
    reader.problem(at, f"the environment variable {name} is {state}; set it for this process.")
    return None


def _content(name: str, at: Key, reader: Reader) -> Secret | None:
    path = reader.path(at, name)
    try:
        text = read_text(path).rstrip("\r\n")
    except ValueError as error:
        reader.problem(at, f"cannot read the file {path} ({error}); correct the path or the permissions.")
        return None
    if not text:
        reader.problem(at, f"the file {path} is empty; write the secret into it.")
        return None
    return Secret(text, origin=f"file {path}")
