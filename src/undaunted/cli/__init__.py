"""The command line: ``undaunted``.

May import everything; each command's module is imported when the command is named, and click and rich not before.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import click

    from undaunted.cli.source import Source

__all__ = ["main", "run"]


def main() -> None:
    """Run the command that the arguments name; the entry point ``undaunted``."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], *, source: Source | None = None, group: click.Group | None = None) -> int:
    """Run the command that the arguments name, as a framework's command line does for its own ``undaunted``.

    Args:
        arguments: Those after the program's name, such as ``["status", "--json"]``.
        source: Where the settings are found, and how the program is called; default: file and environment alone.
        group: The commands, such as `undaunted.cli.group.commands` with more added; default: ours with this source.

    Returns:
        The exit code: 0 fine, 1 degraded, 2 down (or a command line that is not understood), 3 wrong settings.
    """
    missing = [name for name in ("click", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.stderr.write(f"The command line needs {' and '.join(missing)}: pip install 'undaunted[cli]'.\n")
        return 1
    from undaunted.cli.group import commands  # noqa: PLC0415 - needs click
    from undaunted.cli.source import Source  # noqa: PLC0415 - reads the settings

    program = (source or Source()).program
    quiet = logging.NullHandler()  # a command says what it has found; a driver's warnings would stand in between
    logging.getLogger().addHandler(quiet)
    try:
        (group or commands(source)).main(list(arguments), prog_name=program)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    finally:
        logging.getLogger().removeHandler(quiet)
