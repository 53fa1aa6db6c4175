"""The fenced examples of README and docs, found and prepared to be run.

A page is one program: its ``python`` blocks run in order in one namespace, in an empty folder, where the ``toml`` block
before them is ``undaunted.toml``. What a page cannot have run says so in a comment, which readers do not see:

- ``<!-- example: parse -->``: the next block is a fragment; it must only parse, and its imports must work.
- ``<!-- examples: mongodb -->``, once a page: its programs talk to a server. A real replica set is started, and each
  MongoDB cluster of the page's settings is that one.
- ``<!-- examples: cassandra -->``, once a page: each Cassandra cluster of its settings is a fake one, `FakeCassandra`,
  with the keyspace that they name.
- ``<!-- examples: sqlalchemy -->``, once a page: a real PostgreSQL primary with standbys is started, and each
  SQLAlchemy cluster of the page's settings is a database of its own there.
- ``<!-- examples: pytest -->``, once a page: its ``python`` blocks are a file of tests, which pytest runs.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[a-z]+)\b[^\n]*\n(?P<body>.*?)^(?P=indent)(?P=fence)`* *$",
    re.MULTILINE | re.DOTALL,
)
_PARSE_ONLY = re.compile(r"<!-- example: parse -->\s*\Z")
_NEEDS = re.compile(r"<!-- examples: (?P<what>[a-z]+) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One fenced block."""

    path: Path
    line: int
    language: str
    text: str
    parse_only: bool

    @property
    def where(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    def tree(self) -> ast.Module:
        """The block as Python, its lines numbered as in the page."""
        return ast.parse("\n" * self.line + self.text, filename=str(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page and its examples."""

    path: Path
    examples: tuple[Example, ...]
    needs: frozenset[str]

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))


def read(path: Path, text: str | None = None) -> Page:
    """Find the examples of a page."""
    text = path.read_text(encoding="utf-8") if text is None else text
    found: list[Example] = []
    for match in _FENCE.finditer(text):
        indent = match["indent"]
        body = "".join(line.removeprefix(indent) for line in match["body"].splitlines(keepends=True))
        found.append(
            Example(
                path=path,
                line=text.count("\n", 0, match.start()) + 1,
                language=match["language"],
                text=body,
                parse_only=bool(_PARSE_ONLY.search(text, 0, match.start())),
            )
        )
    return Page(path=path, examples=tuple(found), needs=frozenset(match["what"] for match in _NEEDS.finditer(text)))


def pages() -> list[Page]:
    """README, and every other page that has an example in Python or TOML."""
    readme = ROOT / "README.md"
    others = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [read(path) for path in others if "_build" not in path.parts]
    return [read(readme), *(p for p in found if any(e.language in {"python", "toml"} for e in p.examples))]
