"""Which node takes writes, and which may serve a reader."""

from __future__ import annotations

from typing import Any

import pytest

from undaunted.sqlalchemy.choice import (
    choose_primary,
    choose_replicas,
    has_reached,
    identity_of,
    is_past_fork,
    lost_by,
    newest_timeline,
)
from undaunted.sqlalchemy.sights import Sight, lsn_of, lsn_text
from undaunted.sqlalchemy.tokens import Token


def primary(name: str, timeline: int = 1, **more: Any) -> Sight:
    return Sight(**{"address": name, "role": "primary", "timeline": timeline, "lsn": 100, **more})


def replica(name: str, timeline: int = 1, lsn: int | None = 100) -> Sight:
    return Sight(address=name, role="replica", timeline=timeline, lsn=lsn)


@pytest.mark.parametrize(
    ("sights", "current", "newest", "chosen", "claimants"),
    [
        ([primary("a"), replica("b")], None, 0, "a", ("a",)),
        ([replica("a"), replica("b")], "a", 1, None, ()),
        ([primary("a", 1), primary("b", 2)], "a", 1, "b", ("a", "b")),
        ([primary("a", 1), replica("b", 2)], "a", 2, None, ("a",)),
        ([primary("a", 1)], None, 2, None, ("a",)),
        ([primary("a", 1), primary("b", 1)], "b", 1, "b", ("a", "b")),
        ([primary("a", 1), primary("b", 1)], None, 1, None, ("a", "b")),
        ([primary("a", 1), primary("b", 1)], "c", 1, None, ("a", "b")),
        ([], None, 0, None, ()),
    ],
    ids=[
        "one", "none", "the newer timeline", "a replica has seen a newer one", "a timeline that is gone",
        "equal: the current one", "equal: nobody knows", "equal: neither is current", "no node",
    ],
)  # fmt: skip
def test_the_node_that_takes_writes(
    sights: list[Sight], current: str | None, newest: int, chosen: str | None, claimants: tuple[str, ...]
) -> None:
    choice = choose_primary(sights, current=current, newest=newest_timeline(sights, newest))
    assert (choice.primary, choice.claimants) == (chosen, claimants)


def test_a_primary_that_does_not_tell_its_timeline_is_not_trusted() -> None:
    assert choose_primary([Sight(address="a", role="primary")], current="a", newest=0).primary is None


def test_the_identity_is_that_of_the_one_that_takes_writes() -> None:
    mine, other = primary("a", system_identifier=7), primary("b", system_identifier=8)
    assert identity_of([mine, replica("b")], None) == 7
    assert identity_of([mine, other], None) is None
    assert identity_of([mine, other], 8) == 8
    assert identity_of([replica("b")], None) is None
    assert identity_of([primary("a")], None) == 0


def test_readers_are_spread() -> None:
    sights = [primary("a"), replica("b"), replica("c"), Sight(address="d", error="Refused")]
    turns = [choose_replicas(sights, primary=sights[0], after=None, avoid=(), turn=turn) for turn in range(3)]
    assert turns == [["b", "c"], ["c", "b"], ["b", "c"]]
    assert choose_replicas(sights, primary=sights[0], after=None, avoid={"b"}, turn=1) == ["c"]
    assert choose_replicas([], primary=None, after=None, avoid=(), turn=1) == []


def test_readers_that_are_behind_are_left_out() -> None:
    sights = [replica("b", lsn=99), replica("c", lsn=100), replica("d", lsn=None)]
    assert choose_replicas(sights, primary=None, after=Token(1, 100), avoid=(), turn=0) == ["c"]


def test_a_position_on_a_timeline_that_nobody_here_knows() -> None:
    assert not has_reached(replica("b", 1, 500), Token(2, 100), primary("a", 1))
    assert has_reached(replica("b", 1, 500), Token(2, 100), primary("a", 2, fork_lsn=500))
    assert has_reached(replica("b", 2, 500), Token(2, 100), None)


def test_a_replica_that_followed_the_old_primary_too_far() -> None:
    promoted = primary("a", 2, fork_lsn=100)
    assert is_past_fork(replica("b", 1, 101), promoted)
    assert not is_past_fork(replica("b", 1, 100), promoted)
    assert not is_past_fork(replica("b", 2, 101), promoted)
    assert not is_past_fork(replica("b", 1, 101), None)
    assert is_past_fork(replica("b", 1, 1), primary("a", 2))
    assert choose_replicas([replica("b", 1, 101)], primary=promoted, after=None, avoid=(), turn=0) == []


@pytest.mark.parametrize(
    ("seen", "lost"),
    [
        (primary("a", 2, fork_lsn=90, lsn=200, asked_s=5.0), 10),
        (primary("a", 2, fork_lsn=100, lsn=200, asked_s=5.0), None),
        (primary("a", 2, lsn=95, asked_s=5.0), 5),
        (primary("a", 1, lsn=99, asked_s=5.0), 1),
        (primary("a", 1, lsn=100, asked_s=5.0), None),
        (primary("a", 1, lsn=1, asked_s=4.9), None),
        (primary("a", 0, lsn=1, asked_s=5.0), None),
        (primary("a", 2, lsn=None, asked_s=5.0), None),
        (primary("a", 2, lsn=1), None),
    ],
    ids=[
        "forked before", "forked behind", "fork unknown", "log lost in place", "all there", "asked before",
        "an older timeline", "unknown", "never asked",
    ],
)  # fmt: skip
def test_acknowledged_transactions_that_are_gone(seen: Sight, lost: int | None) -> None:
    assert lost_by(seen, Token(1, 100), 5.0) == lost


def test_positions_of_the_log() -> None:
    assert lsn_of("16/B374D848") == 0x16B374D848
    assert lsn_text(0x16B374D848) == "16/B374D848"
    with pytest.raises(ValueError, match="is not a position of the log"):
        lsn_of("16B374D848")
