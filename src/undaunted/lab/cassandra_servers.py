"""How the servers of a Cassandra lab come to life: where they run, with which files, and what is made beforehand."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from undaunted.core.durations import seconds
from undaunted.lab import attach, cql, jvm, nodetool
from undaunted.lab.addresses import choose_network
from undaunted.lab.archive import REHEARSAL, find_archive, make_archive, use
from undaunted.lab.cache import exclusive
from undaunted.lab.cassandra_node import CQL_PORT, STORAGE_PORT, arguments, configure, token, yaml
from undaunted.lab.cassandra_user import make_user, write_password
from undaunted.lab.errors import LabError
from undaunted.lab.home import RAM
from undaunted.lab.jars import jars
from undaunted.lab.java import Java
from undaunted.lab.java import find as find_java
from undaunted.lab.lab import Lab
from undaunted.lab.node import LabNode
from undaunted.lab.ports import is_free
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, NodeLike

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

__all__ = ["CassandraServers"]

_ANSWER_TIMEOUT_S = 1.0
_REQUEST_TIMEOUT_S = 15.0
_RAM_DISK = Path("/dev/shm")  # noqa: S108 - a directory of the lab's own is made in it
_RAM_BYTES = 384 << 20
"""What the files of one node may take: commit log 128 MiB, and the rest for data."""


class CassandraServers(Lab):
    """The part of a Cassandra lab that starts servers; see `CassandraLab`."""

    def __init__(
        self,
        nodes: int = 3,
        *,
        datacenters: int = 1,
        commitlog_sync: Literal["batch", "periodic"] = "batch",
        phi_convict_threshold: float = 8,
        server_settings: Mapping[str, object] | None = None,
        auth: tuple[str, str] | None = None,
        name: str | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        if nodes < 1 or datacenters < 1 or nodes * datacenters > 12:
            raise LabError(
                "A lab of Cassandra has one to twelve nodes in all; "
                f"found {datacenters} datacenters of {nodes} nodes each."
            )
        if commitlog_sync not in {"batch", "periodic"}:
            raise LabError(f"commitlog_sync is 'batch' or 'periodic'; found {commitlog_sync!r}.")
        if not 5 <= phi_convict_threshold <= 16:
            raise LabError(f"phi_convict_threshold is a number from 5 to 16; found {phi_convict_threshold}.")
        super().__init__(count=nodes * datacenters, arbiters=0, name=name, directory=directory, ports=None)
        self._per_datacenter = nodes
        self._datacenters = [f"dc{number}" for number in range(1, datacenters + 1)]
        self._commitlog_sync = commitlog_sync
        self._phi = phi_convict_threshold
        self._more_settings = dict(server_settings or {})
        self._auth = auth
        self._java: Java | None = None
        self._class_path: list[Path] = []

    # ----------------------------------------------------------------- access

    def connect(self, which: NodeLike, *, timeout_s: float = _REQUEST_TIMEOUT_S) -> cql.Connection:
        """A connection of the lab's own to one node, to close when done.

        Raises:
            OSError: The node is not there, or silent.
        """
        return cql.Connection(self.node(which), credentials=self._auth, timeout_s=timeout_s)

    def nodetool(self, which: NodeLike, *words: str, timeout: float | str = "60s") -> str:
        """Run Cassandra's `nodetool` on a node, as an operator would; about a second. What it printed.

        Args:
            which: The node.
            *words: The command and its arguments, such as ``"status"``.
            timeout: How long it may take.

        Raises:
            LabError: It failed, or did not come back in time.
        """
        assert self._place is not None  # noqa: S101
        node, java = self.node(which), self._found_java()
        self._listen_for_nodetool(node, timeout_s=seconds(timeout))
        return nodetool.run(
            java,
            node,
            words,
            place=self._place,
            more=self._shared_classes(java),
            class_path=self._class_path,
            timeout_s=seconds(timeout),
        )

    def _listen_for_nodetool(self, node: LabNode, *, timeout_s: float) -> None:
        assert self._place is not None  # noqa: S101
        pid = node.pid
        if pid is None:
            raise LabError(f"{node.name} is down; start it to use nodetool on it.")
        if is_free(nodetool.JMX_PORT, node.host):
            with exclusive(self._root(node) / "jmx.lock"):
                if is_free(nodetool.JMX_PORT, node.host):  # nobody else has done it meanwhile
                    words = nodetool.listen_command(node, self._place)
                    wake = partial(self._guardian.signal, node.name, signal.SIGQUIT)
                    attach.command(pid, words, wake=wake, timeout_s=timeout_s)

    # ---------------------------------------------------------------- opening

    def _find_program(self) -> None:
        self._java = find_java()
        self._class_path = jars(progress=self._progress)

    def _make_nodes(self) -> list[LabNode]:
        hosts = choose_network(
            self._count, ports=(CQL_PORT, STORAGE_PORT, nodetool.JMX_PORT), claim=self._guardian.claim
        )
        return [
            LabNode(
                self,
                name=f"n{place + 1}",
                host=host,
                port=CQL_PORT,
                datacenter=self._datacenters[place // self._per_datacenter],
            )
            for place, host in enumerate(hosts)
        ]

    def _scratch(self) -> Sequence[Path]:
        assert self._place is not None  # noqa: S101
        try:
            if shutil.disk_usage(_RAM_DISK).free < _RAM_BYTES * self._count:
                return ()
            made = Path(tempfile.mkdtemp(prefix="undaunted-lab-", dir=_RAM_DISK))
        except OSError:
            return ()  # no RAM disk, or none that we may use: the data goes beside the rest of the lab
        (self._place / RAM).symlink_to(made)
        return (made,)

    def _root(self, node: LabNode) -> Path:
        assert self._place is not None  # noqa: S101
        if self._directory is None and (self._place / RAM).is_symlink():
            return (self._place / RAM).readlink() / node.name
        return super()._root(node)

    def _start_all(self) -> None:
        assert self._place is not None  # noqa: S101
        nodetool.write_secrets(self._place)
        if self._auth is not None:
            write_password(self._place, self._auth[1])
        assert self._java is not None  # noqa: S101
        make_archive(
            self._java,
            class_path=self._class_path,
            room=self._place,
            run=self._rehearse,
            dump=self._run,
            progress=self._progress,
        )
        self._progress(f"starting {len(self._nodes)} servers")
        deadline_s = time.monotonic() + START_TIMEOUT_S
        for node in self._nodes:
            self._spawn(node)
        self._await_answers(self._nodes, timeout_s=START_TIMEOUT_S)
        if self._auth is not None:
            make_user(self._nodes[0], self._auth, deadline_s=deadline_s)
        self._progress("waiting until every node is well")
        self.wait_healthy(max(0.0, deadline_s - time.monotonic()))

    def _spawn(self, node: LabNode) -> None:
        place = self._nodes.index(node)
        text = yaml(
            node,
            root=self._root(node),
            cluster=self.name,
            seeds=[each.host for each in self._nodes],
            own_token=token(place % self._per_datacenter, self._per_datacenter, place // self._per_datacenter),
            options=self._node_settings(),
        )
        configure(self._root(node), text=text, datacenter=str(node.datacenter))
        self._launch_server(node.name, self._argv(node), root=self._root(node))

    def _launch_server(self, name: str, argv: Sequence[str], *, root: Path) -> None:
        self._guardian.spawn(name, argv, cwd=root, log=root / "log", env=jvm.ENVIRONMENT, may_lock_memory=False)

    def _node_settings(self) -> dict[str, object]:
        chosen: dict[str, object] = {
            "commitlog_sync": self._commitlog_sync,
            "phi_convict_threshold": self._phi,
        }
        if self._commitlog_sync == "periodic":
            chosen["commitlog_sync_period"] = "10000ms"
        if self._auth is not None:
            chosen["authenticator"] = "PasswordAuthenticator"
            chosen["credentials_validity"] = "0ms"  # else a password that is no more is let in for two seconds
        return chosen | self._more_settings

    def _argv(self, node: LabNode) -> list[str]:
        assert self._place is not None  # noqa: S101
        java = self._found_java()
        return arguments(
            java,
            root=self._root(node),
            class_path=self._class_path,
            more=[*self._shared_classes(java), f"-Djava.rmi.server.hostname={node.host}"],
            copies=self._count,
        )

    def _found_java(self) -> Java:
        if self._java is None:  # attached: another process opened the lab
            self._find_program()
        assert self._java is not None  # noqa: S101
        return self._java

    def _shared_classes(self, java: Java) -> list[str]:
        return use(find_archive(java, class_path=self._class_path))

    def _answering(self, nodes: Sequence[LabNode]) -> Mapping[str, object]:
        return cql.answering(nodes, timeout_s=_ANSWER_TIMEOUT_S)

    # ------------------------------------------------------ the class archive

    def _rehearse(self, more: Sequence[str]) -> None:
        """Run one node of no cluster through what nodes do, from its start to its clean stop."""
        assert self._java is not None  # noqa: S101
        extra = LabNode(self, name="rehearsal", host=self._nodes[0].host, port=CQL_PORT, datacenter="dc1")
        root = self._root(extra)
        try:
            text = yaml(
                extra,
                root=root,
                cluster="rehearsal",
                seeds=[extra.host],
                own_token=0,
                options={"commitlog_sync": "batch"},
            )
            configure(root, text=text, datacenter="dc1")
            argv = arguments(self._java, root=root, class_path=self._class_path, more=more)
            self._launch_server(extra.name, argv, root=root)
            self._await_answers([extra], timeout_s=START_TIMEOUT_S)
            with self.connect(extra) as connection:
                for statement in REHEARSAL:
                    connection.query(statement)
            self._guardian.signal(extra.name, signal.SIGTERM)
            self._await_end(extra.name)
        finally:
            if self._guardian.servers().get(extra.name, {}).get("state", "down") != "down":
                self._guardian.signal(extra.name, signal.SIGKILL)
                self._await_end(extra.name)
            shutil.rmtree(root, ignore_errors=True)

    def _run(self, argv: Sequence[str]) -> None:
        """Run a command to its end, as a server is run: it ends with the lab."""
        assert self._place is not None  # noqa: S101
        room = self._place
        self._guardian.spawn("command", argv, cwd=room, log=room / "command.log", env=jvm.ENVIRONMENT)
        status = self._await_end("command")
        if status != 0:
            told = (room / "command.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise LabError(f"{argv[0]} ended with status {status} ({''.join(told)[:200]})")

    def _await_end(self, name: str) -> int:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while (found := self._guardian.servers()[name])["state"] != "down":
            if time.monotonic() > deadline_s:
                raise LabError(f"{name} did not end within {START_TIMEOUT_S:g} s.")
            time.sleep(POLL_S)
        status: int = found["exit"]
        return status

    # ------------------------------------------------------------- its options

    def _options(self) -> dict[str, Any]:
        return {
            "nodes": self._per_datacenter,
            "datacenters": len(self._datacenters),
            "commitlog_sync": self._commitlog_sync,
            "phi_convict_threshold": self._phi,
            "server_settings": self._more_settings,
            "auth": self._auth,
            "directory": None if self._directory is None else str(self._directory),
        }

    @classmethod
    def _options_of(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = dict(record["options"])
        options["auth"] = None if options["auth"] is None else tuple(options["auth"])
        return options
