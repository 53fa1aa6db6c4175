"""Reads a server's log for the lines that say why it ended."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["remedy", "tail"]

_LINES = 4
_BYTES = 65_536
_SCARCE_BYTES = 1 << 20
_LIBRARY = re.compile(r"error while loading shared libraries: (\S+?):")


def tail(log: Path, *, only_grave: bool = True) -> list[str]:
    """The last lines of a log; a structured line as one sentence.

    Args:
        log: The log.
        only_grave: Whether lines that report an error are preferred to what stands around them.
    """
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    told = [_told(line) for line in lines if line.strip()]
    grave = [text for is_grave, text in told if is_grave and only_grave]
    return (grave or [text for _, text in told])[-_LINES:]


def remedy(lines: list[str], *, place: Path | None = None) -> str:
    """What to do, where the lines or the disk that `place` is on say it clearly; else nothing.

    A server on a full disk often cannot even log that it is full.
    """
    text = "\n".join(lines)
    missing = _LIBRARY.search(text)
    if missing is not None:
        return f" The system library {missing[1]} is missing; install the package that carries it."
    if "No space left on device" in text or "ENOSPC" in text or (place is not None and _is_full(place)):
        return " The disk is full; make room, or set UNDAUNTED_LAB_HOME to a directory on another one."
    return ""


def _is_full(place: Path) -> bool:
    return place.exists() and shutil.disk_usage(place).free < _SCARCE_BYTES


def _told(line: str) -> tuple[bool, str]:
    try:
        entry: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    except ValueError:
        entry = {}
    if "msg" not in entry:
        return ("error" in line.lower(), line[:300])
    attributes = json.dumps(entry.get("attr", {}), default=str)[:300]
    return (entry.get("s") in {"E", "F"}, f"{entry.get('s')} {entry['msg']} {attributes}")
