from __future__ import annotations

from undaunted.core.outage import Outage
from undaunted.testing.clock import VirtualClock


def test_nothing_is_missing_at_first() -> None:
    outage = Outage(VirtualClock(100))
    assert outage.is_over
    assert outage.age_s() == outage.age_s(needs_primary=False) == 0.0


def test_a_lost_primary_stops_what_needs_it_and_nothing_else() -> None:
    clock = VirtualClock(100)
    outage = Outage(clock)
    assert outage.primary_lost()
    clock.advance(3)
    assert not outage.primary_lost()  # no news, and it does not begin anew
    assert outage.age_s(needs_primary=True) == 3
    assert outage.age_s(needs_primary=False) == 0
    assert (outage.without_primary_since, outage.without_node_since) == (100, None)
    assert not outage.is_over
    assert outage.primary_found()
    assert not outage.primary_found()
    assert outage.is_over


def test_without_any_node_there_is_no_primary_either() -> None:
    clock = VirtualClock(100)
    outage = Outage(clock)
    assert outage.all_lost()
    assert not outage.all_lost()
    clock.advance(2)
    assert outage.age_s(needs_primary=False) == outage.age_s(needs_primary=True) == 2
    assert outage.any_found()
    assert not outage.any_found()
    assert outage.age_s(needs_primary=False) == 0
    assert outage.age_s(needs_primary=True) == 2
    assert not outage.is_over


def test_losing_the_rest_keeps_the_time_at_which_the_primary_went() -> None:
    clock = VirtualClock(100)
    outage = Outage(clock)
    outage.primary_lost()
    clock.advance(5)
    outage.all_lost()
    assert (outage.without_primary_since, outage.without_node_since) == (100, 105)
    assert outage.primary_found()  # a primary is a node
    assert outage.is_over
    assert outage.without_node_since is None


def test_any_node_found_ends_an_outage_in_which_no_primary_was_missed() -> None:
    outage = Outage(VirtualClock())
    assert not outage.any_found()
    assert outage.is_over


def test_a_forked_child_knows_of_no_outage_and_is_not_stuck() -> None:
    outage = Outage(VirtualClock())
    outage.all_lost()
    with outage._lock:
        outage.after_fork_in_child()
        assert outage.is_over
        assert outage.age_s() == 0
