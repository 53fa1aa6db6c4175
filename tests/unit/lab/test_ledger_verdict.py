from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.lab import LabError
from undaunted.lab.ledger import Entry, Outcome
from undaunted.lab.verdict import Passage, check, judge_passage

if TYPE_CHECKING:
    from collections.abc import Sequence


def entry(key: str, outcome: Outcome = Outcome.OK, *, operation: str = "save", note: str | None = None) -> Entry:
    error = "AutoReconnect" if outcome is Outcome.RAISED else None
    ended_s = None if outcome is Outcome.OPEN else 2.0
    return Entry(operation=operation, key=key, started_s=1.0, ended_s=ended_s, outcome=outcome, error=error, note=note)


def test_each_acknowledged_write_found_once_is_clean() -> None:
    verdict = check("save", [entry("a"), entry("b")], {"a": [1], "b": [1]})
    assert verdict.is_clean
    assert verdict.acknowledged == 2


def test_a_seeded_loss_is_found() -> None:
    verdict = check("save", [entry("a"), entry("b")], {"a": [1]})
    assert verdict.lost == ("b",)
    assert not verdict.is_clean


def test_a_seeded_double_is_found() -> None:
    verdict = check("save", [entry("a"), entry("b")], {"a": [2], "b": [1]})
    assert verdict.doubled == ("a",)
    assert verdict.lost == ()
    assert not verdict.is_clean


@pytest.mark.parametrize("outcome", [Outcome.RAISED, Outcome.OPEN])
def test_a_double_is_one_whatever_the_application_was_told(outcome: Outcome) -> None:
    assert check("save", [entry("a", outcome)], {"a": [2]}).doubled == ("a",)


@pytest.mark.parametrize(
    ("counts", "lost", "doubled", "torn"),
    [
        ([1, 1, 1], False, False, False),
        ([1, 1, 2], False, True, False),
        ([1, 0, 1], True, False, True),
        ([2, 0, 1], True, True, True),
        ([0, 0, 0], True, False, False),
        ([], True, False, False),
    ],
)
def test_a_write_to_many_is_judged_in_each_place(
    counts: Sequence[int],
    lost: bool,
    doubled: bool,
    torn: bool,
) -> None:
    verdict = check("save", [entry("a")], {"a": counts})
    assert [bool(verdict.lost), bool(verdict.doubled), bool(verdict.torn)] == [lost, doubled, torn]
    assert verdict.is_clean is not (lost or doubled or torn)


def test_what_raised_and_is_there_has_a_column_of_its_own_and_is_not_lost() -> None:
    entries = [entry("a", Outcome.RAISED), entry("b", Outcome.RAISED), entry("c")]
    verdict = check("save", entries, {"b": [1], "c": [1]})
    assert verdict.raised == 2
    assert verdict.applied_though_raised == ("b",)
    assert verdict.lost == ()
    assert verdict.errors == {"AutoReconnect": 2}
    assert not verdict.is_clean


def test_what_never_came_back_is_not_clean_and_not_lost() -> None:
    verdict = check("save", [entry("a", Outcome.OPEN), entry("b")], {"b": [1]})
    assert verdict.open == 1
    assert verdict.lost == ()
    assert not verdict.is_clean


def test_what_nobody_wrote_is_named() -> None:
    verdict = check("save", [entry("a")], {"a": [1], "ghost": [1], "shadow": [0]})
    assert verdict.unexpected == ("ghost",)
    assert not verdict.is_clean


def test_nothing_done_is_not_clean() -> None:
    assert not check("save", [], {}).is_clean


def test_other_kinds_are_passed_over() -> None:
    verdict = check("save", [entry("a"), entry("a", Outcome.RAISED, operation="read")], {"a": [1]})
    assert verdict.is_clean


def test_reads_may_share_a_key_and_leave_nothing_behind() -> None:
    verdict = check("read", [entry("a", operation="read"), entry("a", operation="read")])
    assert verdict.is_clean
    assert verdict.acknowledged == 2


def test_two_writes_of_one_key_cannot_be_judged() -> None:
    with pytest.raises(LabError, match="'a'"):
        check("save", [entry("a"), entry("a")], {"a": [2]})


def test_notes_are_counted() -> None:
    entries = [entry("1", note="exact"), entry("2", note="short"), entry("3", note="exact")]
    assert check("save", entries).notes == {"exact": 2, "short": 1}


@pytest.mark.parametrize(
    ("delivered", "passage"),
    [
        ([1, 2, 3], Passage.EXACT),
        ([1, 2], Passage.SHORT),
        ([2, 3], Passage.SHORT),
        ([], Passage.SHORT),
        ([1, 1, 2], Passage.SHORT),
        ([1, 2, 2, 3], Passage.DOUBLED),
        ([1, 2, 3, 1, 2, 3], Passage.DOUBLED),
        ([1, 2, 3, 4], Passage.DOUBLED),
        ([1, 3, 2], Passage.DISORDERED),
    ],
)
def test_a_scan_is_held_against_what_it_should_have_delivered(delivered: list[int], passage: Passage) -> None:
    assert judge_passage([1, 2, 3], delivered) is passage


@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3),
        st.tuples(st.sampled_from(Outcome), st.lists(st.integers(0, 3), min_size=1, max_size=3)),
        max_size=20,
    )
)
def test_every_effect_is_accounted_for(history: dict[str, tuple[Outcome, list[int]]]) -> None:
    entries = [entry(key, outcome) for key, (outcome, _) in history.items()]
    found = {key: counts for key, (_, counts) in history.items()}
    verdict = check("save", entries, found)
    assert verdict.acknowledged + verdict.raised + verdict.open == len(history)
    assert set(verdict.doubled) == {key for key, counts in found.items() if max(counts) > 1}
    assert set(verdict.lost) == {
        key for key, (outcome, counts) in history.items() if outcome is Outcome.OK and min(counts) == 0
    }
    once = all(outcome is Outcome.OK and set(counts) == {1} for outcome, counts in history.values())
    assert verdict.is_clean is (once and bool(history))
