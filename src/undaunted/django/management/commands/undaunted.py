"""`manage.py undaunted …`: the command line of undaunted with Django's settings and models, and `sync` beside it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from undaunted.cli import run
from undaunted.cli.source import Source
from undaunted.django.conf import NAME, WHERE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.management.base import CommandParser

__all__ = ["Command"]


class Command(BaseCommand):
    """Hands its arguments on, so that ``--json`` and ``--help`` mean here what they mean there."""

    help = "Clusters: status, check, config, provision, sync, lab. `manage.py undaunted --help` lists them."
    requires_system_checks = ()  # these commands are what one mends the settings with

    def run_from_argv(self, argv: list[str]) -> None:
        """Run the command and leave with its exit code: 0 fine, 1 degraded, 2 down, 3 wrong settings."""
        sys.exit(_run(_without_djangos(argv[2:]), program=f"{os.path.basename(argv[0])} {argv[1]}"))  # noqa: PTH119

    def add_arguments(self, parser: CommandParser) -> None:
        """For ``call_command("undaunted", "status", "--json")``."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *_: object, **options: Any) -> None:
        """Run the command.

        Raises:
            CommandError: Its exit code is not 0; ``returncode`` has it.
        """
        code = _run(options["arguments"], program="manage.py undaunted")
        if code:
            raise CommandError(f"undaunted {' '.join(options['arguments'])}: exit code {code}", returncode=code)


def _run(arguments: Sequence[str], *, program: str) -> int:
    source = Source(program=program, framework=lambda: getattr(settings, NAME, None), framework_name=WHERE)
    try:
        from undaunted.cli.group import commands  # noqa: PLC0415  # needs click
        from undaunted.cli.sync import sync  # noqa: PLC0415
    except ImportError:
        return run(arguments, source=source)  # which says what is missing
    group = commands(source)
    group.add_command(sync)
    return run(arguments, source=source, group=group)


def _without_djangos(arguments: Sequence[str]) -> list[str]:
    """The arguments without those that `manage.py` has acted on before it came here."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    return parser.parse_known_args(list(arguments))[1]
