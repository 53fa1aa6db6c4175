"""The files and the command line of one PostgreSQL node: small, quick to start and to follow, honest about crashes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from undaunted.lab.postgres_user import own
from undaunted.lab.postgres_wire import OPERATOR, SOCKET_HOST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from undaunted.lab.node import LabNode
    from undaunted.lab.postgres_program import Programs
    from undaunted.lab.postgres_user import Account

__all__ = [
    "arguments",
    "conninfo",
    "fork",
    "is_standby",
    "quoted",
    "standby_signal",
    "timeline",
    "write",
    "write_files",
    "write_secret",
]

_CHOICES: Mapping[str, object] = {
    "wal_level": "replica",
    "hot_standby": "on",
    "max_connections": 100,
    "max_wal_senders": 20,
    # A node that was down for a while finds what it missed; but pg_rewind copies all of it every time.
    "wal_keep_size": "64MB",
    "max_wal_size": "128MB",
    "min_wal_size": "4MB",
    "shared_buffers": "32MB",
    "fsync": "on",  # what was acknowledged survives a crash, as it does in earnest
    "wal_log_hints": "on",  # pg_rewind asks for it
    # A frozen node is known to its neighbours after two seconds; the servers' own default is a minute.
    "wal_sender_timeout": "2s",
    "wal_receiver_timeout": "2s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "100ms",
    # Otherwise a crash leaves files in /dev/shm; so they are among the data, and go with it.
    "dynamic_shared_memory_type": "mmap",
    "huge_pages": "off",
    "jit": "off",
    "ssl": "off",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_min_messages": "warning",
}


def quoted(value: object) -> str:
    """A value as ``postgresql.conf`` takes it."""
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"


def conninfo(**parts: object) -> str:
    """A connection string of libpq's."""
    return " ".join(
        "{}='{}'".format(key, str(value).replace("\\", "\\\\").replace("'", "\\'")) for key, value in parts.items()
    )


def write(path: Path, text: str, account: Account) -> None:
    """Write a file that the server reads, so that it sees the old one or the new one, whole."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    own(fresh, account)
    fresh.replace(path)


def write_files(
    node: LabNode, *, root: Path, account: Account, is_trusting: bool, more: Mapping[str, object], us: str
) -> None:
    """Write what a node reads at its start; it is outside of the data, which `pg_rewind` fills with another node's.

    Args:
        node: The node.
        root: Its directory.
        account: Who runs it.
        is_trusting: Whether clients are let in without a password.
        more: Settings that go before the lab's own.
        us: The name of the user that runs this process.
    """
    places = {
        "listen_addresses": node.host,
        "port": node.port,
        "unix_socket_directories": SOCKET_HOST,
        "hba_file": root / "pg_hba.conf",
        "ident_file": root / "pg_ident.conf",
        "data_directory": root / "data",
    }
    lines = [f"{key} = {quoted(value)}" for key, value in {**_CHOICES, **more, **places}.items()]
    write(root / "postgresql.conf", "\n".join([*lines, "include 'role.conf'", ""]), account)
    if not (root / "role.conf").exists():
        write(root / "role.conf", "", account)
    method = "trust" if is_trusting else "scram-sha-256"
    rules = [
        f"local all {OPERATOR} peer map=lab",
        f"local replication {OPERATOR} peer map=lab",
        f"host all {OPERATOR} 127.0.0.1/32 scram-sha-256",  # a superuser may run programs, so no stranger becomes one
        f"host all all 127.0.0.1/32 {method}",
    ]
    write(root / "pg_hba.conf", "\n".join([*rules, ""]), account)
    names = sorted({us, account.name})
    write(root / "pg_ident.conf", "".join(f'lab "{name}" {OPERATOR}\n' for name in names), account)


def arguments(programs: Programs, root: Path) -> list[str]:
    """The command line of a node."""
    return [programs.path("postgres"), "-D", str(root / "data"), "-c", f"config_file={root / 'postgresql.conf'}"]


def standby_signal(root: Path) -> Path:
    """The file that says that a node is to start as a standby."""
    return root / "data" / "standby.signal"


def is_standby(root: Path) -> bool:
    """Whether a node that is down would start as a standby."""
    return standby_signal(root).exists()


def timeline(root: Path) -> int:
    """The newest timeline that the data of a node knows."""
    known = [int(path.stem, 16) for path in (root / "data" / "pg_wal").glob("*.history")]
    return max(known, default=1)


def fork(root: Path) -> int:
    """Where, in bytes of the log, the newest timeline that a node knows left the one before."""
    newest = timeline(root)
    try:
        told = (root / "data" / "pg_wal" / f"{newest:08X}.history").read_text(encoding="utf-8")
    except FileNotFoundError:
        return 0
    lines = [line.split("\t") for line in told.splitlines() if line.strip() and not line.startswith("#")]
    high, _, low = lines[-1][1].partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only we may read."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
