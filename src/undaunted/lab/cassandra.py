"""A real Cassandra cluster on loopback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from undaunted.core.durations import seconds
from undaunted.lab import cql, jvm
from undaunted.lab.addresses import choose_network
from undaunted.lab.archive import REHEARSAL, find_archive, make_archive, use
from undaunted.lab.cassandra_node import CQL_PORT, JMX_PORT, STORAGE_PORT, arguments, configure, token, yaml
from undaunted.lab.errors import LabError
from undaunted.lab.home import RAM
from undaunted.lab.jars import jars
from undaunted.lab.java import Java
from undaunted.lab.java import find as find_java
from undaunted.lab.lab import Lab
from undaunted.lab.node import LabNode, State
from undaunted.lab.ring import Ring
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, NodeLike

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cassandra.cluster import Cluster

__all__ = ["CassandraLab"]

_ANSWER_TIMEOUT_S = 1.0
_REQUEST_TIMEOUT_S = 15.0
_RAM_DISK = Path("/dev/shm")  # noqa: S108 - a directory of the lab's own is made in it
_RAM_BYTES = 384 << 20
"""What the files of one node may take: commit log 128 MiB, and the rest for data."""
_FIRST_USER = ("cassandra", "cassandra")


class CassandraLab(Lab):
    """A cluster of real Cassandra nodes, each known by a loopback address of its own, as long as this process lives.

    The first lab of a user fetches Cassandra (70 MB) and makes a class archive, a minute in all; later ones are well
    in about ten seconds. A node takes some 330 MiB of memory.

    Args:
        nodes: How many nodes each datacenter has. Default 3.
        datacenters: How many datacenters there are; they are called ``dc1``, ``dc2``, ... Default 1.
        commitlog_sync: ``"batch"``, so that what was acknowledged survives a crash of the node, or ``"periodic"``,
            Cassandra's own default, which may lose the last ten seconds of one. Default batch; on a disk without a RAM
            disk it is slow.
        phi_convict_threshold: How sure a node must be of another's death. Default 8, Cassandra's own: a killed node is
            known to be down after 18 to 20 s; 5 makes that 11 s.
        settings: More settings of the server, as in ``cassandra.yaml``.
        auth: User name and password of one superuser; with them the cluster demands a login.
        name: The name on the command line. Default: one of its own.
        directory: Where data and logs go, kept at the end. Default: a RAM disk if there is room, else a temporary
            directory, removed at the end.

    Example:
        >>> with CassandraLab() as lab:  # doctest: +SKIP
        ...     lab.create_keyspace("shop")
        ...     undaunted.configure(lab.settings_for("shop", keyspace="shop"))
        ...     lab.kill("n2")
    """

    backend: ClassVar[str] = "cassandra"

    def __init__(
        self,
        nodes: int = 3,
        *,
        datacenters: int = 1,
        commitlog_sync: Literal["batch", "periodic"] = "batch",
        phi_convict_threshold: float = 8,
        settings: Mapping[str, object] | None = None,
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
        self._settings = dict(settings or {})
        self._auth = auth
        self._java: Java | None = None
        self._class_path: list[Path] = []

    # ------------------------------------------------------------- what it is

    @property
    def datacenters(self) -> list[str]:
        """The names of the datacenters."""
        return list(self._datacenters)

    def nodes_of(self, datacenter: str) -> list[LabNode]:
        """The nodes of a datacenter.

        Raises:
            LabError: There is no such datacenter.
        """
        self._check_datacenter(datacenter)
        return [node for node in self._nodes if node.datacenter == datacenter]

    @property
    def reach(self) -> str:
        """How a client reaches the cluster, in one line for people."""
        return f"Contact points: {', '.join(node.address for node in self._nodes)}"

    def settings_for(
        self, cluster: str, *, keyspace: str | None = None, datacenter: str | None = None
    ) -> dict[str, Any]:
        """Settings that declare this lab as a cluster of this name, as `undaunted.configure` takes them.

        The password, where there is one, is in a file that the settings name.

        Args:
            cluster: The name.
            keyspace: The keyspace of models that name none; `create_keyspace` makes one. Default: none.
            datacenter: The local datacenter, whose nodes are named. Default: the first.
        """
        local = datacenter or self._datacenters[0]
        declared: dict[str, Any] = {
            "backend": "cassandra",
            "nodes": [node.address for node in self.nodes_of(local)],
            "local_datacenter": local,
        }
        if keyspace is not None:
            declared["keyspace"] = keyspace
        if self._auth is not None:
            assert self._place is not None  # noqa: S101
            declared["credentials"] = {"username": self._auth[0], "password": {"file": str(self._place / "password")}}
        return {"clusters": {cluster: declared}}

    def role(self, which: NodeLike) -> str:
        """``"replica"``, or ``"unknown"`` while the node gives no answer."""
        node = self.node(which)
        return self.roles([node])[node.name]

    def roles(self, nodes: Iterable[LabNode] | None = None) -> dict[str, str]:
        """The role of every node, by name; those that give no answer within a second are unknown."""
        chosen = list(nodes) if nodes is not None else self._nodes
        answers = self._answering(chosen)
        return {node.name: "replica" if node.name in answers else "unknown" for node in chosen}

    # ----------------------------------------------------------------- health

    def wait_healthy(self, timeout: float | str = START_TIMEOUT_S) -> None:
        """Wait until every node sees every other one, all have one schema, and a write at ALL works from each.

        Raises:
            LabError: Not within the timeout; the message says what is missing.
        """
        timeout_s = seconds(timeout)
        deadline_s = time.monotonic() + timeout_s
        with Ring(self) as ring:
            while (complaint := ring.complaint()) is not None:
                if time.monotonic() > deadline_s:
                    raise LabError(f"The lab {self.name} is not healthy after {timeout_s:g} s: {complaint}.")
                time.sleep(POLL_S)

    # ----------------------------------------------------------------- access

    def create_keyspace(self, keyspace: str, *, replicas: int = 3, timeout: float | str = 30.0) -> None:
        """Make a keyspace where there is none, and wait until every node that is up knows it.

        Args:
            keyspace: Its name.
            replicas: How many nodes of each datacenter hold a row; all of them where there are fewer. Default 3.
            timeout: How long to wait.

        Raises:
            LabError: No node is up, the nodes did not agree in time, or the name cannot be used.
        """
        up = self._in_state(State.UP)
        if not up:
            raise LabError(f"No node of the lab {self.name} is up; start one to make a keyspace.")
        timeout_s = seconds(timeout)
        deadline_s = time.monotonic() + timeout_s
        try:
            with Ring(self) as ring, self.connect(up[0], timeout_s=timeout_s) as connection:
                self.make_keyspace(connection, keyspace, replicas)
                while len(versions := ring.schema_versions(up)) > 1:
                    if time.monotonic() > deadline_s:
                        raise LabError(f"The nodes still have {len(versions)} versions of the schema.")
                    time.sleep(POLL_S)
        except OSError as error:
            raise LabError(f"{up[0].name} did not make the keyspace {keyspace}: {error}") from error

    def make_keyspace(self, connection: cql.Connection, keyspace: str, replicas: int | None) -> None:
        """Send the statement that makes a keyspace with so many replicas in each datacenter; None for all nodes."""
        factor = self._per_datacenter if replicas is None else min(replicas, self._per_datacenter)
        replication = {"class": "NetworkTopologyStrategy", **{name: str(factor) for name in self._datacenters}}
        literal = json.dumps(replication).replace('"', "'")
        quoted = '"' + keyspace.replace('"', '""') + '"'
        connection.query(f"CREATE KEYSPACE IF NOT EXISTS {quoted} WITH replication = {literal}")

    def connect(self, which: NodeLike, *, timeout_s: float = _REQUEST_TIMEOUT_S) -> cql.Connection:
        """A connection of the lab's own to one node, to close when done.

        Raises:
            OSError: The node is not there, or silent.
        """
        return cql.Connection(self.node(which), credentials=self._auth, timeout_s=timeout_s)

    def cluster(self, which: NodeLike | None = None, **options: Any) -> Cluster:
        """A plain `cassandra.cluster.Cluster`, to shut down when done: of one node alone, or of the first datacenter.

        Args:
            which: The node; None for all of the first datacenter.
            **options: Options of `Cluster`; ``execution_profiles`` replaces the one that is made here.
        """
        from cassandra.auth import PlainTextAuthProvider  # noqa: PLC0415 - a driver is imported when it is first needed
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile  # noqa: PLC0415
        from cassandra.policies import DCAwareRoundRobinPolicy, WhiteListRoundRobinPolicy  # noqa: PLC0415

        hosts = [self.node(which).host] if which is not None else [n.host for n in self.nodes_of(self._datacenters[0])]
        policy = DCAwareRoundRobinPolicy(self._datacenters[0]) if which is None else WhiteListRoundRobinPolicy(hosts)
        chosen: dict[str, Any] = {
            "contact_points": hosts,
            "port": CQL_PORT,
            "protocol_version": 5,
            "execution_profiles": {EXEC_PROFILE_DEFAULT: ExecutionProfile(load_balancing_policy=policy)},
        }
        if self._auth is not None:
            chosen["auth_provider"] = PlainTextAuthProvider(*self._auth)
        return Cluster(**(chosen | options))

    # ---------------------------------------------------------------- opening

    def _find_program(self) -> None:
        self._java = find_java()
        self._class_path = jars(progress=self._progress)

    def _make_nodes(self, labs: Mapping[str, Mapping[str, Any]]) -> list[LabNode]:
        del labs  # an address is kept by binding it, which other users and other homes see too
        hosts = choose_network(self._count, ports=(CQL_PORT, STORAGE_PORT, JMX_PORT), claim=self._guardian.claim)
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
        if self._auth is not None:
            self._write_password(self._auth[1])
        assert self._java is not None  # noqa: S101
        make_archive(
            self._java,
            class_path=self._class_path,
            room=self._root(self._nodes[0]).parent,
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
            self._make_user(self._auth, deadline_s=deadline_s)
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
            options=self._server_settings(),
        )
        configure(self._root(node), text=text, datacenter=str(node.datacenter))
        self._launch_server(node.name, self._argv(node), root=self._root(node))

    def _launch_server(self, name: str, argv: Sequence[str], *, root: Path) -> None:
        self._guardian.spawn(name, argv, cwd=root, log=root / "log", env=jvm.ENVIRONMENT, may_lock_memory=False)

    def _server_settings(self) -> dict[str, object]:
        chosen: dict[str, object] = {
            "commitlog_sync": self._commitlog_sync,
            "phi_convict_threshold": self._phi,
        }
        if self._commitlog_sync == "periodic":
            chosen["commitlog_sync_period"] = "10000ms"
        if self._auth is not None:
            chosen["authenticator"] = "PasswordAuthenticator"
        return chosen | self._settings

    def _argv(self, node: LabNode) -> list[str]:
        if self._java is None:  # attached: another process opened the lab
            self._find_program()
        assert self._java is not None  # noqa: S101
        return arguments(
            self._java,
            root=self._root(node),
            class_path=self._class_path,
            more=use(find_archive(self._java, class_path=self._class_path)),
            copies=self._count,
        )

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
        room = self._root(self._nodes[0]).parent
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
            "settings": self._settings,
            "auth": self._auth,
            "directory": None if self._directory is None else str(self._directory),
        }

    @classmethod
    def _options_of(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        options: dict[str, Any] = dict(record["options"])
        options["auth"] = None if options["auth"] is None else tuple(options["auth"])
        return options

    def _write_password(self, password: str) -> None:
        assert self._place is not None  # noqa: S101
        handle = os.open(self._place / "password", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(password)

    def _make_user(self, auth: tuple[str, str], *, deadline_s: float) -> None:
        """Make the lab's superuser, and take the one that every Cassandra has at first his known password."""
        first = self._nodes[0]
        name, password = (text.replace("'", "''") for text in auth)
        options = f"PASSWORD = '{password}' AND SUPERUSER = true AND LOGIN = true"
        while True:
            try:
                with cql.Connection(first, credentials=_FIRST_USER, timeout_s=_REQUEST_TIMEOUT_S) as connection:
                    if auth[0] == _FIRST_USER[0]:
                        connection.query(f"ALTER ROLE '{name}' WITH {options}")
                        return
                    connection.query(f"CREATE ROLE IF NOT EXISTS '{name}' WITH {options}")
                with cql.Connection(first, credentials=auth, timeout_s=_REQUEST_TIMEOUT_S) as connection:
                    connection.query(f"DROP ROLE '{_FIRST_USER[0]}'")
            except (cql.Refused, OSError) as error:  # it makes its first user some time after it answers
                if time.monotonic() > deadline_s:
                    raise LabError(f"{first.name} has made no user: {error}") from error
                time.sleep(POLL_S)
            else:
                return

    def _check_datacenter(self, datacenter: str) -> None:
        if datacenter not in self._datacenters:
            raise LabError(
                f"The lab {self.name} has no datacenter {datacenter!r}; name one of {', '.join(self._datacenters)}."
            )
