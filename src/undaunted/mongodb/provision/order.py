"""The order of changes: one voting member at a time, and a majority of those that are up after each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from undaunted.mongodb.provision.rules import MAX_MEMBERS, MAX_VOTERS, listed, majority
from undaunted.mongodb.provision.steps import Add, Change, Remove, StepDown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from undaunted.mongodb.provision.state import Placement, ReplicaSet, Wanted
    from undaunted.mongodb.provision.steps import Reconfiguration, Step

__all__ = ["ordered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    placement: Placement
    is_up: bool


_Seats: TypeAlias = "dict[str, _Seat]"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """One reconfiguration, and how soon it is wanted."""

    rank: int
    step: Reconfiguration
    demotes: bool = False
    """Whether the primary of now must hand over first."""


def ordered(wanted: Wanted, current: ReplicaSet) -> tuple[list[Step], str | None]:
    """The steps from the set as it is to the set as it is wanted.

    Returns:
        The steps; and why there is no safe next one, when they do not lead the whole way.
    """
    left = sorted(_candidates(wanted, current), key=lambda candidate: candidate.rank)
    seats = {m.address: _Seat(placement=m.placement, is_up=m.is_up) for m in current.members}
    steps: list[Step] = []
    while left:
        objections: list[str] = []
        for candidate in left:
            after = _after(seats, candidate.step)
            objection = None if after is None else _objection(seats, after, candidate)
            if after is None or objection is not None:
                objections += [objection] if objection is not None else []
                continue
            if candidate.demotes:
                steps.append(StepDown(node=str(candidate.step.node)))
            steps.append(candidate.step)
            seats = after
            left.remove(candidate)
            break
        else:
            return steps, objections[0]
    return steps, None


def _candidates(wanted: Wanted, current: ReplicaSet) -> Iterator[_Candidate]:
    for member in current.members:
        to = wanted.member(member.address)
        leads = member.address == current.primary
        if to is None:
            rank = 0 if not member.is_heard else 6 if leads else 5
            yield _Candidate(rank=rank, step=Remove(node=member.address), demotes=leads)
        elif to != member.placement:
            demotes = leads and not to.is_electable
            rank = 6 if demotes else 2 if to.votes > member.votes else 4 if to.votes < member.votes else 3
            yield _Candidate(rank=rank, step=Change(was=member.placement, to=to), demotes=demotes)
    for to in wanted.members:
        if current.member(to.address) is None:
            yield from _newcomer(to)


def _newcomer(to: Placement) -> Iterator[_Candidate]:
    """A member that copies its data first has no vote meanwhile, so that it cannot stand in a majority's way."""
    if to.arbiter or not to.votes:
        yield _Candidate(rank=1, step=Add(member=to))
        return
    quiet = replace(to, votes=0, priority=0.0)
    yield _Candidate(rank=1, step=Add(member=quiet))
    yield _Candidate(rank=2, step=Change(was=quiet, to=to))


def _after(seats: _Seats, step: Reconfiguration) -> _Seats | None:
    """Who sits where after a step; None when it must wait for another one."""
    after = dict(seats)
    if isinstance(step, Remove):
        del after[step.node]
    elif isinstance(step, Add):
        after[step.node] = _Seat(placement=step.member, is_up=True)
    elif step.node not in seats:
        return None
    else:
        # A member that is given a vote has been waited for; the others are as they were.
        is_up = seats[step.node].is_up or step.to.votes > step.was.votes
        after[step.node] = _Seat(placement=step.to, is_up=is_up)
    return after


def _objection(before: _Seats, after: Mapping[str, _Seat], candidate: _Candidate) -> str | None:
    """Why a step must not be taken now."""
    voters = {address: seat for address, seat in after.items() if seat.placement.votes}
    up = [address for address, seat in voters.items() if seat.is_up]
    leaders = [
        address
        for address, seat in after.items()
        if seat.is_up and seat.placement.is_electable and not (candidate.demotes and address == candidate.step.node)
    ]
    what = str(candidate.step)
    if len(after) > MAX_MEMBERS:
        return f"Cannot {what}: there would be {len(after)} members meanwhile, and {MAX_MEMBERS} are the limit."
    if len(voters) > MAX_VOTERS:
        return f"Cannot {what}: there would be {len(voters)} voting members meanwhile, and {MAX_VOTERS} are the limit."
    if len(up) < majority(len(voters)):
        down = [address for address in voters if address not in up]
        return (
            f"Cannot {what}: {len(up)} of {len(voters)} voting members would be up ({listed(down)} "
            f"{'is' if len(down) == 1 else 'are'} not), and that is no majority; start them first."
        )
    if not leaders:
        was = "" if before != after else " now"
        return f"Cannot {what}: no member that is up could be primary then{was}; start or add one first."
    return None
