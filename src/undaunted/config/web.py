"""What the parts for Django and Flask do: the section ``[web]``."""

# ruff: noqa: RUF009  (`setting` makes a dataclass field)

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast, get_args

from undaunted.config.raw import as_table, found
from undaunted.config.shapes import Choice, Duration, Text
from undaunted.config.structure import Key, Reader, Section, Shape, setting

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Public", "ReadYourWrites", "WebSettings"]

Public = Literal["live", "ready", "status", "metrics", "page"]
ReadYourWrites = Literal["cookie", "session", "request", "off"]

_PUBLIC: Choice[Public] = Choice(cast("tuple[Public, ...]", get_args(Public)))
_READ_YOUR_WRITES: Choice[ReadYourWrites] = Choice(get_args(ReadYourWrites))

_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class _Publics(Shape[tuple[Public, ...]]):
    """A list of addresses that anybody may read, each once."""

    kind = "list of " + ", ".join(f'"{choice}"' for choice in get_args(Public))

    def _read(self, value: object, at: Key, reader: Reader) -> tuple[Public, ...] | None:
        if not isinstance(value, (list, tuple)):
            reader.problem(at, f"expected a {self.kind}; found {found(value)}.")
            return None
        given = cast("list[object]", value)
        read: list[Public | None] = [
            _PUBLIC.read(one, (*at[:-1], f"{at[-1]}[{i}]"), reader) for i, one in enumerate(given)
        ]
        kept: dict[Public, None] = dict.fromkeys(one for one in read if one is not None)
        return tuple(kept)


class _Patterns(Shape[Mapping[str, str]]):
    """Profiles by the regular expression that finds the path; the first that does holds."""

    kind = "profile by pattern of the path"

    def _read(self, value: object, at: Key, reader: Reader) -> Mapping[str, str] | None:
        table = as_table(value)
        if table is None:
            reader.problem(at, f"expected a table of patterns, found {found(value)}.")
            return None
        read: dict[str, str] = {}
        for pattern, profile in table.items():
            here = (*at, pattern)
            try:
                re.compile(pattern)
            except re.error as error:
                reader.problem(here, f"is no regular expression ({error}); correct it.")
                continue
            name = Text().read(profile, here, reader)
            if name is not None:
                read[pattern] = name
        return read


class _CookieName(Text):
    """The name of a cookie."""

    kind = "name of a cookie"

    def _read(self, value: object, at: Key, reader: Reader) -> str | None:
        if isinstance(value, str) and _COOKIE.fullmatch(value):
            return str(value)
        reader.problem(at, f"found {found(value)}, which cannot name a cookie; give letters, digits, - and _.")
        return None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class WebSettings(Section):
    """What the parts for Django and Flask do."""

    public: tuple[Public, ...] = setting(
        _Publics(),
        'What a caller without a login may read: "live", "ready", "status", "metrics", "page" and with it "status".',
        default=("live", "ready"),
    )
    profile: str = setting(Text(), "Profile of a request, whose deadline is the request's.", default="web")
    profiles: Mapping[str, str] = setting(
        _Patterns(),
        'Profile by regular expression, sought in the path: `{ "^/reports/" = "worker" }`. The first found holds.',
        default={},
    )
    read_your_writes: ReadYourWrites = setting(
        _READ_YOUR_WRITES,
        "How far a visitor's reads see his own writes: over the next requests by a signed cookie or by the framework's "
        "session, within one request, or not at all.",
        default="cookie",
    )
    retry_after: float = setting(
        Duration(), "What an answer 503 gives as `Retry-After`, in whole seconds.", default=2.0
    )
    cookie: str = setting(_CookieName(), "Name of that cookie.", default="undaunted")

    def profile_of(self, path: str) -> str:
        """The profile of a request.

        Args:
            path: The path of its URL, from the leading ``/``.
        """
        return next((name for pattern, name in self.profiles.items() if re.search(pattern, path)), self.profile)

    def named_profiles(self) -> Iterator[tuple[Key, str]]:
        """Every profile that is named here, and where."""
        yield ("profile",), self.profile
        for pattern, name in self.profiles.items():
            yield ("profiles", pattern), name
