"""`FakeCassandra`: the cluster, as a test sees it."""

from __future__ import annotations

import os
import time
import weakref
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from undaunted.testing.cql import wire
from undaunted.testing.cql.addresses import reserve
from undaunted.testing.cql.database import Context, Database
from undaunted.testing.cql.errors import FakeCassandraError
from undaunted.testing.cql.loop import LoopThread
from undaunted.testing.cql.member import Member, ring
from undaunted.testing.cql.node import FakeNode
from undaunted.testing.cql.result import Rows, SchemaChange
from undaunted.testing.cql.scripts import Script
from undaunted.testing.cql.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from undaunted.testing.cql.journal import Executed, Request

__all__ = ["FakeCassandra"]

PROTOCOLS = (4, 5)


class FakeCassandra:
    """A cluster of nodes that speak CQL, in this process, with one store and no durability.

    Args:
        nodes: How many, all in one datacenter ``dc1``; 3 by default.
        datacenters: Nodes by the name of their datacenter, in place of `nodes`; nodes are numbered in this order.
        protocol: The greatest version that the nodes speak: 5, or 4.
        user: Who may connect; None lets everybody.
        password: With which password.
        port: Of all nodes.
        check_replicas: Refuse with `Unavailable` what too few replicas are alive for, as a server does.
        release_version: The server that they say to be.
        cluster_name: What they call their cluster.

    Raises:
        FakeCassandraError: No addresses are free, or an argument makes no sense.
    """

    def __init__(
        self,
        nodes: int | None = None,
        *,
        datacenters: Mapping[str, int] | None = None,
        protocol: int = 5,
        user: str | None = None,
        password: str | None = None,
        port: int = 9042,
        check_replicas: bool = True,
        release_version: str = "5.0.8",
        cluster_name: str = "fake",
    ) -> None:
        homes = _homes(nodes, datacenters)
        if protocol not in PROTOCOLS:
            raise FakeCassandraError(f"the fake speaks protocol versions {PROTOCOLS}, not {protocol}")
        if (user is None) != (password is None):
            raise FakeCassandraError("user and password go together; give both or none")
        self._offset_s = 0.0
        self._pid = os.getpid()
        self._closed = False
        credentials = None if user is None or password is None else (user, password)
        self._reservation = reserve(len(homes), port)
        self._shared = Shared(
            Database(self._now_s, list(dict.fromkeys(homes))),
            LoopThread(f"fake {cluster_name}"),
            credentials=credentials,
            check_replicas=check_replicas,
        )
        members = [
            Member(
                number=number,
                address=address,
                port=self._reservation.port,
                datacenter=home,
                token=token,
                protocol=protocol,
                release_version=release_version,
                cluster_name=cluster_name,
                schema_version=self._shared.schema_version,
            )
            for number, (address, home, token) in enumerate(
                zip(self._reservation.addresses, homes, _tokens(homes), strict=True), start=1
            )
        ]
        self._shared.nodes = tuple(FakeNode(member, members, self._shared) for member in members)
        self._shared.thread.call(lambda: self._shared.thread.loop.set_exception_handler(self._shared.failed_in_loop))
        self._shared.thread.call(self._start_all)
        _alive.add(self)

    def _start_all(self) -> None:
        for node, listener in zip(self._shared.nodes, self._reservation.listeners, strict=True):
            node.start(listener)

    def __repr__(self) -> str:
        return f"<FakeCassandra {' '.join(f'{node.address}:{node.state}' for node in self.nodes)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close(quiet=error is not None)

    def close(self) -> None:
        """Cut all connections and end the thread. Safe to call twice; does nothing in a forked child.

        Raises:
            FakeCassandraError: Something has gone wrong in the fake itself; the cause is the first of it.
        """
        self._close(quiet=False)

    def _close(self, *, quiet: bool) -> None:
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        _alive.discard(self)
        with ExitStack() as stack:
            stack.callback(self._reservation.release)
            stack.callback(self._shared.thread.close)
            self._shared.thread.call(self._stop_all)
        failures = self._shared.failures()
        if failures and not quiet:
            raise FakeCassandraError(
                f"{len(failures)} times something went wrong in the fake cluster itself; the first: {failures[0]!r}"
            ) from failures[0]

    def _stop_all(self) -> None:
        for node in self._shared.nodes:
            node.stop()

    def _now_s(self) -> float:
        return time.time() + self._offset_s

    # Who is there

    @property
    def nodes(self) -> Sequence[FakeNode]:
        """All nodes; node 1 stands at place 0."""
        return self._shared.nodes

    @property
    def contact_points(self) -> list[str]:
        """The addresses of all nodes."""
        return [node.address for node in self.nodes]

    @property
    def port(self) -> int:
        """The port of all nodes."""
        return self._reservation.port

    def settings_for(
        self, cluster: str, *, keyspace: str | None = None, datacenter: str | None = None, **more: Any
    ) -> dict[str, Any]:
        """Settings that declare this cluster under a name, as `undaunted.configure` takes them; without any login.

        Args:
            cluster: The name.
            keyspace: The keyspace of models that name none; `create_keyspace` makes one. Default: none.
            datacenter: The local datacenter, whose nodes are named. Default: the first.
            **more: More settings of the cluster, such as ``timeout="200ms"``.
        """
        home = datacenter or self.nodes[0].datacenter
        declared: dict[str, Any] = {
            "backend": "cassandra",
            "nodes": [f"{node.address}:{self.port}" for node in self._chosen([home])],
            "local_datacenter": home,
        }
        if keyspace is not None:
            declared["keyspace"] = keyspace
        return {"clusters": {cluster: declared | more}}

    # What happens to nodes

    def kill(self, *targets: int | str, announce: bool = False) -> None:
        """Nodes refuse connections and cut those that are.

        Args:
            *targets: Numbers of nodes or names of datacenters; none stands for every node.
            announce: The nodes that are up tell their clients that these are DOWN; a real server needs seconds for it.
        """
        self._each(targets, FakeNode.stop)
        if announce:
            self.announce("DOWN", *targets)

    def start(self, *targets: int | str, announce: bool = True) -> None:
        """Nodes that were killed, or whose binary protocol was disabled, listen again; the data is still there.

        Args:
            *targets: As for `kill`.
            announce: The nodes that are up tell their clients that these are UP, as real servers do at once.
        """
        self._each(targets, FakeNode.start)
        if announce:
            self.announce("UP", *targets)

    def freeze(self, *targets: int | str) -> None:
        """Nodes go on to be connected to, by the kernel, but read and answer nothing."""
        self._each(targets, FakeNode.freeze)

    def thaw(self, *targets: int | str) -> None:
        """Nodes go on. What was sent to them meanwhile is executed now, also where the client has long gone.

        Statements that a script let hang with ``apply_later`` are executed too, frozen or not.
        """
        self._each(targets, FakeNode.thaw)

    def disable_binary(self, *targets: int | str, announce: bool = True) -> None:
        """Nodes stop to speak to clients, but go on as replicas; `start` ends it."""
        self._each(targets, lambda node: node.stop("binary disabled"))
        if announce:
            self.announce("DOWN", *targets)

    def announce(self, change: str, *targets: int | str) -> None:
        """The nodes that are up tell their clients that these nodes are ``"UP"`` or ``"DOWN"``."""
        chosen = self._chosen(targets)

        def push() -> None:
            for told in chosen:
                body = wire.text(change) + wire.address(told.address, self.port)
                for node in self.nodes:
                    if node is not told:
                        node.push("STATUS_CHANGE", body)

        self._call(push)

    def forget_prepared(self, *targets: int | str) -> None:
        """Nodes know no prepared statements any more, as after a restart with an empty cache."""
        self._each(targets, FakeNode.forget_prepared)

    # What a test says and sees

    def script(
        self,
        pattern: str | Callable[[Request], bool] | None = None,
        *,
        opcode: str | None = None,
        node: int | None = None,
        page: int | None = None,
        nth: int = 1,
        times: int | None = 1,
    ) -> Script:
        """A rule for requests that are still to come; say with its methods what happens to them.

        The first rule that means a request is done. Without `opcode` only statements of the application are meant
        (QUERY, EXECUTE, BATCH), and none that drivers send by themselves: USE, and what reads the tables of the system.

        Args:
            pattern: A regular expression that is searched in the statement, in any case; or a predicate of the
                request, which runs in the thread of the cluster and must not block; None for every statement.
            opcode: ``"QUERY"``, ``"EXECUTE"``, ``"BATCH"``, ``"PREPARE"``, ``"STARTUP"``, ``"OPTIONS"`` (heartbeats),
                ``"REGISTER"`` or ``"AUTH_RESPONSE"``; with it, requests of the driver are meant too.
            node: Only those that come to this node.
            page: Only those that ask for this page of a SELECT, from 1.
            nth: The first of them that is meant, from 1.
            times: How many are; None for all.
        """
        if opcode is not None and not opcode.isupper():
            raise FakeCassandraError(f"opcodes are written in capitals: {opcode.upper()!r}, not {opcode!r}")
        script = Script(pattern, opcode=opcode, node=node, page=page, nth=nth, times=times)
        return self._shared.scripts.add(script)

    def clear_scripts(self) -> None:
        """Forget all rules."""
        self._shared.scripts.clear()

    @property
    def requests(self) -> Sequence[Request]:
        """What arrived of the application (QUERY, PREPARE, EXECUTE and BATCH), in order."""
        return tuple(request for request in self._shared.journal.requests() if not request.internal)

    @property
    def traffic(self) -> Sequence[Request]:
        """What arrived at all, with handshakes, heartbeats and the driver's own queries."""
        return self._shared.journal.requests()

    @property
    def executed(self) -> Sequence[Executed]:
        """Statements of the application that were executed, in order."""
        return tuple(each for each in self._shared.journal.executions() if not each.request.internal)

    def clear_journal(self) -> None:
        """Forget what arrived and was executed so far."""
        self._shared.journal.clear()

    def execute(self, text: str, *, keyspace: str | None = None) -> list[dict[str, Any]]:
        """Run a statement on the store itself: not through a node, no script, not in the journal.

        Returns:
            The rows of a SELECT.

        Raises:
            CqlError: It cannot be read or done.
        """

        def run() -> list[dict[str, Any]]:
            done = self._shared.database.run(text, Context(keyspace=keyspace))
            if isinstance(done.result, SchemaChange):
                self._shared.schema_changed(done.result)
            return done.result.native() if isinstance(done.result, Rows) else []

        found: list[dict[str, Any]] = self._call(run)
        return found

    def create_keyspace(self, name: str, *, replication_factor: int = 3) -> None:
        """A keyspace with this many replicas in each datacenter, or as many as it has nodes."""
        homes = [node.datacenter for node in self.nodes]
        factors = ", ".join(f"'{home}': {min(replication_factor, homes.count(home))}" for home in dict.fromkeys(homes))
        self.execute(f"CREATE KEYSPACE {name} WITH replication = {{'class': 'NetworkTopologyStrategy', {factors}}}")

    def advance(self, by_s: float) -> None:
        """Move the clock of the servers on, so that what has a time to live ends."""
        self._offset_s += by_s

    # How

    def _call(self, function: Callable[[], Any]) -> Any:
        if os.getpid() != self._pid:
            raise FakeCassandraError("the fake cluster lives in the process that made it, not in a forked child")
        return self._shared.thread.call(function)

    def _each(self, targets: Sequence[int | str], function: Callable[[FakeNode], None]) -> None:
        chosen = self._chosen(targets)

        def run() -> None:
            for node in chosen:
                function(node)

        self._call(run)

    def _chosen(self, targets: Sequence[int | str]) -> list[FakeNode]:
        if not targets:
            return list(self.nodes)
        chosen: list[FakeNode] = []
        for target in targets:
            found = [node for node in self.nodes if target in {node.number, node.datacenter}]
            if not found:
                names = sorted({node.datacenter for node in self.nodes})
                raise FakeCassandraError(f"{target!r} is no node (1 to {len(self.nodes)}) and no datacenter ({names})")
            chosen.extend(found)
        return list(dict.fromkeys(chosen))

    def abandon(self) -> None:
        """Close every socket and leave the thread alone: what a forked child does by itself."""
        for node in self.nodes:
            node.abandon()
        self._reservation.release()


def _homes(nodes: int | None, datacenters: Mapping[str, int] | None) -> list[str]:
    """The datacenter of each node."""
    if datacenters is None:
        return ["dc1"] * (3 if nodes is None else nodes)
    homes = [name for name, count in datacenters.items() for _ in range(count)]
    if nodes is not None and nodes != len(homes):
        raise FakeCassandraError(f"nodes={nodes}, but the datacenters have {len(homes)} in all; leave nodes out")
    return homes


def _tokens(homes: Sequence[str]) -> list[int]:
    """Tokens such that each datacenter covers the ring evenly: they are dealt out in turn."""
    turns = sorted(range(len(homes)), key=lambda place: (homes[:place].count(homes[place]), place))
    tokens: dict[int, int] = dict(zip(turns, ring(len(homes)), strict=True))
    return [tokens[place] for place in range(len(homes))]


_alive: weakref.WeakSet[FakeCassandra] = weakref.WeakSet()


def _after_fork() -> None:
    """A child must hold no socket of the nodes: a killed node's port would stay open in it."""
    for fake in tuple(_alive):
        fake.abandon()
    _alive.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
