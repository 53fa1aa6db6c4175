"""The command line: ``undaunted``.

May import everything; each command's module is imported when the command is named, and click and rich not before.
"""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command that the arguments name; the entry point ``undaunted``."""
    missing = [name for name in ("click", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f"The command line needs {' and '.join(missing)}: pip install 'undaunted[cli]'.")
    from undaunted.cli.group import undaunted  # noqa: PLC0415 - needs click

    undaunted(prog_name="undaunted")
