"""Cuts a text of CQL into tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from undaunted.testing.cql.errors import Malformed

__all__ = ["Token", "tokenize"]

_PATTERN = re.compile(
    r"""
    (?P<skip>\s+|--[^\n]*|//[^\n]*|/\*.*?\*/)
    |(?P<string>'(?:[^']|'')*'|\$\$.*?\$\$)
    |(?P<quoted>"(?:[^"]|"")+")
    |(?P<uuid>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})
    |(?P<blob>0[xX][0-9a-fA-F]*(?![0-9a-zA-Z_]))
    |(?P<number>\d+\.\d*(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
    |(?P<duration>(?:\d+(?:mo|ms|us|µs|ns|[yYwWdDhHmMsS]))+(?![0-9a-zA-Z_]))
    |(?P<integer>\d+)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>\?|<=|>=|!=|\+=|-=|[-+*/%<>=()\[\]{},.;:])
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: Which group of the pattern.
        text: As it is written; of strings and quoted names what they stand for.
        at: Where it begins.
        upper: A word or mark in capitals; of all else nothing, so that a string is never taken for a word.
    """

    kind: str
    text: str
    at: int
    upper: str


def tokenize(text: str) -> list[Token]:
    """All tokens, with one of the kind ``"end"`` behind them.

    Raises:
        Malformed: Something is no token.
    """
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at)
        if match is None:
            raise Malformed(f"line 1:{at} no viable alternative at character '{text[at]}'")
        kind = match.lastgroup or ""
        if kind != "skip":
            written = match.group()
            upper = written.upper() if kind in {"word", "mark"} else ""
            found.append(Token(kind, _meaning(kind, written), at, upper))
        at = match.end()
    found.append(Token("end", "<EOF>", at, ""))
    return found


def _meaning(kind: str, written: str) -> str:
    if kind == "string":
        return written[2:-2] if written.startswith("$$") else written[1:-1].replace("''", "'")
    if kind == "quoted":
        return written[1:-1].replace('""', '"')
    return written
