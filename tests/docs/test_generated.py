"""What docs include out of the schema is what the schema says now, and every page is linked from somewhere."""

from __future__ import annotations

import re

from tests.docs.examples import ROOT

from undaunted import cassandra, errors, events, sqlalchemy
from undaunted.config.reference import markdown
from undaunted.mongodb import errors as mongodb_errors

DOCS = ROOT / "docs"


def test_the_settings_reference_is_fresh() -> None:
    found = (DOCS / "_generated" / "settings.md").read_text(encoding="utf-8")
    remedy = "python -m undaunted.config.reference > docs/_generated/settings.md"
    assert found == markdown(), f"The reference is stale. Run: {remedy}"


def test_every_event_is_in_the_table() -> None:
    text = (DOCS / "reference" / "events.md").read_text(encoding="utf-8")
    missing = {name for name in events.__all__ if name not in {"Bus", "Event"} and f"`{name}`" not in text}
    assert not missing


def is_error(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, errors.UndauntedError)


def test_every_error_is_in_the_table() -> None:
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    public = {name for module in (cassandra, sqlalchemy) for name in module.__all__ if is_error(getattr(module, name))}
    names = {*errors.__all__, *mongodb_errors.__all__, *public} - {"Problem", "UndauntedError", "error_classes"}
    assert not {name for name in names if f"`{name}`" not in rows}


def test_the_decisions_are_numbered_without_gaps() -> None:
    pages = sorted((DOCS / "decisions").glob("0*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for number, page in enumerate(pages, start=1):
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {number}. "), page.name
        assert [f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")] == [True] * 3, page.name


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]
