"""What every statement is made of: a cursor over tokens, names, terms and types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from undaunted.testing.cql.errors import Malformed
from undaunted.testing.cql.statements import (
    Bind,
    Braces,
    Brackets,
    Call,
    Constant,
    Name,
    Parentheses,
    TypeName,
)
from undaunted.testing.cql.tokens import tokenize

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeVar

    from undaunted.testing.cql.statements import Term
    from undaunted.testing.cql.tokens import Token

    T = TypeVar("T")

__all__ = ["Reader"]

_WORDS: dict[str, tuple[Any, Any]] = {
    "NULL": ("null", None),
    "TRUE": ("boolean", True),
    "FALSE": ("boolean", False),
    "NAN": ("number", "nan"),
    "INFINITY": ("number", "inf"),
}


class Reader:
    """Goes through the tokens of a text.

    Args:
        text: CQL.

    Raises:
        Malformed: From any read, where something else stands there.
    """

    def __init__(self, text: str) -> None:
        self._tokens = tokenize(text)
        self._at = 0
        self.binds = 0

    @property
    def here(self) -> Token:
        """The token that is next."""
        return self._tokens[self._at]

    def step(self) -> Token:
        """Take it."""
        token = self.here
        self._at += 1
        return token

    def is_next(self, *words: str) -> bool:
        """Whether these words or marks come next."""
        if self._tokens[self._at].upper != words[0]:
            return False
        tokens = self._tokens[self._at : self._at + len(words)]
        return len(words) == 1 or [token.upper for token in tokens] == list(words)

    def accept(self, *words: str) -> bool:
        """Take them if they come next."""
        found = self.is_next(*words)
        if found:
            self._at += len(words)
        return found

    def expect(self, *words: str) -> None:
        """Take them."""
        for word in words:
            if not self.accept(word):
                raise self.wrong(f"'{word}'")

    def wrong(self, wanted: str) -> Malformed:
        """The mistake at this place."""
        return Malformed(f"line 1:{self.here.at} mismatched input '{self.here.text}' expecting {wanted}")

    def name(self) -> str:
        """A name; in lower case unless quoted."""
        token = self.here
        if token.kind == "quoted":
            return self.step().text
        if token.kind != "word":
            raise self.wrong("a name")
        return self.step().text.lower()

    def follows_itself(self, column: str) -> bool:
        """Whether the next token is this column's name, and not a function or a constant of that spelling."""
        token = self.here
        name = token.text if token.kind == "quoted" else token.text.lower()
        return name == column and self._tokens[self._at + 1].upper in {"+", "-"}

    def sign(self) -> Literal["+", "-"]:
        """A plus or a minus."""
        if self.accept("+"):
            return "+"
        self.expect("-")
        return "-"

    def full_name(self) -> Name:
        """A name with or without its keyspace before it."""
        first = self.name()
        return Name(self.name(), first) if self.accept(".") else Name(first)

    def listed(self, read: Callable[[], T], close: str) -> tuple[T, ...]:
        """Things between commas up to and with the mark that closes them; the one that opens them is taken."""
        found: list[T] = []
        while not self.accept(close):
            if found:
                self.expect(",")
            found.append(read())
        return tuple(found)

    def several(self, read: Callable[[], T]) -> tuple[T, ...]:
        """One or more things between commas."""
        found = [read()]
        while self.accept(","):
            found.append(read())
        return tuple(found)

    def bind(self) -> Bind:
        """A marker, behind its ``?`` or ``:``."""
        self.binds += 1
        return Bind(self.binds - 1)

    def term(self) -> Term:
        """One term."""
        if self.accept("["):
            return Brackets(self.listed(self.term, "]"))
        if self.accept("{"):
            return Braces(self.listed(self._brace, "}"))
        if self.accept("("):
            return self._parentheses()
        if self.accept("?"):
            return self.bind()
        if self.accept(":"):
            marker = self.bind()
            return Bind(marker.place, self.name())
        return self._constant()

    def _parentheses(self) -> Term:
        start = self._at
        items = self.listed(self.term, ")") if self.here.kind != "word" or self.here.upper in _WORDS else None
        if items is not None:
            return Parentheses(items)
        self._at = start  # a type before a term: the column's type decides, so the hint is read and left
        self.type()
        self.expect(")")
        return self.term()

    def _brace(self) -> tuple[Term | str, Term | None]:
        token = self.here
        is_name = token.kind == "quoted" or (token.kind == "word" and token.upper not in _WORDS)
        if is_name and self._tokens[self._at + 1].upper == ":":
            name = self.name()
            self.expect(":")
            return name, self.term()
        key = self.term()
        return key, self.term() if self.accept(":") else None

    def _constant(self) -> Term:
        negative = self.accept("-")
        token = self.step()
        sign = "-" if negative else ""
        if token.upper in _WORDS:
            kind, value = _WORDS[token.upper]
            return Constant(kind, sign + value if isinstance(value, str) else value)
        if token.kind == "integer":
            return Constant("integer", int(sign + token.text))
        if token.kind in {"number", "duration"}:
            return Constant("number" if token.kind == "number" else "duration", sign + token.text)
        if not negative and token.kind in {"string", "blob", "uuid"}:
            return Constant(token.kind, token.text)  # type: ignore[arg-type]
        if not negative and token.kind == "word" and self.accept("("):
            return Call(token.text.lower(), self.listed(self.term, ")"))
        self._at -= 1
        raise self.wrong("a term")

    def type(self) -> TypeName:
        """A type."""
        token = self.here
        if token.kind == "string":
            raise Malformed(f"custom types are not known to the fake: '{token.text}'")
        name = self.full_name()
        return TypeName(name, self.several_types() if self.accept("<") else ())

    def several_types(self) -> tuple[TypeName, ...]:
        """Types between commas, up to and with ``>``."""
        return self.listed(self.type, ">")

    def end(self) -> None:
        """Nothing may follow but a semicolon."""
        while self.accept(";"):
            pass
        if self.here.kind != "end":
            raise self.wrong("EOF")
