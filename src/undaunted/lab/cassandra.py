"""A real Cassandra cluster on loopback."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, ClassVar

from undaunted.core.durations import seconds
from undaunted.lab.cassandra_node import CQL_PORT
from undaunted.lab.cassandra_servers import CassandraServers
from undaunted.lab.errors import LabError
from undaunted.lab.node import LabNode, State
from undaunted.lab.ring import Ring
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, NodeLike

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cassandra.cluster import Cluster

    from undaunted.lab import cql

__all__ = ["CassandraLab"]

_KEYSPACE = re.compile(r"\w{1,48}", re.ASCII)


class CassandraLab(CassandraServers):
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
        server_settings: More settings of each node, as in its ``cassandra.yaml``.
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
        up = self._in_state(State.UP, State.SLOW)
        if not up:
            raise LabError(f"No node of the lab {self.name} is up; start one to make a keyspace.")
        if not _KEYSPACE.fullmatch(keyspace):
            raise LabError(f"A keyspace cannot be named {keyspace!r}; use at most 48 letters, digits and underscores.")
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
        connection.query(f'CREATE KEYSPACE IF NOT EXISTS "{keyspace}" WITH replication = {literal}')

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

    # ---------------------------------------------------------------- faults

    def disable_binary(self, which: NodeLike) -> LabNode:
        """Make a node refuse clients (``nodetool disablebinary``): the other nodes still see it up.

        Raises:
            LabError: It is not up, or did not do it.
        """
        node = self.node(which)
        self._demand(node, {State.UP, State.SLOW}, "refuse clients")
        self.nodetool(node, "disablebinary")
        return node

    def enable_binary(self, which: NodeLike, *, timeout: float | str = START_TIMEOUT_S) -> LabNode:
        """Let clients in again (``nodetool enablebinary``); returns the node when it answers.

        Raises:
            LabError: It is not up, did not do it, or gives no answer in time.
        """
        node = self.node(which)
        self._demand(node, {State.UP, State.SLOW}, "let clients in")
        self.nodetool(node, "enablebinary")
        self._await_answers([node], timeout_s=seconds(timeout))
        return node

    def heal(self, *, timeout: float | str = START_TIMEOUT_S) -> None:
        """Undo every fault: thaw, speed up, start, let clients in, and wait until all nodes are well."""
        self.thaw()
        self.speed_up()
        for node in self._in_state(State.UP):
            if node.role == "unknown" and "not running" in self.nodetool(node, "statusbinary"):
                self.enable_binary(node, timeout=timeout)
        super().heal(timeout=timeout)

    def _check_datacenter(self, datacenter: str) -> None:
        if datacenter not in self._datacenters:
            raise LabError(
                f"The lab {self.name} has no datacenter {datacenter!r}; name one of {', '.join(self._datacenters)}."
            )
