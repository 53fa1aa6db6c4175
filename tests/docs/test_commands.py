"""The reference of the command line is what the commands say now."""

from __future__ import annotations

from tests.docs.examples import ROOT

from undaunted.cli.reference import markdown


def test_the_reference_of_the_commands_is_fresh() -> None:
    found = (ROOT / "docs" / "_generated" / "commands.md").read_text(encoding="utf-8")
    remedy = "python -m undaunted.cli.reference > docs/_generated/commands.md"
    assert found == markdown(), f"The reference is stale. Run: {remedy}"
