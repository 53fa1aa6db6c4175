"""Promotes a standby when the primary has been gone for some time; a process of its own beside the servers of a lab.

It is what an operator or a cluster manager is elsewhere: without one, a PostgreSQL whose primary is gone has none.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError
from undaunted.lab.postgres import PostgresLab

if TYPE_CHECKING:
    from undaunted.lab.node import LabNode

__all__ = ["main", "watch"]


def watch(lab: PostgresLab, after_s: float) -> None:
    """Look after a lab until it ends.

    Args:
        lab: The lab.
        after_s: How long its primary may give no answer.
    """
    pause_s = min(0.2, after_s / 10)
    leader: LabNode | None = None
    gone_s: float | None = None
    told = ""
    while True:
        looked_s = time.monotonic()
        try:
            leader = lab.leader(leader)
            if leader is not None:
                gone_s = None
            elif gone_s is None:
                gone_s = looked_s
            elif looked_s - gone_s >= after_s and lab.promote_heir():
                gone_s = None
        except LabError as error:  # nobody can be promoted just now, or the lab is ending, and so are we
            if str(error) != told:
                told = str(error)
                print(told, flush=True)  # noqa: T201
        time.sleep(max(0.0, looked_s + pause_s - time.monotonic()))


def main() -> None:
    """Watch the lab that is named, promoting after so many seconds."""
    name, after_s = sys.argv[1:]
    watch(PostgresLab.attach(name), float(after_s))


if __name__ == "__main__":
    main()
