"""Where running labs are found: one directory a lab, in a directory that only its user may read.

A lab is running exactly while its guardian holds the lock in the lab's directory. The kernel gives a lock back when
its holder ends, however it ends, so a stale directory is told from a living one without trusting a process id.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["LOCK", "RAM", "RECORD", "home", "is_held", "locked", "running", "write_record"]

LOCK = "lock"
RECORD = "lab.json"
RAM = "ram"  # a link to the directory on a RAM disk, of a lab that has one
_LOCK_TIMEOUT_S = 60.0


def home() -> Path:
    """The directory of all labs of this user: ``UNDAUNTED_LAB_HOME``, or one in the directory for temporary files.

    Raises:
        LabError: It cannot be made, or belongs to somebody else.
    """
    named = os.environ.get("UNDAUNTED_LAB_HOME")
    usual = Path(tempfile.gettempdir()) / f"undaunted-lab-{os.getuid()}"
    path = Path(named).expanduser().absolute() if named else usual
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise LabError(
            f"The directory of the labs, {path}, cannot be made ({error.strerror}); "
            "set UNDAUNTED_LAB_HOME to one that can."
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise LabError(
            f"The directory of the labs, {path}, belongs to another user or is a link; "
            "remove it, or set UNDAUNTED_LAB_HOME to a directory of your own."
        )
    if stat.S_IMODE(found.st_mode) != 0o700:
        path.chmod(0o700)
    return path


@contextmanager
def locked(directory: Path) -> Generator[None]:
    """Hold the home directory for a moment: names and ports are given out one lab at a time.

    Raises:
        LabError: Another process has held it for a minute.
    """
    handle = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LabError(
                        f"Another process has held {directory / '.lock'} for a minute; is one frozen that starts a lab?"
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


def is_held(lock: Path) -> bool:
    """Whether a living process holds this lock. Ask only inside `locked`, or two askers see each other."""
    try:
        handle = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def running(directory: Path) -> dict[str, dict[str, Any]]:
    """The record of every running lab, by name; what dead ones left behind is removed. Call it inside `locked`."""
    found: dict[str, dict[str, Any]] = {}
    for place in sorted(directory.iterdir()):
        if not place.is_dir():
            continue
        if not is_held(place / LOCK):
            if (place / RAM).is_symlink():
                shutil.rmtree((place / RAM).readlink(), ignore_errors=True)
            shutil.rmtree(place, ignore_errors=True)
            continue
        try:
            found[place.name] = json.loads((place / RECORD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            found[place.name] = {}  # it is just being started: no ports yet, and its starter waits for this lock
    return found


def write_record(place: Path, record: dict[str, Any]) -> None:
    """Write a lab's record so that a reader sees the old one or the new one, whole."""
    fresh = place / f"{RECORD}.{os.getpid()}"
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
    fresh.replace(place / RECORD)
