"""Somebody who reads plainly on a node that no fault touches: what the machine itself takes is seen there, too.

Times of a tenth of a second cannot be told from the pauses of a busy machine by themselves. A pause that a plain
connection to a healthy node makes in the same moment is none of ours.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

__all__ = ["Pause", "Witness", "longest_pause"]

PROGRAM = Path(__file__).parent / "programs" / "witness.py"

Pause = tuple[float, float]
"""When it began and when it ended, on `time.monotonic`, which all processes share."""


def longest_pause(ended_s: Sequence[float], since_s: float) -> Pause:
    """The longest time without anything that came back."""
    within = [since_s, *(at_s for at_s in sorted(ended_s) if at_s >= since_s)]
    return max(itertools.pairwise(within), key=lambda pause: pause[1] - pause[0])


class Witness:
    """Reads on a node of its own choice, in a process of its own, for as long as the block lasts.

    Args:
        url: The node.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended_s: list[float] = []

    def __enter__(self) -> Self:
        command = [sys.executable, str(PROGRAM), self._url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *exc_info: object) -> None:
        told, _ = self._process.communicate("", timeout=30)
        self._ended_s = json.loads(told)

    def paused_s(self, pause: Pause) -> float:
        """How long it paused at the longest in the time of somebody else's pause; to be asked behind the block."""
        began_s, ended_s = pause
        read_s = [began_s, *self._ended_s, ended_s]
        return max(min(after, ended_s) - max(before, began_s) for before, after in itertools.pairwise(sorted(read_s)))
