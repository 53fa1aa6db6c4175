"""How the servers of a PostgreSQL lab come to life: who runs them, where their data is, and what is made at first."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import shutil
import sys
import tempfile
import time
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from undaunted.core.durations import seconds
from undaunted.lab import log as logs
from undaunted.lab import postgres_node, postgres_wire
from undaunted.lab.errors import LabError
from undaunted.lab.home import RAM
from undaunted.lab.lab import Lab
from undaunted.lab.postgres_program import Programs, find
from undaunted.lab.postgres_user import Account, can_reach, own, server_account
from undaunted.lab.primaries import Primaries
from undaunted.lab.verbs import START_TIMEOUT_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from undaunted.lab.node import LabNode

__all__ = ["PostgresServers"]

_STATEMENT_TIMEOUT_S = 60.0
_RAM_DISK = Path("/dev/shm")  # noqa: S108 - a directory of the lab's own is made in it
_RAM_BYTES = 384 << 20
"""What the files of one node may take: 128 MiB of log, and the rest for data."""

_NAME = re.compile(r"\w{1,63}", re.ASCII)
_OURS = frozenset({
    "listen_addresses", "port", "unix_socket_directories", "hba_file", "ident_file", "data_directory",
    "primary_conninfo", "synchronous_standby_names", "external_pid_file", "config_file",
})  # fmt: skip


class PostgresServers(Primaries, Lab):
    """The part of a PostgreSQL lab that starts servers; see `PostgresLab`."""

    backend: ClassVar[str] = "postgresql"

    def __init__(
        self,
        nodes: int = 3,
        *,
        synchronous: str | None = None,
        auto_failover: float | str | None = None,
        auth: tuple[str, str] | None = None,
        database: str = "lab",
        server_settings: Mapping[str, object] | None = None,
        programs: str | os.PathLike[str] | None = None,
        name: str | None = None,
        directory: str | os.PathLike[str] | None = None,
        ports: Sequence[int] | None = None,
    ) -> None:
        if not 1 <= nodes <= 9:
            raise LabError(f"A lab of PostgreSQL has one to nine nodes; found {nodes}.")
        super().__init__(count=nodes, arbiters=0, name=name, directory=directory, ports=ports)
        self._synchronous = synchronous
        self._failover_s = None if auto_failover is None else seconds(auto_failover)
        if self._failover_s is not None and self._failover_s < 0.2:
            raise LabError(
                f"A primary that is silent for {self._failover_s:g} s may just be busy; wait 0.2 s or longer for it."
            )
        self._auth = auth
        self._user = "lab" if auth is None else auth[0]
        if self._user == postgres_wire.OPERATOR:
            raise LabError(f"The user {self._user!r} is the lab's own; name another.")
        if not _NAME.fullmatch(database):
            raise LabError(f"A database cannot be named {database!r}; use at most 63 letters, digits and underscores.")
        self._database = database
        self._more_settings = dict(server_settings or {})
        mine = sorted(_OURS & set(self._more_settings))
        if mine:
            raise LabError(f"The lab itself chooses {', '.join(mine)}; leave it out of the server_settings.")
        self._named_programs = None if programs is None else str(programs)
        self._programs: Programs | None = None
        self._found_account: Account | None = None

    # ---------------------------------------------------------------- opening

    @property
    def _account(self) -> Account:
        if self._found_account is None:
            self._found_account = server_account()
        return self._found_account

    def _find_program(self) -> None:
        self._programs = find(self._account, self._named_programs)

    def _found_programs(self) -> Programs:
        if self._programs is None:  # attached: another process opened the lab
            self._find_program()
        assert self._programs is not None  # noqa: S101
        return self._programs

    def _scratch(self) -> Sequence[Path]:
        """Where the data goes: the RAM disk, or, for a server of another user, a directory that it can reach."""
        assert self._place is not None  # noqa: S101
        places = [_RAM_DISK] if _has_room(_RAM_DISK, self._count * _RAM_BYTES) else []
        if self._account.is_other:
            places += [Path(tempfile.gettempdir()), Path("/var/tmp")]  # noqa: S108
        for above in places:
            if not can_reach(above, self._account):
                continue
            try:
                made = Path(tempfile.mkdtemp(prefix="undaunted-lab-", dir=above))
            except OSError:
                continue
            own(made, self._account)
            (self._place / RAM).symlink_to(made)
            return (made,)
        if self._account.is_other:
            raise LabError(
                f"The user {self._account.name}, who runs PostgreSQL for root, can reach none of {_RAM_DISK}, "
                f"{tempfile.gettempdir()} and /var/tmp; give a directory that it can, or name another user in "
                "UNDAUNTED_LAB_USER."
            )
        return ()

    def _root(self, node: LabNode) -> Path:
        assert self._place is not None  # noqa: S101
        if self._directory is None and (self._place / RAM).is_symlink():
            return (self._place / RAM).readlink() / node.name
        return super()._root(node)

    def _start_all(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        self._prepare_rooms()
        first, *others = self._nodes
        self._progress("making the data of the first node")
        postgres_node.write(self._root(first) / "operator", secrets.token_hex(32), self._account)
        flags = [
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "--data-checksums",
            "--wal-segsize=1",
            f"--username={postgres_wire.OPERATOR}",
        ]
        rights = ["--auth-local=peer", "--auth-host=scram-sha-256", f"--pwfile={self._root(first) / 'operator'}"]
        self._tool(first, self._found_programs().path("initdb"), "-D", str(self._root(first) / "data"), *flags, *rights)
        for (
            node
        ) in others:  # all nodes begin as copies of one that never ran: the same cluster, and quicker than a backup
            self._tool(node, "cp", "-a", str(self._root(first) / "data"), str(self._root(node) / "data"))
            self._make_standby(node)
        self._point_all(first)
        self._progress(f"starting {len(self._nodes)} servers")
        for node in self._nodes:
            self._spawn(node)
        self._await_answers(self._nodes, timeout_s=START_TIMEOUT_S)
        self._make_user_and_database(first)
        self._progress("waiting until every node is well")
        self.wait_healthy(max(0.0, deadline_s - time.monotonic()))
        if self._failover_s is not None:
            self._watch()

    def _prepare_rooms(self) -> None:
        if self._directory is not None and self._account.is_other:
            self._directory.chmod(0o711)
            if not can_reach(self._directory, self._account):
                raise LabError(
                    f"The user {self._account.name}, who runs PostgreSQL for root, cannot reach {self._directory}; "
                    "give a directory that everybody may enter, or name another user in UNDAUNTED_LAB_USER."
                )
        for node in self._nodes:
            root = self._root(node)
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            own(root, self._account)

    def _make_user_and_database(self, first: LabNode) -> None:
        user, database = _identifier(self._user), _identifier(self._database)
        password = "" if self._auth is None else " PASSWORD '{}'".format(self._auth[1].replace("'", "''"))
        for statement in (
            f"CREATE ROLE {user} LOGIN CREATEDB{password}",
            f"GRANT pg_monitor TO {user}",
            f"CREATE DATABASE {database} OWNER {user}",
        ):
            self._operate(first, statement)

    def _operate(self, node: LabNode, statement: str) -> None:
        """Have a node do something as the superuser.

        Raises:
            LabError: It did not.
        """
        try:
            postgres_wire.execute(node, statement, timeout_s=_STATEMENT_TIMEOUT_S)
        except (postgres_wire.Refused, OSError) as error:
            raise LabError(f"{node.name} did not do {statement.partition(' PASSWORD')[0]}: {error}.") from error

    @abstractmethod
    def _point_all(self, leader: LabNode) -> None: ...

    @abstractmethod
    def _make_standby(self, node: LabNode) -> None: ...

    # ------------------------------------------------------------- the servers

    def _spawn(self, node: LabNode) -> None:
        root = self._root(node)
        postgres_node.write_files(
            node,
            root=root,
            account=self._account,
            is_trusting=self._auth is None,
            more=self._more_settings,
            us=pwd.getpwuid(os.geteuid()).pw_name,
        )
        data = root / "data"
        self._guardian.spawn(
            node.name,
            self._argv(node),
            cwd=data,
            log=root / "log",
            env=self._environment(root),
            tree=data,
            owner=self._account.owner,
        )

    def _argv(self, node: LabNode) -> list[str]:
        return postgres_node.arguments(self._found_programs(), self._root(node))

    def _last_words(self, node: LabNode) -> list[str]:
        return logs.tail(self.log(node), only_grave=False)  # it names what is wrong before it says that all is

    def _tool(self, node: LabNode, *argv: str) -> None:
        """Run a program for a node as the user that runs its server; it ends with the lab.

        Raises:
            LabError: It failed; its last words are in the message.
        """
        root = self._root(node)
        called = f"{node.name}.{Path(argv[0]).name}"
        log = root / f"{Path(argv[0]).name}.log"
        log.unlink(missing_ok=True)
        self._guardian.spawn(called, argv, cwd=root, log=log, env=self._environment(root), owner=self._account.owner)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while (found := self._guardian.servers()[called])["state"] != "down":
            if time.monotonic() > deadline_s:
                raise LabError(f"{called} did not end within {START_TIMEOUT_S:g} s; see {log}.")
            time.sleep(0.005)
        if found["exit"] != 0:
            told = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            lines = "".join(f"\n  {line}" for line in told)
            raise LabError(f"{Path(argv[0]).name} for {node.name} ended with status {found['exit']}.{lines}")

    def _watch(self) -> None:
        """Start the watcher that promotes. It is a process, and so lives as long as the lab, detached or not."""
        assert self._place is not None  # noqa: S101
        argv = [sys.executable, "-m", "undaunted.lab.postgres_watch", str(self.name), str(self._failover_s)]
        self._guardian.spawn("watcher", argv, cwd=self._place, log=self._place / "watcher.log")

    def _environment(self, root: Path) -> dict[str, str | None]:
        nothing: dict[str, str | None] = {name: None for name in os.environ if name.startswith("PG")}
        return nothing | {"LC_ALL": "C", "HOME": str(root)}

    # ------------------------------------------------------------- its options

    def _options(self) -> dict[str, Any]:
        return {
            "nodes": self._count,
            "synchronous": self._synchronous,
            "auto_failover": self._failover_s,
            "auth": self._auth,
            "database": self._database,
            "server_settings": self._more_settings,
            "programs": str(self._found_programs().directory),
            "directory": None if self._directory is None else str(self._directory),
        }

    @classmethod
    def _options_of(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = dict(record["options"])
        options["auth"] = None if options["auth"] is None else tuple(options["auth"])
        return options


def _identifier(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _has_room(path: Path, wanted: int) -> bool:
    try:
        return shutil.disk_usage(path).free >= wanted
    except OSError:
        return False
