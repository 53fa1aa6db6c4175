"""Who leads in a PostgreSQL lab: promotion, handing over, and the way back to health."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from undaunted.core.durations import seconds
from undaunted.lab import postgres_node, postgres_wire
from undaunted.lab.errors import LabError
from undaunted.lab.node import State
from undaunted.lab.postgres_following import FOLLOW_TIMEOUT_S, SYNCHRONOUS, PostgresFollowing
from undaunted.lab.verbs import POLL_S, START_TIMEOUT_S, NodeLike

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from undaunted.lab.node import LabNode

__all__ = ["PostgresStandbys"]

_FOLLOW_POLL_S = 0.005
_TURN_S = 1.0


class PostgresStandbys(PostgresFollowing):
    """The part of a PostgreSQL lab that changes roles; see `PostgresLab`."""

    # ----------------------------------------------------------------- the primary

    _no_primary = "; promote a replica"

    def _look(self, among: Sequence[LabNode]) -> tuple[LabNode | None, Mapping[str, str]]:
        told = self._told(among)
        return self._leader(told), {name: answer.role for name, answer in told.items()}

    def leaderless(self) -> str | None:
        """Why nobody takes over just now, in one sentence; None if a new primary is to be expected, or is there."""
        roles = self.roles().values()
        if "primary" in roles or (self._failover_s is not None and "replica" in roles):
            return None
        if "replica" not in roles:
            return "No replica answers: there is no primary now."
        return "There is no primary now, until a replica is promoted: undaunted lab promote"

    # ----------------------------------------------------------------------- roles

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

    def wait_for(self, names: str | None) -> None:
        """Choose anew for which standbys a COMMIT waits, from now on and on each primary to come.

        Args:
            names: ``synchronous_standby_names``: ``""`` for none, a name that nobody has so that every COMMIT hangs, or
                None so that the lab chooses, which is also what `heal` brings back where it was so at first.
        """
        assert self._place is not None  # noqa: S101
        with self._roles_held():
            if names is None:
                (self._place / SYNCHRONOUS).unlink(missing_ok=True)
            else:
                postgres_node.write(self._place / SYNCHRONOUS, names, self._account)
            leader = self.leader()
            if leader is not None:
                self._renew_names(leader)

    # ---------------------------------------------------------------------- health

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
            (self._place / SYNCHRONOUS).unlink(missing_ok=True)
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

    # -------------------------------------------------------------- how it is done

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
        self._wait_turned(followers, node, deadline_s)
        self._point(node, None, names=self._names_for(node, followers))
        self._operate(node, "SELECT pg_promote(false)")
        while (now := self._told([node]).get(node.name)) is None or now.is_standby:
            self._wait(deadline_s, f"{node.name} did not become primary", _FOLLOW_POLL_S)
        self._fetch_followers(node, followers, deadline_s)
        return node

    def _wait_turned(self, followers: Sequence[LabNode], node: LabNode, deadline_s: float) -> None:
        """Wait until none receives from another node any more; those that give no answer confirm nothing either.

        Else one could take the place of the promoted one with a primary that goes on, and have it acknowledge what the
        new primary lacks.
        """
        question = f"SELECT sender_port FROM pg_stat_wal_receiver WHERE sender_port <> {node.port}"  # noqa: S608  # a number
        while still := [n for n, row in postgres_wire.ask(followers, question, timeout_s=_TURN_S).items() if row]:
            self._wait(deadline_s, f"{', '.join(still)} did not leave the primary that was", _FOLLOW_POLL_S)

    def _fetch_followers(self, leader: LabNode, followers: Sequence[LabNode], deadline_s: float) -> None:
        """Wait until all follow; one that had more than the new primary must give that up first."""
        fork = postgres_node.fork(self._root(leader))
        told = self._told(followers)
        for other in followers:
            if other.name in told and told[other.name].flushed > fork and not self._follows(other, leader):
                self._rewind(other, leader, max(0.0, deadline_s - time.monotonic()))
        give_up_s = min(deadline_s, time.monotonic() + FOLLOW_TIMEOUT_S)
        for other in followers:
            while not self._follows(other, leader) and time.monotonic() < give_up_s:
                if self.state(other) not in {State.UP, State.SLOW}:
                    break
                time.sleep(_FOLLOW_POLL_S)

    def _heir(self, leader: LabNode | None) -> LabNode:
        """The standby that has most of the log."""
        told = self._told(self._nodes)
        standbys = [
            node for node in self._nodes if node is not leader and node.name in told and told[node.name].is_standby
        ]
        if not standbys:
            raise LabError(f"The lab {self.name} has no replica that answers, so none can be promoted; start one.")
        return max(standbys, key=lambda node: told[node.name].flushed)

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
        give_up_s = min(deadline_s, time.monotonic() + FOLLOW_TIMEOUT_S)
        for node in followers:
            while not self._follows(node, leader):
                if time.monotonic() > give_up_s:  # it has what the primary has not, or misses what is no longer there
                    self._rewind(node, leader, timeout_s)
                time.sleep(POLL_S)
        self._point(leader, None, names=self._names_for(leader, followers))
