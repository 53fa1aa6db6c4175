"""`undaunted config`: shows the settings and where each came from, checks them, and makes them."""

from __future__ import annotations

import click

from undaunted.cli.config.init import init
from undaunted.cli.config.show import check, show

__all__ = ["config"]


@click.group(commands=[show, check, init])
def config() -> None:
    """Show, check and make the settings."""
