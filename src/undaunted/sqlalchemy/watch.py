"""What is known of a cluster's nodes: fed by the monitors, asked by everybody else, told to listeners as it changes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from undaunted import events
from undaunted.engine.call import current_call
from undaunted.sqlalchemy.choice import (
    Choice,
    choose_primary,
    choose_replicas,
    identity_of,
    lost_by,
    newest_timeline,
)
from undaunted.sqlalchemy.sights import Sight
from undaunted.sqlalchemy.tokens import Token
from undaunted.sqlalchemy.versions import OLDEST_SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from undaunted.engine.guard import Guard

__all__ = ["Watch"]


class Watch:
    """One per cluster.

    Args:
        guard: The cluster's part; its outage clock is fed from here.
        addresses: The nodes.
        cut: Told, with a node's address, to end all connections to it.

    Attributes:
        primary: The node that takes writes; None while there is none. Read without a lock.
        newest: The newest timeline that was ever seen.
        identity: The system identifier of the cluster, once it is known.
        contested: The nodes that say at once that they take writes; empty where there are not two.
        lost_acknowledged: How often a promoted node lacked what had been acknowledged.
    """

    def __init__(self, guard: Guard, addresses: Sequence[str], *, cut: Callable[[str], None]) -> None:
        self._guard = guard
        self._addresses = tuple(addresses)
        self._cut = cut
        self.lost_acknowledged = 0
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything, with fresh locks: at the start, and in a forked child."""
        self.changed = threading.Condition()
        self._sights: dict[str, Sight] = {address: Sight(address=address) for address in self._addresses}
        self._epochs = dict.fromkeys(self._addresses, 0)
        self._wakers: set[Callable[[], None]] = set()
        self._turn = 0
        self.primary: str | None = None
        self.newest = 0
        self.identity: int | None = None
        self.contested: tuple[str, ...] = ()
        self._claimed: tuple[tuple[str, ...], float] | None = None
        self._acknowledged: tuple[Token, float] | None = None
        self._was_primary: str | None = None
        self._lost_s: float | None = None
        self._without_node_s: float | None = None

    # -- what is known -------------------------------------------------------------------------

    def sights(self) -> tuple[Sight, ...]:
        """Every node as it was last seen, in the order of the settings."""
        return tuple(self._sights.values())

    def sight(self, address: str) -> Sight:
        """One node as it was last seen."""
        return self._sights.get(address) or Sight(address=address)

    def epoch(self, address: str) -> int:
        """How often a node has been lost; a connection of an earlier epoch is dead, or would speak to the past."""
        return self._epochs.get(address, -1)

    def is_current(self, address: str, epoch: int, *, for_writes: bool) -> bool:
        """Whether a connection of this epoch to this node may be used."""
        return self._epochs.get(address) == epoch and (not for_writes or self.primary == address)

    def readers(self, *, after: Token | None, avoid: Collection[str]) -> list[str]:
        """The replicas that may serve a reader, the best first."""
        self._turn = turn = self._turn + 1
        primary = None if self.primary is None else self._sights[self.primary]
        return choose_replicas(self.sights(), primary=primary, after=after, avoid=avoid, turn=turn)

    def token_since(self, committed_s: float) -> Token | None:
        """A position behind every commit that had returned by then; None while the primary was not asked since."""
        address = self.primary
        if address is None:
            return None
        sight = self._sights[address]
        if sight.asked_s is None or sight.asked_s < committed_s or sight.timeline is None or sight.lsn is None:
            return None
        return Token(sight.timeline, sight.lsn)

    def flushed(self, address: str) -> tuple[int, int] | None:
        """Timeline and position up to which a primary's log was on its disk when it was asked last.

        What commits after this moment commits behind it.
        """
        sight = self._sights.get(address)
        if sight is None or sight.timeline is None or sight.flushed_lsn is None:
            return None
        return sight.timeline, sight.flushed_lsn

    def acknowledged(self, token: Token) -> None:
        """Note a position that is certainly within what has been committed."""
        known = self._acknowledged
        if known is None or token > known[0]:
            self._acknowledged = (token, time.monotonic())

    # -- who waits -----------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> None:
        """Wait in a thread until something has changed, but not for longer than this."""
        with self.changed:
            self.changed.wait(timeout_s)

    def wait_for(self, address: str | None, timeout_s: float) -> None:
        """Wait in a thread until there is a primary, or with an address until something is known of that node."""

        def is_known() -> bool:
            if address is None:
                return self.primary is not None
            sight = self.sight(address)
            return sight.is_up or sight.error is not None

        waiting = self._guard.waiting
        call = current_call()
        entry = waiting.begun(time.monotonic() if call is None else call.started_s)
        try:
            with self.changed:
                self.changed.wait_for(is_known, timeout_s)
        finally:
            waiting.ended(entry)

    def add_waker(self, waker: Callable[[], None]) -> None:
        """Have something called, from a monitor's thread, at each change."""
        with self.changed:
            self._wakers.add(waker)

    def remove_waker(self, waker: Callable[[], None]) -> None:
        """Have it called no more."""
        with self.changed:
            self._wakers.discard(waker)

    # -- what the monitors tell ----------------------------------------------------------------

    def begin(self) -> None:
        """The monitors begin: nothing is known yet, and the outage clock runs."""
        self._guard.outage.primary_lost()

    def saw(self, sight: Sight, *, restarted: bool = False) -> None:
        """Take what a monitor has seen.

        Args:
            sight: The node.
            restarted: Whether it is another process than before, so that all earlier connections are dead.
        """
        told: list[events.Event] = []
        with self.changed:
            address = sight.address
            if address not in self._sights:
                return
            seen = self._usable(sight)
            before = self._sights[address]
            self._sights[address] = seen
            is_lost = before.is_up and not seen.is_up
            to_cut = [address] if is_lost or (restarted and before.is_up) else []
            for each in to_cut:
                self._epochs[each] += 1
            told += self._of_node(before, seen)
            replaced = self._choose(told)
            if replaced is not None and replaced not in to_cut and self._is_deposed(replaced):
                to_cut.append(replaced)  # what is not finished there must not be finished there any more
                self._epochs[replaced] += 1
            self._of_outage(told)
            self._of_loss(told)
            has_changed = bool(told) or before.role != seen.role or bool(to_cut)
            wakers = tuple(self._wakers) if has_changed else ()
            if has_changed:
                self.changed.notify_all()
        for each in to_cut:
            self._cut(each)
        for waker in wakers:
            waker()
        for event in told:
            self._guard.publish(event)

    def _usable(self, sight: Sight) -> Sight:
        """The same node, but not as one that may be used where it is too old or belongs to another cluster."""
        if not sight.is_up:
            return sight
        if sight.server_version is not None and sight.server_version < OLDEST_SERVER:
            return replace(sight, role="unknown", error="too old")
        if self.identity and sight.system_identifier not in (None, self.identity):
            return replace(sight, role="unknown", error="another cluster")
        return sight

    def _choose(self, told: list[events.Event]) -> str | None:
        """Choose the primary anew; returns the node that was it and is no more."""
        sights = self.sights()
        if self.identity is None:
            self.identity = identity_of(sights, None)
            if self.identity is None:
                return self._replace_primary(None, told)
            for each in sights:
                self._sights[each.address] = self._usable(each)
            sights = self.sights()
        self.newest = newest_timeline(sights, self.newest)
        choice = choose_primary(sights, current=self.primary or self._was_primary, newest=self.newest)
        self._of_claimants(choice, told)
        return self._replace_primary(choice.primary, told)

    def _of_claimants(self, choice: Choice, told: list[events.Event]) -> None:
        """Tell of two nodes that take writes; one that has just been frozen or killed does so no more."""
        if len(choice.claimants) < 2:
            self._claimed = None
            self.contested = ()
            return
        if self._claimed is None or self._claimed[0] != choice.claimants:
            self._claimed = (choice.claimants, time.monotonic())
        if self.contested != choice.claimants and all(
            (self._sights[address].asked_s or 0.0) >= self._claimed[1] for address in choice.claimants
        ):
            self.contested = choice.claimants
            told.append(self._event(events.TwoPrimaries, nodes=choice.claimants, chosen=choice.primary))

    def _replace_primary(self, after: str | None, told: list[events.Event]) -> str | None:
        before = self.primary
        if after == before:
            return None
        self.primary = after
        now_s = time.monotonic()
        if before is not None:
            self._was_primary = before
        if after is None:
            self._lost_s = now_s
            self._guard.outage.primary_lost()
            told.append(self._event(events.PrimaryLost, node=before))
            return before
        self._guard.outage.primary_found()
        told.append(self._event(events.PrimaryFound, node=after))
        if self._was_primary is not None and self._was_primary != after:
            elapsed_s = 0.0 if self._lost_s is None else now_s - self._lost_s
            told.append(
                self._event(events.FailoverCompleted, from_node=self._was_primary, to_node=after, elapsed_s=elapsed_s)
            )
        self._lost_s = None
        return before

    def _is_deposed(self, address: str) -> bool:
        """Whether a node that was primary is known to be it no more: another one is, or it is behind a promotion.

        The second is known first, where a standby tells of the new timeline before the promoted node does.
        """
        timeline = self._sights[address].timeline
        return self.primary is not None or (timeline is not None and timeline < self.newest)

    def _of_node(self, before: Sight, seen: Sight) -> list[events.Event]:
        if seen.is_up and not before.is_up:
            return [self._event(events.NodeFound, node=seen.address, role=seen.role)]
        if before.is_up and not seen.is_up:
            return [self._event(events.NodeLost, node=seen.address, reason=seen.error)]
        return []

    def _of_outage(self, told: list[events.Event]) -> None:
        outage = self._guard.outage
        if any(sight.is_up for sight in self._sights.values()):
            if outage.any_found() and self._without_node_s is not None:
                elapsed_s = time.monotonic() - self._without_node_s
                told.append(self._event(events.OutageEnded, elapsed_s=elapsed_s))
            self._without_node_s = None
        elif all(sight.error is not None for sight in self._sights.values()) and outage.all_lost():
            self._without_node_s = time.monotonic()
            told.append(self._event(events.OutageBegan))

    def _of_loss(self, told: list[events.Event]) -> None:
        if self._acknowledged is None or self.primary is None:
            return
        token, noted_s = self._acknowledged
        lost = lost_by(self._sights[self.primary], token, noted_s)
        if lost is not None:
            self._acknowledged = None
            self.lost_acknowledged += 1
            told.append(
                self._event(events.AcknowledgedLost, node=self.primary, from_node=self._was_primary, lost_bytes=lost)
            )

    def _event(self, kind: type[events.Event], **fields: Any) -> events.Event:
        return kind(cluster=self._guard.cluster, backend=self._guard.backend, **fields)
