"""What is fetched or made once and used by every lab of this user: the directory, and who may write to it."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["cache", "exclusive"]

_LOCK_TIMEOUT_S = 600.0
_POLL_S = 0.1


def cache() -> Path:
    """The directory: ``UNDAUNTED_CACHE``, or ``undaunted`` in ``XDG_CACHE_HOME`` (default ``~/.cache``).

    Raises:
        LabError: It cannot be made or written to.
    """
    named = os.environ.get("UNDAUNTED_CACHE")
    usual = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(named or f"{usual}/undaunted").expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise LabError(f"The cache {path} cannot be made ({error}); set UNDAUNTED_CACHE to one that can.") from error
    return path


@contextmanager
def exclusive(path: Path) -> Generator[None]:
    """Hold a lock file while something in the cache is being made: a second process waits and finds it made.

    Raises:
        LabError: Another process has held it for ten minutes, or it cannot be written.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LabError(
            f"The cache {path.parent} cannot be written to ({error.strerror}); "
            "set UNDAUNTED_CACHE to a directory that can."
        ) from error
    try:
        deadline_s = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise LabError(f"Another process has held {path} for ten minutes; is one frozen?") from None
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)
