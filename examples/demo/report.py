"""The ledger at the end: what each side was told, held against its database."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from undaunted.lab.ledger import Outcome
from undaunted.lab.timeline import Gap, longest_gap
from undaunted.lab.verdict import Passage, Verdict, check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backends.stage import Kinds, Stage
    from rich.console import Console

    from undaunted.lab.ledger import Entry
    from undaunted.lab.timeline import Episode

PLAIN: dict[str, Any] = {"box": SIMPLE, "padding": (0, 1, 0, 0), "title_justify": "left"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of everything that one side did."""

    title: str
    kinds: Kinds
    verdicts: dict[str, Verdict]
    crooked_counters: int
    write_gap: Gap
    read_gap: Gap
    write_gaps: list[Gap]  # one for each fault
    read_gaps: list[Gap]
    slowest_s: float
    slowest: str

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled, torn or raised, and everything came back and was complete.

        An unknown outcome that was told as such, of what nothing can make harmless, is the truth, and no failure.
        """
        scans = self.verdicts["scan"]
        is_exact = set(scans.notes) == {Passage.EXACT.value}
        return all(self._is_clean(v) for v in self.verdicts.values()) and is_exact and not self.crooked_counters

    @property
    def told_unknown(self) -> int:
        """How many outcomes were told to be unknown, of what may not run twice."""
        return sum(self.verdicts[kind].errors.get("OutcomeUnknown", 0) for kind in self.kinds.single)

    def _is_clean(self, verdict: Verdict) -> bool:
        unknown = verdict.errors.get("OutcomeUnknown", 0) if verdict.operation in self.kinds.single else 0
        return replace(verdict, raised=verdict.raised - unknown).is_clean

    def over(self, kinds: Sequence[str], what: str) -> int:
        """The sum of a column over some kinds of operation."""
        found = [getattr(self.verdicts[kind], what) for kind in kinds]
        return sum(value if isinstance(value, int) else len(value) for value in found)


def judge(
    stage: Stage,
    lab: Any,
    *,
    title: str,
    database: str,
    entries: Sequence[Entry],
    started_s: float,
    ended_s: float,
    episodes: Sequence[Episode],
) -> Judgement:
    """Hold a side's ledger against its database."""
    kinds = stage.kinds
    effects, crooked = stage.audit(lab, database, entries)
    verdicts = {kind: check(kind, entries, effects[kind]) for kind in kinds.writes}
    verdicts |= {kind: check(kind, entries) for kind in (*kinds.reads, *kinds.scans)}
    writes, reads = (moments(entries, each) for each in (kinds.writes, kinds.reads))
    spans = [
        (episode.started_s, after.started_s if after is not None else ended_s)
        for episode, after in zip(episodes, [*episodes[1:], None], strict=True)
    ]
    single = [e for e in entries if e.operation not in kinds.scans and e.ended_s is not None]
    slowest = max(single, key=lambda e: (e.ended_s or 0.0) - e.started_s, default=None)
    return Judgement(
        title=title,
        kinds=kinds,
        verdicts=verdicts,
        crooked_counters=crooked,
        write_gap=longest_gap(writes, started_s=started_s, ended_s=ended_s),
        read_gap=longest_gap(reads, started_s=started_s, ended_s=ended_s),
        write_gaps=[longest_gap(writes, started_s=low, ended_s=high) for low, high in spans],
        read_gaps=[longest_gap(reads, started_s=low, ended_s=high) for low, high in spans],
        slowest_s=(slowest.ended_s or 0.0) - slowest.started_s if slowest is not None else 0.0,
        slowest=slowest.operation if slowest is not None else "none",
    )


def moments(entries: Sequence[Entry], kinds: Sequence[str], *, outcome: Outcome = Outcome.OK) -> list[float]:
    """When those of some kinds came back with this outcome."""
    return [e.ended_s for e in entries if e.operation in kinds and e.outcome is outcome and e.ended_s is not None]


def split_raised(entries: Sequence[Entry], kinds: Kinds) -> tuple[list[float], list[float]]:
    """When operations raised, and when an outcome was told as unknown that nothing could have made known."""
    raised = [entry for entry in entries if entry.outcome is Outcome.RAISED and entry.ended_s is not None]
    is_told = [entry.error == "OutcomeUnknown" and entry.operation in kinds.single for entry in raised]
    return (
        [entry.ended_s or 0.0 for entry, told in zip(raised, is_told, strict=True) if not told],
        [entry.ended_s or 0.0 for entry, told in zip(raised, is_told, strict=True) if told],
    )


def rows(judgement: Judgement) -> dict[str, str]:
    """The ledger of one side, a line a figure."""
    j = judgement
    writes, reads = j.kinds.writes, j.kinds.reads
    told = {"  of these, told as an unknown outcome": str(j.told_unknown)} if j.kinds.single else {}
    notes: Mapping[str, int] = j.verdicts["scan"].notes
    scans = j.verdicts["scan"]
    return {
        "writes acknowledged": str(j.over(writes, "acknowledged")),
        "writes raised": str(j.over(writes, "raised")),
        **told,
        "  of these, applied all the same": str(j.over(writes, "applied_though_raised")),
        "writes that never came back": str(j.over(writes, "open")),
        "writes lost": str(j.over(writes, "lost")),
        "writes applied twice": str(j.over(writes, "doubled")),
        "writes applied in part": str(j.over(writes, "torn")),
        "writes that nobody made": str(j.over(writes, "unexpected")),
        "counters that do not add up": str(j.crooked_counters),
        "reads acknowledged": str(j.over(reads, "acknowledged")),
        "reads raised": str(j.over(reads, "raised")),
        "reads that never came back": str(j.over(reads, "open")),
        "scans complete and in order": str(notes.get(Passage.EXACT.value, 0)),
        "scans raised": str(scans.raised),
        "scans that never came back": str(scans.open),
        "scans short": str(notes.get(Passage.SHORT.value, 0)),
        "scans doubled or out of order": str(
            notes.get(Passage.DOUBLED.value, 0) + notes.get(Passage.DISORDERED.value, 0)
        ),
        "longest time without a write": f"{j.write_gap.length_s:.1f} s",
        "longest time without a read": f"{j.read_gap.length_s:.1f} s",
        "slowest single operation": f"{j.slowest_s:.1f} s ({j.slowest})",
    }


def show(console: Console, judgements: Sequence[Judgement], episodes: Sequence[Episode]) -> None:
    """Print the ledger, as one table for all and one for each view into it."""
    whole = Table(title=f"The ledger, checked against the database at {judgements[0].kinds.checked_at}", box=SIMPLE)
    whole.add_column("")
    for judgement in judgements:
        whole.add_column(judgement.title, justify="right")
    told = [rows(judgement) for judgement in judgements]
    for line in told[0]:
        whole.add_row(line, *(row[line] for row in told))
    console.print(whole)
    console.print(_by_operation(judgements))
    console.print(_by_fault(judgements, episodes))
    for judgement in judgements:
        errors = Counter[str]()
        for verdict in judgement.verdicts.values():
            errors.update({f"{verdict.operation}: {name}": count for name, count in verdict.errors.items()})
        for name, count in sorted(errors.items()):
            console.print(f"raised by {judgement.title}: {count} x {name}", highlight=False, markup=False)


def _by_operation(judgements: Sequence[Judgement]) -> Table:
    table = Table(title="By operation; applied: of those raised (what sets the same twice is not seen)", **PLAIN)
    table.add_column("operation", no_wrap=True)
    table.add_column("side", no_wrap=True)
    columns = ("acknowledged", "raised", "applied_though_raised", "open", "lost", "doubled", "torn")
    for column in ("ok", "raised", "applied", "open", "lost", "twice", "part"):
        table.add_column(column, justify="right", no_wrap=True)
    kinds = judgements[0].kinds
    for kind in (*kinds.writes, *kinds.reads, *kinds.scans):
        for judgement in judgements:
            cells = [str(judgement.over([kind], column)) for column in columns]
            if kind not in kinds.writes:
                cells[2], cells[4:] = "-", ["-", "-", "-"]
            elif kind in kinds.blind:
                cells[5] = "-"
            table.add_row(kind, judgement.title.partition(" ")[0], *cells)
    return table


def _by_fault(judgements: Sequence[Judgement], episodes: Sequence[Episode]) -> Table:
    table = Table(title="By fault: the longest time without a write / without a read", **PLAIN)
    has_primary = any(episode.elected_s is not None for episode in episodes)
    table.add_column("fault")
    if has_primary:
        table.add_column("new primary after", justify="right")
    for judgement in judgements:
        table.add_column(judgement.title, justify="right")
    for place, episode in enumerate(episodes):
        elected = "-" if episode.elected_s is None else f"{episode.elected_s - episode.started_s:.1f} s"
        cells = [
            f"{judgement.write_gaps[place].length_s:.1f} s / {judgement.read_gaps[place].length_s:.1f} s"
            for judgement in judgements
        ]
        table.add_row(f"{episode.name} {episode.node}", *([elected] if has_primary else []), *cells)
    return table


def as_data(judgements: Mapping[str, Judgement], episodes: Sequence[Episode], *, started_s: float) -> dict[str, Any]:
    """Everything for a file of JSON; moments count from the opening."""
    return {
        "faults": [
            {
                "name": episode.name,
                "node": episode.node,
                "started_s": round(episode.started_s - started_s, 3),
                "ended_s": round(episode.ended_s - started_s, 3),
                "elected_s": None if episode.elected_s is None else round(episode.elected_s - started_s, 3),
            }
            for episode in episodes
        ],
        "sides": {
            name: {
                "is_clean": judgement.is_clean,
                "operations": {kind: asdict(verdict) for kind, verdict in judgement.verdicts.items()},
                "told_unknown": judgement.told_unknown,
                "crooked_counters": judgement.crooked_counters,
                "longest_without_write_s": round(judgement.write_gap.length_s, 3),
                "longest_without_read_s": round(judgement.read_gap.length_s, 3),
                "without_write_by_fault_s": [round(gap.length_s, 3) for gap in judgement.write_gaps],
                "without_read_by_fault_s": [round(gap.length_s, 3) for gap in judgement.read_gaps],
                "slowest_s": round(judgement.slowest_s, 3),
                "slowest": judgement.slowest,
            }
            for name, judgement in judgements.items()
        },
    }
