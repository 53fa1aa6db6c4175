"""The ledger at the end: what each side was told, held against its database."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pymongo.read_concern import ReadConcern
from rich.box import SIMPLE
from rich.table import Table

from undaunted.lab.ledger import Outcome
from undaunted.lab.timeline import Gap, longest_gap
from undaunted.lab.verdict import Passage, Verdict, check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymongo.database import Database
    from rich.console import Console

    from undaunted.lab import MongoLab
    from undaunted.lab.ledger import Entry
    from undaunted.lab.timeline import Episode

WRITES = ("save new", "save changed", "update one", "update many")
READS = ("point read",)
SCANS = ("scan",)

PLAIN: dict[str, Any] = {"box": SIMPLE, "padding": (0, 1, 0, 0), "title_justify": "left"}

Effects = dict[str, list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of everything that one side did."""

    title: str
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
        """Whether nothing was lost, doubled, torn or raised, and everything came back and was complete."""
        scans = self.verdicts["scan"]
        is_exact = set(scans.notes) == {Passage.EXACT.value}
        return all(v.is_clean for v in self.verdicts.values()) and is_exact and not self.crooked_counters

    def over(self, kinds: Sequence[str], what: str) -> int:
        """The sum of a column over some kinds of operation."""
        found = [getattr(self.verdicts[kind], what) for kind in kinds]
        return sum(value if isinstance(value, int) else len(value) for value in found)


def effects_in(database: Database[dict[str, Any]]) -> tuple[dict[str, Effects], int]:
    """How often each write's own name is found where it belongs, and how many counters differ from their names."""
    majority = ReadConcern("majority")
    orders = list(database.get_collection("order", read_concern=majority).find())
    products = list(database.get_collection("product", read_concern=majority).find().sort("sku", 1))
    shelves: dict[int, list[dict[str, Any]]] = defaultdict(list)
    sales: Counter[str] = Counter()
    for product in products:
        shelves[product["shelf"]].append(product)
        sales.update(product["sales"])
    visits: Effects = {}
    for on_shelf in shelves.values():
        counts = [Counter(product["visits"]) for product in on_shelf]
        visits.update({visit: [count[visit] for count in counts] for visit in {v for c in counts for v in c}})
    crooked = sum(p["sold"] != len(p["sales"]) for p in products)
    crooked += sum(p["visited"] != len(p["visits"]) for p in products)
    return {
        "save new": {key: [count] for key, count in Counter(o["number"] for o in orders).items()},
        "save changed": {key: [count] for key, count in Counter(o.get("receipt") for o in orders).items() if key},
        "update one": {key: [count] for key, count in sales.items()},
        "update many": visits,
    }, crooked


def judge(
    lab: MongoLab,
    *,
    title: str,
    database: str,
    entries: Sequence[Entry],
    started_s: float,
    ended_s: float,
    episodes: Sequence[Episode],
) -> Judgement:
    """Hold a side's ledger against its database."""
    with lab.client() as client:
        effects, crooked = effects_in(client[database])
    verdicts = {kind: check(kind, entries, effects[kind]) for kind in WRITES}
    verdicts |= {kind: check(kind, entries) for kind in (*READS, *SCANS)}
    writes, reads = (moments(entries, kinds) for kinds in (WRITES, READS))
    spans = [
        (episode.started_s, after.started_s if after is not None else ended_s)
        for episode, after in zip(episodes, [*episodes[1:], None], strict=True)
    ]
    single = [e for e in entries if e.operation not in SCANS and e.ended_s is not None]
    slowest = max(single, key=lambda e: (e.ended_s or 0.0) - e.started_s, default=None)
    return Judgement(
        title=title,
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


def rows(judgement: Judgement) -> dict[str, str]:
    """The ledger of one side, a line a figure."""
    j = judgement
    notes: Mapping[str, int] = j.verdicts["scan"].notes
    scans = j.verdicts["scan"]
    return {
        "writes acknowledged": str(j.over(WRITES, "acknowledged")),
        "writes raised": str(j.over(WRITES, "raised")),
        "  of these, applied all the same": str(j.over(WRITES, "applied_though_raised")),
        "writes that never came back": str(j.over(WRITES, "open")),
        "writes lost": str(j.over(WRITES, "lost")),
        "writes applied twice": str(j.over(WRITES, "doubled")),
        "writes applied in part": str(j.over(WRITES, "torn")),
        "writes that nobody made": str(j.over(WRITES, "unexpected")),
        "counters that do not add up": str(j.crooked_counters),
        "reads acknowledged": str(j.over(READS, "acknowledged")),
        "reads raised": str(j.over(READS, "raised")),
        "reads that never came back": str(j.over(READS, "open")),
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
    whole = Table(title="The ledger, checked against the database at majority read concern", box=SIMPLE)
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
    table = Table(
        title="By operation; applied: of those raised (a change saved twice is not seen: it sets the same)", **PLAIN
    )
    table.add_column("operation", no_wrap=True)
    table.add_column("side", no_wrap=True)
    columns = ("acknowledged", "raised", "applied_though_raised", "open", "lost", "doubled", "torn")
    for column in ("ok", "raised", "applied", "open", "lost", "twice", "part"):
        table.add_column(column, justify="right", no_wrap=True)
    for kind in (*WRITES, *READS, *SCANS):
        for judgement in judgements:
            cells = [str(judgement.over([kind], column)) for column in columns]
            if kind not in WRITES:
                cells[2], cells[4:] = "-", ["-", "-", "-"]
            elif kind == "save changed":
                cells[5] = "-"
            table.add_row(kind, judgement.title.partition(" ")[0], *cells)
    return table


def _by_fault(judgements: Sequence[Judgement], episodes: Sequence[Episode]) -> Table:
    table = Table(title="By fault: the longest time without a write / without a read", **PLAIN)
    table.add_column("fault")
    table.add_column("new primary after", justify="right")
    for judgement in judgements:
        table.add_column(judgement.title, justify="right")
    for place, episode in enumerate(episodes):
        elected = "never" if episode.elected_s is None else f"{episode.elected_s - episode.started_s:.1f} s"
        cells = [
            f"{judgement.write_gaps[place].length_s:.1f} s / {judgement.read_gaps[place].length_s:.1f} s"
            for judgement in judgements
        ]
        table.add_row(f"{episode.name} {episode.node}", elected, *cells)
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
