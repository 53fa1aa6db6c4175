from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.lab import LabError
from undaunted.lab.picture import Track, draw
from undaunted.lab.timeline import Episode, Gap, Sighting, longest_gap, rates, reigns

if TYPE_CHECKING:
    from pathlib import Path

MOMENTS = st.lists(st.floats(0, 100, allow_nan=False), max_size=50)


def test_a_seeded_gap_is_found() -> None:
    steady = [place / 10 for place in range(1000)]
    broken = [moment for moment in steady if not 30.0 < moment < 55.0]
    gap = longest_gap(broken, started_s=0.0, ended_s=100.0)
    assert (gap.started_s, gap.ended_s) == (30.0, 55.0)
    assert gap.length_s == 25.0
    assert longest_gap(steady, started_s=0.0, ended_s=100.0).length_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("moments", "gap"),
    [
        ([], Gap(started_s=0.0, ended_s=10.0)),
        ([9.0], Gap(started_s=0.0, ended_s=9.0)),
        ([1.0], Gap(started_s=1.0, ended_s=10.0)),
        ([-5.0, 4.0, 9.0, 50.0], Gap(started_s=4.0, ended_s=9.0)),
        ([9.0, 4.0], Gap(started_s=4.0, ended_s=9.0)),
    ],
)
def test_start_and_end_count_and_what_is_outside_does_not(moments: list[float], gap: Gap) -> None:
    assert longest_gap(moments, started_s=0.0, ended_s=10.0) == gap


def test_a_drill_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(LabError):
        longest_gap([], started_s=2.0, ended_s=1.0)


@given(MOMENTS)
def test_no_gap_is_longer_than_the_longest(moments: list[float]) -> None:
    longest = longest_gap(moments, started_s=0.0, ended_s=100.0)
    edges = [0.0, *sorted(moments), 100.0]
    assert longest.length_s == max(later - earlier for earlier, later in itertools.pairwise(edges))
    assert not any(longest.started_s < moment < longest.ended_s for moment in moments)


@given(MOMENTS)
def test_rates_count_every_moment_once(moments: list[float]) -> None:
    found = rates(moments, started_s=0.0, ended_s=100.1, width_s=0.5)
    assert sum(found) * 0.5 == pytest.approx(len(moments))
    assert len(found) == 201


def test_rates_are_a_second() -> None:
    assert rates([0.1, 0.2, 0.3, 1.6], started_s=0.0, ended_s=2.0, width_s=0.5) == [6.0, 0.0, 0.0, 2.0]


def test_a_slice_without_width_is_refused() -> None:
    with pytest.raises(LabError, match="width"):
        rates([], started_s=0.0, ended_s=1.0, width_s=0.0)


def test_reigns_join_what_is_one_and_leave_out_who_is_nobody() -> None:
    seen = [
        Sighting(at_s=0.0, node="n1"),
        Sighting(at_s=1.0, node="n1"),
        Sighting(at_s=2.0, node=None),
        Sighting(at_s=4.0, node="n2"),
        Sighting(at_s=6.0, node=None),
        Sighting(at_s=7.0, node="n2"),
    ]
    assert reigns(seen, ended_s=9.0) == [
        ("n1", Gap(started_s=0.0, ended_s=2.0)),
        ("n2", Gap(started_s=4.0, ended_s=6.0)),
        ("n2", Gap(started_s=7.0, ended_s=9.0)),
    ]
    assert reigns([], ended_s=9.0) == []
    assert reigns([Sighting(at_s=9.0, node="n1")], ended_s=9.0) == []


@pytest.fixture
def tracks() -> list[Track]:
    steady = [place / 20 for place in range(400)]
    broken = [moment for moment in steady if not 5.0 < moment < 12.0]
    return [
        Track(name="one", writes=broken, reads=steady, raised=[5.0, 5.1]),
        Track(name="two", writes=steady, reads=[], raised=[]),
    ]


def test_the_picture_is_a_png(tmp_path: Path, tracks: list[Track]) -> None:
    path = draw(
        tmp_path / "new" / "picture.png",
        tracks,
        started_s=0.0,
        ended_s=20.0,
        episodes=[Episode(name="SIGKILL", node="n1", started_s=5.0, ended_s=11.0, elected_s=7.0)],
        sightings=[Sighting(at_s=0.0, node="n1"), Sighting(at_s=5.0, node=None), Sighting(at_s=7.0, node="n2")],
    )
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 10_000


def test_a_drill_without_a_single_operation_can_be_drawn(tmp_path: Path) -> None:
    nothing = Track(name="nothing", writes=[], reads=[], raised=[])
    assert draw(tmp_path / "picture.png", [nothing], started_s=0.0, ended_s=1.0).stat().st_size > 0


def test_a_picture_that_cannot_be_written_says_where(tmp_path: Path, tracks: list[Track]) -> None:
    with pytest.raises(LabError, match="cannot be written"):
        draw(tmp_path, tracks, started_s=0.0, ended_s=20.0)
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match=r"file/picture\.png cannot be written"):
        draw(tmp_path / "file" / "picture.png", tracks, started_s=0.0, ended_s=20.0)
