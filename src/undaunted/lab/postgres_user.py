"""Who runs PostgreSQL, which refuses to be run by root."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Account", "can_reach", "own", "server_account"]

_USUAL = "nobody"


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine.

    Attributes:
        name: Its name.
        uid: Its number.
        gid: The number of its group.
        is_other: Whether it is somebody else than we are, so that what it is to have must be given to it.
    """

    name: str
    uid: int
    gid: int
    is_other: bool

    @property
    def owner(self) -> tuple[int, int] | None:
        """The numbers to run a process with; None for our own."""
        return (self.uid, self.gid) if self.is_other else None


def server_account() -> Account:
    """Ourselves, or, for root, the user that ``UNDAUNTED_LAB_USER`` names, by default ``nobody``.

    Raises:
        LabError: There is no such user, or it is root.
    """
    uid = os.geteuid()
    try:
        found = pwd.getpwuid(uid) if uid != 0 else pwd.getpwnam(os.environ.get("UNDAUNTED_LAB_USER") or _USUAL)
    except KeyError as error:
        raise LabError(
            f"PostgreSQL needs a user that this machine knows, and it knows none such ({error.args[0]}); "
            "name one in UNDAUNTED_LAB_USER if you are root, else add one for your number."
        ) from None
    if found.pw_uid == 0:
        raise LabError("PostgreSQL does not run as root; name another user in UNDAUNTED_LAB_USER.")
    return Account(found.pw_name, found.pw_uid, found.pw_gid, is_other=uid == 0)


def can_reach(path: Path, account: Account) -> bool:
    """Whether the account may enter every directory above a path, and read or enter the path itself."""
    if not account.is_other:
        return os.access(path, os.R_OK)
    try:
        return all(_may_enter(each.stat(), account) for each in (path, *path.resolve().parents))
    except OSError:
        return False


def _may_enter(found: os.stat_result, account: Account) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def own(path: Path, account: Account) -> None:
    """Give a path to the account, where that is not us."""
    if account.is_other:
        os.chown(path, account.uid, account.gid)
