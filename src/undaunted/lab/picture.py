"""Draws the timelines of a drill, one panel a client above each other, with the faults shaded and named.

Needs matplotlib, which the extra ``lab`` brings; it is imported when a picture is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from undaunted.lab.errors import LabError
from undaunted.lab.timeline import longest_gap, rates, reigns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from undaunted.lab.timeline import Episode, Sighting

__all__ = ["Track", "draw"]

_WRITES, _READS, _RAISED, _INK, _SHADE = "#1f5fa8", "#d98200", "#c1121f", "#222222", "#f1d9d3"
_NODES = ("#4c78a8", "#72b7b2", "#9d76c1", "#b5bd61", "#e39b63", "#8c8c8c", "#d67195")
_WIDTH_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What one client did.

    Attributes:
        name: Its title.
        writes: When each acknowledged write came back.
        reads: When each acknowledged read came back.
        raised: When something raised.
        unknown: When a write was told to be of unknown outcome; these are not among the raised.
    """

    name: str
    writes: Sequence[float]
    reads: Sequence[float]
    raised: Sequence[float]
    unknown: Sequence[float] = ()


def draw(
    path: Path,
    tracks: Sequence[Track],
    *,
    started_s: float,
    ended_s: float,
    episodes: Sequence[Episode] = (),
    sightings: Sequence[Sighting] = (),
) -> Path:
    """Draw the timelines as a PNG.

    Args:
        path: Where it goes; its directory is made, and a picture that is there is replaced.
        tracks: What each client did, from top to bottom.
        started_s: Where the line begins.
        ended_s: Where it ends.
        episodes: The faults.
        sightings: Who was seen to be primary, from when on.

    Raises:
        LabError: matplotlib is missing, or the picture cannot be written.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - heavy, and only the pictures need it
    except ImportError as error:
        raise LabError("A picture needs matplotlib: pip install 'undaunted[lab]'.") from error
    heights = [2.6] * len(tracks) + ([0.3] if sightings else [])
    tall = sum(heights) + 0.9 * len(heights)  # inches: the panels, and room for a title above each and the axis below
    figure = cast("Any", Figure(figsize=(12, tall), dpi=110, facecolor="white"))
    figure.subplots_adjust(left=0.06, right=0.985, top=1 - 0.6 / tall, bottom=0.55 / tall, hspace=0.5)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    top = max([1.0, *(max(_curve(moments, started_s, ended_s)) for t in tracks for moments in (t.writes, t.reads))])
    for panel, track in zip(panels[: len(tracks)], tracks, strict=True):
        _shade(panel, episodes, started_s)
        _plot(panel, track, started_s=started_s, ended_s=ended_s, top=top)
    if sightings:
        _strip(panels[-1], sightings, episodes, started_s=started_s, ended_s=ended_s)
    panels[-1].set_xlim(0, ended_s - started_s)
    panels[-1].set_xlabel("seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")
    except OSError as error:
        raise LabError(f"The picture {path} cannot be written ({error.strerror or error}).") from error
    return path


def _curve(moments: Sequence[float], started_s: float, ended_s: float) -> list[float]:
    """Rates in whole slices: the last one, cut off by the end, would look like a fall."""
    found = rates(moments, started_s=started_s, ended_s=ended_s, width_s=_WIDTH_S)
    whole = int((ended_s - started_s) / _WIDTH_S)
    return found[: max(1, whole)]


def _shade(panel: Any, episodes: Sequence[Episode], started_s: float) -> None:
    for episode in episodes:
        low, high = episode.started_s - started_s, episode.ended_s - started_s
        panel.axvspan(low, high, color=_SHADE, zorder=0, linewidth=0)
        panel.axvline(low, color=_RAISED, linewidth=1.2, zorder=1)
        panel.annotate(
            f"{episode.name} {episode.node}",
            xy=(low, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            color=_RAISED,
            fontsize=10,
            fontweight="bold",
        )


def _plot(panel: Any, track: Track, *, started_s: float, ended_s: float, top: float) -> None:
    for name, moments, colour in (("writes", track.writes, _WRITES), ("reads", track.reads, _READS)):
        curve = _curve(moments, started_s, ended_s)
        at = [place * _WIDTH_S for place in range(len(curve) + 1)]
        panel.stairs(curve, at, color=colour, linewidth=1.6, label=f"{name} a second", zorder=3)
    marks: list[tuple[str, Sequence[float], str]] = [("raised", track.raised, _RAISED)]
    if track.unknown:
        marks.append(("told as unknown", track.unknown, "none"))
    for name, moments, fill in marks:
        panel.plot(
            [moment - started_s for moment in moments],
            [top * 1.09] * len(moments),
            marker="v",
            markerfacecolor=fill,
            markeredgecolor=_RAISED,
            linestyle="none",
            markersize=6,
            label=f"{name}: {len(moments)}",
            zorder=4,
            clip_on=False,
        )
    gap = longest_gap(track.writes, started_s=started_s, ended_s=ended_s)
    if gap.length_s >= 1:
        low, high, height = gap.started_s - started_s, gap.ended_s - started_s, top * 0.55
        panel.annotate("", (low, height), (high, height), arrowprops={"arrowstyle": "<->", "color": _INK})
        words = f" {gap.length_s:.1f} s without a write "
        panel.text(low, height + top * 0.03, words, ha="left", va="bottom", fontsize=10, color=_INK)
    panel.set_ylim(0, top * 1.18)
    panel.set_ylabel("a second")
    panel.grid(axis="y", color="#dddddd", linewidth=0.6, zorder=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_title(track.name, loc="left", fontsize=12, fontweight="bold", color=_INK, pad=22)
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 1.06), ncols=4, frameon=False, fontsize=9)


def _strip(
    panel: Any, sightings: Sequence[Sighting], episodes: Sequence[Episode], *, started_s: float, ended_s: float
) -> None:
    """Who is primary, as a band below; white where nobody is."""
    found = reigns(sightings, ended_s=ended_s)
    names = sorted({node for node, _ in found} | {episode.node for episode in episodes})
    for node, reign in found:
        low = max(reign.started_s - started_s, 0.0)
        width = reign.ended_s - started_s - low
        panel.barh(0, width, left=low, height=1.0, color=_NODES[names.index(node) % len(_NODES)], linewidth=0)
        if width > (ended_s - started_s) / 40:
            panel.text(low + width / 2, 0, node, ha="center", va="center", fontsize=9, color="white")
    panel.set_ylim(-0.5, 0.5)
    panel.set_yticks([0], ["primary"])
    panel.spines[["top", "right", "left"]].set_visible(False)
