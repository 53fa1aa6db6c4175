"""Files and folders, as the settings name them. By `os.path`: importing pathlib costs as long as all of `config`."""

# ruff: noqa: PTH100, PTH109, PTH111, PTH113, PTH118, PTH120, PTH123

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["absolute", "folder", "is_file", "near_path", "read_text", "reason_unreadable", "upwards"]


def absolute(name: str | os.PathLike[str], start: str | None = None) -> str:
    """A path from the root, for one that starts in the folder `start` (default: the working directory)."""
    return os.path.abspath(os.path.join(start or os.getcwd(), os.path.expanduser(os.fspath(name))))


def folder(path: str) -> str:
    """The folder in which a file stands."""
    return os.path.dirname(path)


def is_file(path: str) -> bool:
    """Whether a file stands there."""
    return os.path.isfile(path)


def upwards(start: str) -> Iterator[str]:
    """Yield a folder, and those that it stands in, up to the root."""
    while True:
        yield start
        above = os.path.dirname(start)
        if above == start:
            return
        start = above


def near_path(path: str) -> str:
    """The path as somebody in the working directory would type it."""
    try:
        return min(os.path.relpath(path), path, key=len)
    except (OSError, ValueError):  # the working directory is gone, or on another drive
        return path


def read_text(path: str) -> str:
    """Return a file's text.

    Raises:
        ValueError: It cannot be read; the message says why in a few words.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:  # editors of Windows begin a file with a mark
            return file.read()
    except OSError as error:
        raise ValueError(error.strerror or type(error).__name__) from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def reason_unreadable(path: str) -> str | None:
    """Why a file cannot be read, in a few words; None when it can."""
    try:
        with open(path, "rb"):
            return None
    except OSError as error:
        return error.strerror or type(error).__name__
