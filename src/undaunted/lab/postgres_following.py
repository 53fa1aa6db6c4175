"""Whom a PostgreSQL node follows: how it is told, whether it does, and how it comes back to it."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from undaunted.lab import postgres_node, postgres_told, postgres_wire
from undaunted.lab.cache import exclusive
from undaunted.lab.errors import LabError
from undaunted.lab.node import State
from undaunted.lab.postgres_servers import PostgresServers
from undaunted.lab.verbs import POLL_S

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from undaunted.lab.node import LabNode
    from undaunted.lab.postgres_told import Told

__all__ = ["FOLLOW_TIMEOUT_S", "SYNCHRONOUS", "PostgresFollowing"]

_ANSWER_TIMEOUT_S = 1.0
FOLLOW_TIMEOUT_S = 5.0
SYNCHRONOUS = "synchronous"  # where the choice of `wait_for` is kept for other processes


class PostgresFollowing(PostgresServers):
    """The part of a PostgreSQL lab that has nodes follow each other; see `PostgresLab`."""

    _stop_signal = signal.SIGINT  # "fast": SIGTERM would wait until every client has gone by itself
    _role_holder: int | None = None  # the thread that changes roles

    # ------------------------------------------------------------------ looking

    def leader(self, usual: LabNode | None = None) -> LabNode | None:
        """The primary, if it answers just now.

        Args:
            usual: The one to ask first; the others are left in peace while it answers.
        """
        told = {} if usual is None else self._told([usual])
        return self._leader(told) or self._leader(self._told(self._nodes))

    def _told(self, nodes: Iterable[LabNode]) -> dict[str, Told]:
        """The answers of those that can give one: a frozen one would take all of the time there is."""
        states = self.states()
        return postgres_told.ask(
            [node for node in nodes if states[node.name] in {State.UP, State.SLOW}], timeout_s=_ANSWER_TIMEOUT_S
        )

    def _answering(self, nodes: Sequence[LabNode]) -> Mapping[str, object]:
        return postgres_told.ask(nodes, timeout_s=_ANSWER_TIMEOUT_S)

    def _leader(self, told: Mapping[str, Told]) -> LabNode | None:
        leaders = [node for node in self._nodes if node.name in told and not told[node.name].is_standby]
        return max(leaders, key=lambda node: told[node.name].timeline, default=None)

    def _follows(self, node: LabNode, leader: LabNode) -> bool:
        told = self._told([node, leader])
        return len(told) == 2 and told[leader.name].is_followed_by(node.name, told[node.name])

    # ------------------------------------------------------ what a node is told

    @property
    def synchronous(self) -> str | None:
        """What each primary is to have as its ``synchronous_standby_names``; None if the lab chooses."""
        assert self._place is not None  # noqa: S101
        chosen = self._place / SYNCHRONOUS
        return chosen.read_text(encoding="utf-8") if chosen.exists() else self._synchronous

    def _point_all(self, leader: LabNode) -> None:
        """Tell all nodes whom to follow."""
        followers = [node for node in self._nodes if node is not leader]
        self._point(leader, None, names=self._names_for(leader, followers))
        for node in followers:
            self._point(node, leader)

    def _point(self, node: LabNode, leader: LabNode | None, *, names: str = "") -> None:
        """Tell a node whom to follow, or, to a primary, for which standbys a COMMIT waits; at once if it is up."""
        lines = [f"synchronous_standby_names = {postgres_node.quoted(names)}"]
        if leader is not None:
            info = postgres_node.conninfo(
                host=postgres_wire.SOCKET_HOST,
                port=leader.port,
                user=postgres_wire.OPERATOR,
                application_name=node.name,
                connect_timeout=2,
            )
            lines.append(f"primary_conninfo = {postgres_node.quoted(info)}")
        postgres_node.write(self._root(node) / "role.conf", "\n".join([*lines, ""]), self._account)
        if self._guardian.servers().get(node.name, {}).get("state", "down") != "down":
            self._guardian.signal(node.name, signal.SIGHUP)

    def _make_standby(self, node: LabNode) -> None:
        postgres_node.write(postgres_node.standby_signal(self._root(node)), "", self._account)

    def _names_for(self, leader: LabNode, followers: Sequence[LabNode]) -> str:
        """For which standbys a COMMIT on this primary waits, when these are there."""
        if self.synchronous is not None:
            return self.synchronous
        if not followers:
            return ""
        return f"FIRST 1 ({', '.join(node.name for node in self._nodes if node is not leader)})"

    def _renew_names(self, leader: LabNode) -> None:
        """Have a primary that was alone wait for standbys again, now that there is one."""
        told = self._told(self._nodes)
        if leader.name not in told or told[leader.name].is_standby:
            return
        followers = [node for node in self._nodes if node.name in told and told[node.name].is_standby]
        names = self._names_for(leader, followers)
        if names != told[leader.name].synchronous and (followers or self.synchronous is not None):
            self._point(leader, None, names=names)

    # --------------------------------------------------- how a node comes to follow

    def _rewind(self, node: LabNode, leader: LabNode, timeout_s: float) -> None:
        root = self._root(node)
        is_standby = postgres_node.is_standby(root)
        if is_standby and self.state(node) in {State.UP, State.SLOW}:
            self.stop(node, timeout=timeout_s)  # one that crashed cannot be rewound without making a primary of it
        elif self.state(node) != State.DOWN:
            self.kill(node)
        is_other_line = postgres_node.timeline(root) != postgres_node.timeline(self._root(leader))
        try:
            if is_other_line or is_standby:  # else both led on a timeline of the same number, which pg_rewind overlooks
                self._undo(node, leader)
                self._make_standby(node)
                self._come_back(node, leader, min(timeout_s, FOLLOW_TIMEOUT_S))
                return
        except LabError:
            if self.state(node) != State.DOWN:
                self.kill(node)
        self._copy_from(node, leader)
        self._make_standby(node)
        self._come_back(node, leader, timeout_s)

    def _undo(self, node: LabNode, leader: LabNode) -> None:
        """Take from the data of a node what the primary has not."""
        root, programs = self._root(node), self._found_programs()
        source = postgres_node.conninfo(
            host=postgres_wire.SOCKET_HOST, port=leader.port, user=postgres_wire.OPERATOR, dbname=postgres_wire.OPERATOR
        )
        # Until its next checkpoint a new primary tells the old timeline, and pg_rewind would see nothing to do.
        self._operate(leader, "CHECKPOINT")
        self._point(node, None)
        self._tool(
            node,
            programs.path("pg_rewind"),
            f"--target-pgdata={root / 'data'}",
            f"--source-server={source}",
            "--no-sync",
            *([f"--config-file={root / 'postgresql.conf'}"] if programs.version >= 15 else []),
        )

    def _copy_from(self, node: LabNode, leader: LabNode) -> None:
        """Give a node all data of the primary anew."""
        root = self._root(node)
        shutil.rmtree(root / "data", ignore_errors=True)
        source = postgres_node.conninfo(host=postgres_wire.SOCKET_HOST, port=leader.port, user=postgres_wire.OPERATOR)
        flags = ["--checkpoint=fast", "--wal-method=stream", "--no-sync"]
        self._tool(
            node,
            self._found_programs().path("pg_basebackup"),
            f"--pgdata={root / 'data'}",
            f"--dbname={source}",
            *flags,
        )

    def _come_back(self, node: LabNode, leader: LabNode, timeout_s: float) -> None:
        """Start a standby that is down, and wait until it follows."""
        deadline_s = time.monotonic() + timeout_s
        self._point(node, leader)
        super().start(node, timeout=timeout_s)
        self._await_follows(node, leader, deadline_s)

    def _await_follows(self, node: LabNode, leader: LabNode, deadline_s: float) -> None:
        while not self._follows(node, leader):
            self._wait(deadline_s, f"{node.name} did not come to follow {leader.name}", POLL_S)
        self._renew_names(leader)

    def _wait(self, deadline_s: float, complaint: str, poll_s: float) -> None:
        if time.monotonic() > deadline_s:
            raise LabError(f"{complaint} in time; see {self.log(self._nodes[0]).parent.parent} for the logs.")
        time.sleep(poll_s)

    @contextmanager
    def _roles_held(self) -> Generator[None]:
        """Change roles alone: not beside another thread, another terminal, or the watcher that promotes."""
        assert self._place is not None  # noqa: S101
        if self._role_holder == threading.get_ident():
            yield
            return
        with exclusive(self._place / "roles.lock"):
            self._role_holder = threading.get_ident()
            try:
                yield
            finally:
                self._role_holder = None
