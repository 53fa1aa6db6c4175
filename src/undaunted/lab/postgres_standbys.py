"""Who leads and who follows in a PostgreSQL lab: promotion, and the way back for a node that led before."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from undaunted.core.durations import seconds
from undaunted.lab import postgres_node, postgres_told, postgres_wire
from undaunted.lab.cache import exclusive
from undaunted.lab.errors import LabError
from undaunted.lab.node import State
from undaunted.lab.postgres_servers import PostgresServers
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, NodeLike

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence

    from undaunted.lab.node import LabNode
    from undaunted.lab.postgres_told import Told

__all__ = ["PostgresStandbys"]

_ANSWER_TIMEOUT_S = 1.0
_FOLLOW_TIMEOUT_S = 5.0
_FOLLOW_POLL_S = 0.005
_SYNCHRONOUS = "synchronous"  # where the choice of `wait_for` is kept for other processes


class PostgresStandbys(PostgresServers):
    """The part of a PostgreSQL lab that changes roles; see `PostgresLab`."""

    _stop_signal = signal.SIGINT  # "fast": SIGTERM would wait until every client has gone by itself
    _role_holder: int | None = None  # the thread that changes roles

    # ------------------------------------------------------------- the primary

    def primary(self, timeout: float | str = 10.0) -> LabNode:
        """The node that takes writes; where two say they do (an old one has come back), that of the newer timeline.

        Raises:
            LabError: There is none within the timeout.
        """
        return self._find_primary(None, seconds(timeout))[0]

    def wait_primary(self, *, other_than: NodeLike | None = None, timeout: float | str = 60.0) -> float:
        """Wait for a primary, looking every 20 ms; returns `time.monotonic()` of when it was first seen.

        Args:
            other_than: A node that does not count, such as the one just killed.
            timeout: How long to wait.

        Raises:
            LabError: There is none within the timeout.
        """
        return self._find_primary(self.node(other_than) if other_than is not None else None, seconds(timeout))[1]

    def _find_primary(self, other_than: LabNode | None, timeout_s: float) -> tuple[LabNode, float]:
        deadline_s = time.monotonic() + timeout_s
        while True:
            told = self._told(node for node in self._nodes if node is not other_than)
            leader = self._leader(told)
            if leader is not None:
                return leader, time.monotonic()
            if time.monotonic() > deadline_s:
                states = self.states()
                seen = ", ".join(
                    f"{n.name} {states[n.name]} {told[n.name].role if n.name in told else 'unknown'}"
                    for n in self._nodes
                )
                what = f"primary other than {other_than.name}" if other_than is not None else "primary"
                raise LabError(
                    f"The lab {self.name} has had no {what} for {timeout_s:g} s ({seen}); promote a replica."
                )
            time.sleep(POLL_S)

    def leaderless(self) -> str | None:
        """Why nobody takes over just now, in one sentence; None if a new primary is to be expected, or is there."""
        roles = self.roles().values()
        if "primary" in roles or (self._failover_s is not None and "replica" in roles):
            return None
        if "replica" not in roles:
            return "No replica answers: there is no primary now."
        return "There is no primary now, until a replica is promoted: undaunted lab promote"

    def leader(self, usual: LabNode | None = None) -> LabNode | None:
        """The primary, if it answers just now.

        Args:
            usual: The one to ask first; the others are left in peace while it answers.
        """
        told = {} if usual is None else self._told([usual])
        return self._leader(told) or self._leader(self._told(self._nodes))

    # ------------------------------------------------------------------- roles

    def promote(self, which: NodeLike | None = None, *, timeout: float | str = 60.0) -> LabNode:
        """Make a standby the primary; returns it when it takes writes and the other standbys follow it.

        A primary that is there is left alone: from then on there are two, and the older one, if its synchronous
        standbys have gone over, acknowledges nothing. `step_down` hands over in good order.

        Args:
            which: The standby. Default: the one that has most of the log: all that was acknowledged, if a synchronous
                one answers.
            timeout: How long it may take.

        Raises:
            LabError: It is not an answering replica, or did not become primary in time.
        """
        with self._roles_held():
            return self._promote(None if which is None else self.node(which), seconds(timeout))

    def promote_heir(self) -> bool:
        """Promote the standby that has most of the log, unless there is a primary after all; whether it was done.

        Raises:
            LabError: No standby answers, or it did not become primary in time.
        """
        with self._roles_held():
            if self.leader() is not None:
                return False
            self._promote(None, START_TIMEOUT_S)
        return True

    def step_down(self, which: NodeLike = "primary", *, timeout: float | str = START_TIMEOUT_S) -> LabNode:
        """Make the primary hand over in good order: it ends, the best standby is promoted, and it comes back as one.

        Returns:
            The node that was primary.

        Raises:
            LabError: The node is not primary, or there is no standby to take over.
        """
        node = self.node(which)
        with self._roles_held():
            if node.role != "primary":
                raise LabError(f"{node.name} is {node.role}, so it cannot step down; that takes the primary.")
            heir = self._heir(node)
            self.stop(node, timeout=timeout)
            self._promote(heir, seconds(timeout))
            self._make_standby(node)
            self._come_back(node, heir, seconds(timeout))
        return node

    def rewind(self, which: NodeLike, *, timeout: float | str = START_TIMEOUT_S) -> LabNode:
        """Make a node a standby of the primary, whatever it was; returns it when it follows.

        It is ended first (an old primary is killed, so that nobody writes to it any more). What it had and the primary
        has not is taken from its data (``pg_rewind``), or, where that cannot be done, it gets all of it anew.

        Raises:
            LabError: It is the primary itself, there is no primary, or it did not come back in time.
        """
        with self._roles_held():
            node = self.node(which)
            if self.leader() is node:
                raise LabError(f"{node.name} is the primary, so it cannot be rewound; promote another node first.")
            leader = self._find_primary(node, 10.0)[0]
            self._rewind(node, leader, seconds(timeout))
        return node

    def lag(self, which: NodeLike) -> LabNode:
        """Make a standby fall behind: it receives the log, and does not replay it until `catch_up`.

        Raises:
            LabError: It is not a standby that answers.
        """
        return self._replay(which, "pause")

    def catch_up(self, which: NodeLike | None = None) -> list[LabNode]:
        """Let a standby replay again, or every one where none is named; returns those that were behind on purpose.

        Raises:
            LabError: The named one is not a standby that answers.
        """
        if which is not None:
            return [self._replay(which, "resume")]
        told = self._told(self._nodes)
        return [self._replay(node, "resume") for node in self._nodes if node.name in told and told[node.name].is_paused]

    def heal(self, *, timeout: float | str = START_TIMEOUT_S) -> None:
        """Undo every fault: all nodes come back, those that led before as standbys of the one that leads now."""
        timeout_s = seconds(timeout)
        deadline_s = time.monotonic() + timeout_s
        with self._roles_held():
            self._fence_frozen()
            self.thaw()
            self.speed_up()
            self.catch_up()
            assert self._place is not None  # noqa: S101
            (self._place / _SYNCHRONOUS).unlink(missing_ok=True)
            leader = self._restore_leader(timeout_s)
            self._operate(leader, "ALTER SYSTEM RESET ALL")
            self._restore_followers(leader, timeout_s)
        self.wait_healthy(max(0.0, deadline_s - time.monotonic()))

    def start(self, which: NodeLike | None = None, *, timeout: float | str = START_TIMEOUT_S) -> list[LabNode]:
        """Start a node that is down, or all that are where none is named: same address, same data, same role.

        A standby follows who is primary now. An old primary comes back as a primary, beside the one that was promoted;
        `rewind` or `heal` makes it a standby.

        Returns:
            Those that were started, once they answer.

        Raises:
            LabError: The named one is not down, or it did not come up.
        """
        leader = self.leader()
        for node in [self.node(which)] if which is not None else self._in_state(State.DOWN):
            if leader is not None and node is not leader and postgres_node.is_standby(self._root(node)):
                self._point(node, leader)
        started = super().start(which, timeout=timeout)
        leader = self.leader()
        if leader is not None:
            self._renew_names(leader)
        return started

    def restart(self, which: NodeLike | None = None, *, timeout: float | str = START_TIMEOUT_S) -> LabNode:
        """End a node cleanly and start it again in its role; returns it when it answers.

        Args:
            which: The node. Default: the primary.
            timeout: How long each half may take.

        Raises:
            LabError: It is not up, has not ended in time, or did not come up.
        """
        with self._roles_held():  # the watcher does not take this for a failure
            return super().restart(which, timeout=timeout)

    @property
    def synchronous(self) -> str | None:
        """What each primary is to have as its ``synchronous_standby_names``; None if the lab chooses."""
        assert self._place is not None  # noqa: S101
        chosen = self._place / _SYNCHRONOUS
        return chosen.read_text(encoding="utf-8") if chosen.exists() else self._synchronous

    def wait_for(self, names: str | None) -> None:
        """Choose anew for which standbys a COMMIT waits, from now on and on each primary to come.

        Args:
            names: ``synchronous_standby_names``: ``""`` for none, a name that nobody has so that every COMMIT hangs, or
                None so that the lab chooses, which is also what `heal` brings back where it was so at first.
        """
        assert self._place is not None  # noqa: S101
        with self._roles_held():
            if names is None:
                (self._place / _SYNCHRONOUS).unlink(missing_ok=True)
            else:
                postgres_node.write(self._place / _SYNCHRONOUS, names, self._account)
            leader = self.leader()
            if leader is not None:
                self._renew_names(leader)

    # ----------------------------------------------------- how a role is changed

    def _promote(self, wanted: LabNode | None, timeout_s: float) -> LabNode:
        node = wanted if wanted is not None else self._heir(None)
        told = self._told(self._nodes)
        if node.name not in told or not told[node.name].is_standby:
            found = f"{self.state(node)} and {told[node.name].role if node.name in told else 'gives no answer'}"
            raise LabError(f"{node.name} is {found}, so it cannot be promoted; that takes a replica that answers.")
        deadline_s = time.monotonic() + timeout_s
        followers = [
            other for other in self._nodes if other is not node and other.name in told and told[other.name].is_standby
        ]
        for other in followers:  # before the promotion: what they receive from now on, the new primary has too
            self._point(other, node)
        self._point(node, None, names=self._names_for(node, followers))
        self._operate(node, "SELECT pg_promote(false)")
        while (now := self._told([node]).get(node.name)) is None or now.is_standby:
            self._wait(deadline_s, f"{node.name} did not become primary", _FOLLOW_POLL_S)
        self._fetch_followers(node, followers, deadline_s)
        return node

    def _fetch_followers(self, leader: LabNode, followers: Sequence[LabNode], deadline_s: float) -> None:
        """Wait until all follow; one that had more than the new primary must give that up first."""
        fork = postgres_node.fork(self._root(leader))
        told = self._told(followers)
        for other in followers:
            if other.name in told and told[other.name].flushed > fork and not self._follows(other, leader):
                self._rewind(other, leader, max(0.0, deadline_s - time.monotonic()))
        give_up_s = min(deadline_s, time.monotonic() + _FOLLOW_TIMEOUT_S)
        for other in followers:
            while not self._follows(other, leader) and time.monotonic() < give_up_s:
                if self.state(other) not in {State.UP, State.SLOW}:
                    break
                time.sleep(_FOLLOW_POLL_S)

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
                self._come_back(node, leader, min(timeout_s, _FOLLOW_TIMEOUT_S))
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

    def _fence_frozen(self) -> None:
        """Kill a frozen old primary beside a new one: thawed, it could acknowledge what is then undone."""
        if self.leader() is not None:
            for node in self._in_state(State.FROZEN):
                if not postgres_node.is_standby(self._root(node)):
                    self.kill(node)

    def _restore_leader(self, timeout_s: float) -> LabNode:
        leader = self.leader()
        down = self._in_state(State.DOWN)
        led = [node for node in down if not postgres_node.is_standby(self._root(node))]
        newest = max(led, key=lambda node: postgres_node.timeline(self._root(node)), default=None)
        if newest is not None and (
            leader is None or postgres_node.timeline(self._root(newest)) > postgres_node.timeline(self._root(leader))
        ):
            super().start(newest, timeout=timeout_s)
            leader = newest
        if leader is None:  # each node is a standby: the one that was to become primary did not
            for node in down:
                super().start(node, timeout=timeout_s)
            leader = self._promote(None, timeout_s)
        return leader

    def _restore_followers(self, leader: LabNode, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        followers = [node for node in self._nodes if node is not leader]
        told = self._told(self._nodes)
        for node in followers:
            root = self._root(node)
            if node.name in told and told[node.name].is_standby:
                self._point(node, leader)
            elif node.name not in told and self.state(node) == State.DOWN and postgres_node.is_standby(root):
                self._point(node, leader)
                self._spawn(node)
            else:
                self._rewind(node, leader, timeout_s)
        self._await_answers(followers, timeout_s=timeout_s)
        give_up_s = min(deadline_s, time.monotonic() + _FOLLOW_TIMEOUT_S)
        for node in followers:
            while not self._follows(node, leader):
                if time.monotonic() > give_up_s:  # it has what the primary has not, or misses what is no longer there
                    self._rewind(node, leader, timeout_s)
                time.sleep(POLL_S)
        self._point(leader, None, names=self._names_for(leader, followers))

    # ------------------------------------------------------ what a node is told

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

    # ------------------------------------------------------------------ looking

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

    def _heir(self, leader: LabNode | None) -> LabNode:
        """The standby that has most of the log."""
        told = self._told(self._nodes)
        standbys = [
            node for node in self._nodes if node is not leader and node.name in told and told[node.name].is_standby
        ]
        if not standbys:
            raise LabError(f"The lab {self.name} has no replica that answers, so none can be promoted; start one.")
        return max(standbys, key=lambda node: told[node.name].flushed)

    def _follows(self, node: LabNode, leader: LabNode) -> bool:
        told = self._told([node, leader])
        return len(told) == 2 and told[leader.name].is_followed_by(node.name, told[node.name])

    def _replay(self, which: NodeLike, verb: str) -> LabNode:
        node = self.node(which)
        told = self._told([node]).get(node.name)
        if told is None or not told.is_standby:
            found = "primary" if told is not None else self.state(node)
            raise LabError(
                f"{node.name} is {found}, so its replay cannot be {verb}d; that takes a replica that answers."
            )
        self._operate(node, f"SELECT pg_wal_replay_{verb}()")
        return node

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
