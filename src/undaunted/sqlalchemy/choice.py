"""Which node takes writes and which may serve a reader: pure decisions over what the monitors have seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from undaunted.sqlalchemy.sights import Sight
    from undaunted.sqlalchemy.tokens import Token

__all__ = [
    "Choice",
    "choose_primary",
    "choose_replicas",
    "has_reached",
    "identity_of",
    "is_past_fork",
    "lost_by",
    "newest_timeline",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which node takes writes.

    Attributes:
        primary: That node; None where there is none, or where it cannot be told which.
        claimants: Every node that says that it does.
    """

    primary: str | None
    claimants: tuple[str, ...] = ()


def choose_primary(sights: Iterable[Sight], *, current: str | None, newest: int) -> Choice:
    """The node that writes go to.

    Each promotion begins a timeline, so of two nodes that take writes the one with the older timeline was replaced: it
    has come back, or was never told. What it is given would be lost.

    Args:
        sights: Every node of the cluster as it was last seen.
        current: The node that writes have gone to until now.
        newest: The newest timeline that has ever been seen; a node on an older one is refused although it is alone.
    """
    claiming = [sight for sight in sights if sight.role == "primary"]
    claimants = tuple(sight.address for sight in claiming)
    rightful = [sight for sight in claiming if sight.timeline is not None and sight.timeline >= newest]
    if not rightful:
        return Choice(primary=None, claimants=claimants)
    top = max(sight.timeline or 0 for sight in rightful)
    leaders = [sight.address for sight in rightful if sight.timeline == top]
    if len(leaders) == 1:
        return Choice(primary=leaders[0], claimants=claimants)
    # Two of the same timeline: one of them was made from a copy of the other. Only who is known to be right is kept.
    return Choice(primary=current if current in leaders else None, claimants=claimants)


def newest_timeline(sights: Iterable[Sight], newest: int) -> int:
    """The newest timeline, with what these nodes say: a replica on a newer one tells of a promotion, too."""
    return max([newest, *(sight.timeline for sight in sights if sight.is_up and sight.timeline is not None)])


def identity_of(sights: Iterable[Sight], known: int | None) -> int | None:
    """The system identifier of the cluster: what was known, else that of the one node that takes writes.

    None while that cannot be told: no node takes writes, or several do that do not belong together. 0 where the only
    node that takes writes may not tell.
    """
    if known is not None:
        return known
    claimed = {sight.system_identifier or 0 for sight in sights if sight.role == "primary"}
    return claimed.pop() if len(claimed) == 1 else None


def choose_replicas(
    sights: Sequence[Sight], *, primary: Sight | None, after: Token | None, avoid: Collection[str], turn: int
) -> list[str]:
    """The replicas that may serve a reader, the one whose turn it is first.

    Args:
        sights: Every node of the cluster as it was last seen.
        primary: The one that takes writes; None while there is none.
        after: What a replica must have replayed; None where anything will do.
        avoid: Nodes that the caller has met a failure on.
        turn: A number that grows with each reader, so that they are spread evenly.
    """
    fit = [
        sight.address
        for sight in sights
        if sight.role == "replica"
        and sight.address not in avoid
        and not is_past_fork(sight, primary)
        and (after is None or has_reached(sight, after, primary))
    ]
    first = turn % len(fit) if fit else 0
    return [*fit[first:], *fit[:first]]


def has_reached(replica: Sight, after: Token, primary: Sight | None) -> bool:
    """Whether a replica, known not to be past a fork, has replayed everything up to a position.

    A position on a timeline that nobody here has heard of yet comes from a process that saw a promotion sooner.
    """
    known = max(replica.timeline or 0, 0 if primary is None else primary.timeline or 0)
    return replica.lsn is not None and replica.lsn >= after.lsn and known >= after.timeline


def is_past_fork(replica: Sight, primary: Sight | None) -> bool:
    """Whether a replica may have replayed what the promoted node never had.

    One that does not yet tell of the new timeline, and has come beyond the position where that began, is either about
    to tell of it or has followed the old primary too far. So is one where nobody knows that position any more.
    """
    if primary is None or replica.timeline is None or replica.timeline >= (primary.timeline or 0):
        return False
    return primary.fork_lsn is None or replica.lsn is None or replica.lsn > primary.fork_lsn


def lost_by(primary: Sight, acknowledged: Token, noted_s: float) -> int | None:
    """How many bytes of log, known to hold committed transactions, a primary does not have; None where it has all.

    Args:
        primary: The node that takes writes.
        acknowledged: A position that is certainly within what had been committed.
        noted_s: When it was noted; a primary that was asked before need not know of it.
    """
    timeline, asked_s = primary.timeline, primary.asked_s
    if timeline is None or asked_s is None or asked_s < noted_s:
        return None
    if timeline > acknowledged.timeline:
        # Where its timeline began is exact. A node that was restarted since has forgotten that, and then the end of its
        # log must do, which hides a loss smaller than what has been written since.
        reached = primary.fork_lsn if primary.fork_lsn is not None else primary.lsn
    elif timeline == acknowledged.timeline:
        reached = primary.lsn
    else:
        return None
    return acknowledged.lsn - reached if reached is not None and reached < acknowledged.lsn else None
