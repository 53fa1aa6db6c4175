"""From plain tables to the schema's dataclasses, with every mistake reported and none raised midway.

A `Shape` reads one kind of value. A dataclass field made with `setting` carries its shape and its
documentation; `Table` reads a whole dataclass. A value that is wrong is reported to the `Reader` and
its field keeps its default, so that the rest is still looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from undaunted.config.files import absolute
from undaunted.config.raw import as_table, found
from undaunted.config.toml import literal

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "EnvironmentText",
    "Info",
    "Key",
    "Reader",
    "Section",
    "Shape",
    "Table",
    "Tables",
    "infos",
    "near",
    "setting",
]

Key = tuple[str, ...]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class EnvironmentText(str):
    """A value as an environment variable gives it: text, until the shape that reads it wants more."""

    __slots__ = ("variable",)

    variable: str

    def __new__(cls, text: str, *, variable: str) -> Self:
        """Keep the variable's name with its text."""
        made = super().__new__(cls, text)
        made.variable = variable
        return made


class Reader:
    """What shapes read with.

    Args:
        environ: Where the variables of ``{ env = "X" }`` are looked up.
        folders: For each setting that came from a file, the folder of that file; relative paths start there.
    """

    __slots__ = ("environ", "folders", "problems")

    def __init__(self, environ: Mapping[str, str], folders: Mapping[Key, str] | None = None) -> None:
        self.environ = environ
        self.folders = folders or {}
        self.problems: list[tuple[Key, str]] = []

    def problem(self, at: Key, message: str) -> None:
        """Report one mistake; `message` says what was found and what to do."""
        self.problems.append((at, message))

    def is_reported(self, at: Key) -> bool:
        """Whether a mistake of this setting, or of one below it, has been reported."""
        return any(key[: len(at)] == at for key, _ in self.problems)

    def is_meant(self, at: Key, name: str) -> bool:
        """Whether a misspelt key in the table `at` was probably `name`, which is then not missing as well."""
        hint = f"did you mean '{name}'?"
        return any(key[:-1] == at and hint in message for key, message in self.problems if key)

    def path(self, at: Key, name: str) -> str:
        """Make a file's path absolute."""
        return absolute(name, next((folder for key, folder in self.folders.items() if key[: len(at)] == at), None))


class Shape(Generic[T_co]):
    """Reads one kind of value.

    Attributes:
        kind: What it is called in the reference and in messages, such as ``"duration"``.
        is_text: Whether text from the environment is taken as it is, instead of as a TOML value.
    """

    kind: str = ""
    is_text: bool = False

    def read(self, value: object, at: Key, reader: Reader) -> T_co | None:
        """Return the value in the program's form; None when it is wrong, which has then been reported.

        Text of the environment is first tried as a TOML value, unless text is what is wanted.
        """
        if isinstance(value, EnvironmentText) and not self.is_text:
            value = literal(value)
        return self._read(value, at, reader)

    def _read(self, value: object, at: Key, reader: Reader) -> T_co | None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Info:
    """What the schema knows of one setting.

    Attributes:
        shape: How it is read.
        doc: What it means, in a sentence.
        default: What holds when nothing sets it.
        required: Whether it must be given.
        also: Names that it bears elsewhere; they lead to a suggestion and nothing more.
    """

    shape: Shape[Any]
    doc: str
    default: object
    required: bool
    also: tuple[str, ...]


def setting(
    shape: Shape[T], doc: str, *, default: T, effective: object = None, required: bool = False, also: Iterable[str] = ()
) -> T:
    """Make a dataclass field that the structurer reads.

    Args:
        shape: How its value is read.
        doc: What it means; one sentence for the reference.
        default: The field's default.
        effective: What holds in the end where the default is None because the setting is inherited.
        required: Whether leaving it out is a mistake.
        also: Names that it bears elsewhere, which are answered with a suggestion.
    """
    info = Info(shape, doc, default if effective is None else effective, required, tuple(also))
    if isinstance(default, dict):  # the only default that is not hashable, and always empty
        return cast("T", cast("Any", field(default_factory=dict, metadata={"info": info})))
    return cast("T", cast("Any", field(default=default, metadata={"info": info})))


def infos(cls: type[Section]) -> dict[str, Info]:
    """The settings of a dataclass, by name, in the order in which they are declared."""
    return {f.name: f.metadata["info"] for f in fields(cast("Any", cls)) if "info" in f.metadata}


class Section:
    """Base of the dataclasses of settings: equal by their values, and shown by what differs from the defaults.

    Written once instead of made for each of them, since that would be a third of the time that importing them takes.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(cast("Any", self)))

    def __hash__(self) -> int:
        return hash(type(self))  # equal ones share it, and nobody keeps many of them

    def __repr__(self) -> str:
        plain = type(self)()
        names = [f.name for f in fields(cast("Any", self)) if getattr(self, f.name) != getattr(plain, f.name)]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    def mistakes(self) -> Iterable[tuple[Key, str]]:
        """Yield what is wrong between the fields, by key."""
        return ()


class Table(Shape[T_co]):
    """A dataclass of settings."""

    kind = "table"

    def __init__(self, cls: type[T_co], **given: object) -> None:
        self.cls = cast("type[Section]", cls)
        self.given = given

    def _read(self, value: object, at: Key, reader: Reader) -> T_co | None:
        table = as_table(value)
        if table is None:
            text = "a string" if isinstance(value, str) else found(value)
            reader.problem(at, f"expected a table with keys of {', '.join(infos(self.cls))}; found {text}.")
            return None
        known = infos(self.cls)
        for key in table:
            if key not in known:
                reader.problem((*at, key), _unknown(key, self.cls))
        values = dict(self.given)
        for name, info in known.items():
            given = table.get(name)
            if given is not None:
                value = info.shape.read(given, (*at, name), reader)
                if value is not None:
                    values[name] = value
            elif info.required and not reader.is_meant(at, name):
                reader.problem((*at, name), f"is missing; {info.doc}")
        made = self.cls(**values)
        for path, message in made.mistakes():
            if not reader.is_reported((*at, *path)):  # what was wrong by itself looks as if it were missing
                reader.problem((*at, *path), message)
        return cast("T_co", cast("Any", made))


class Tables(Shape[Mapping[str, T_co]]):
    """A table whose keys are names of the user's own choice."""

    def __init__(self, each: Shape[T_co]) -> None:
        self.each = each
        self.kind = f"{each.kind} by name"

    def _read(self, value: object, at: Key, reader: Reader) -> Mapping[str, T_co] | None:
        table = as_table(value)
        if table is None:
            reader.problem(at, f"expected a table of names, found {found(value)}.")
            return None
        made = {name: self.each.read(one, (*at, name), reader) for name, one in table.items()}
        return {name: one for name, one in made.items() if one is not None}


def near(word: object, choices: Iterable[str]) -> str:
    """``did you mean 'x'? `` for the nearest of the choices, or nothing."""
    import difflib  # noqa: PLC0415 only mistakes pay for it

    plain = {_plain(choice): choice for choice in choices}
    match = difflib.get_close_matches(_plain(str(word)), plain, n=1, cutoff=0.6)
    return f"did you mean '{plain[match[0]]}'? " if match else ""


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _unknown(key: str, cls: type[Section]) -> str:
    """Say which key was meant: one of this table, a foreign name for one, or one of the tables below."""
    known = infos(cls)
    names = {_plain(other): name for name, info in known.items() for other in info.also}
    for name, info in known.items():
        if isinstance(info.shape, Table):
            for inner, inner_info in infos(info.shape.cls).items():
                for word in (inner, *inner_info.also):
                    names.setdefault(_plain(word), f"{name}.{inner}")
    exact = names.get(_plain(key))
    hint = f"did you mean '{exact}'? " if exact else near(key, known)
    return f"unknown setting; {hint}Allowed here: {', '.join(known)}."
