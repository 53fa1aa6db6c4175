"""The demo says that undaunted kept its promise only where every figure of the ledger says so."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from undaunted.lab.ledger import Entry, Outcome
from undaunted.lab.timeline import Gap
from undaunted.lab.verdict import Verdict, check

if TYPE_CHECKING:
    from collections.abc import Iterator

DEMO = Path(__file__).parents[3] / "examples" / "demo"


@pytest.fixture(scope="module")
def demo() -> Iterator[SimpleNamespace]:
    """The modules of the demo, which import each other by their bare names, as programs do."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DEMO))
        names = {"report": "report", "stage": "backends.stage", "backends": "backends"}
        yield SimpleNamespace(**{name: importlib.import_module(path) for name, path in names.items()})
    for name in set(sys.modules) - before:
        if str(DEMO) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def judgement(demo: Any, kind: str = "", *, backend: str = "mongodb", crooked: int = 0, **changes: Any) -> Any:
    kinds = demo.backends.stage_of(backend).kinds
    verdicts = {
        name: Verdict(operation=name, acknowledged=3, notes={"exact": 3} if name == "scan" else {})
        for name in (*kinds.writes, *kinds.reads, *kinds.scans)
    }
    if kind:
        verdicts[kind] = Verdict(**{"operation": kind, "acknowledged": 3, "notes": verdicts[kind].notes, **changes})
    gap = Gap(started_s=0.0, ended_s=1.0)
    return demo.report.Judgement(
        title="t", kinds=kinds, verdicts=verdicts, crooked_counters=crooked, write_gap=gap, read_gap=gap, write_gaps=[],
        read_gaps=[], slowest_s=0.0, slowest="none",
    )  # fmt: skip


def test_a_clean_ledger_is_clean(demo: SimpleNamespace) -> None:
    assert judgement(demo).is_clean


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("save new", {"lost": ("a",)}),
        ("update one", {"doubled": ("a",)}),
        ("update many", {"torn": ("a",)}),
        ("update many", {"raised": 1}),
        ("save changed", {"open": 1}),
        ("save changed", {"unexpected": ("a",)}),
        ("point read", {"raised": 1}),
        ("point read", {"acknowledged": 0}),
        ("scan", {"raised": 1}),
        ("scan", {"notes": {"exact": 2, "short": 1}}),
        ("scan", {"notes": {"exact": 2, "doubled": 1}}),
        ("scan", {"notes": {"exact": 2, "disordered": 1}}),
        ("scan", {"notes": {}}),
    ],
)
def test_one_fault_of_any_kind_spoils_it(demo: SimpleNamespace, kind: str, changes: dict[str, Any]) -> None:
    assert not judgement(demo, kind, **changes).is_clean


def test_a_counter_that_does_not_add_up_spoils_it(demo: SimpleNamespace) -> None:
    assert not judgement(demo, crooked=1).is_clean


class Collections:
    """A database of given documents, for the reading of effects."""

    def __init__(self, **documents: list[dict[str, Any]]) -> None:
        self.documents = documents
        self.concerns: list[Any] = []

    def get_collection(self, name: str, *, read_concern: Any) -> Any:
        self.concerns.append(read_concern.level)
        found = self.documents[name]

        class Found(list[dict[str, Any]]):
            def sort(self, *_: Any) -> Any:  # type: ignore[override]
                return self

        return SimpleNamespace(find=lambda: Found(found))


class Client(dict[str, Any]):
    """A client of databases by name."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


def test_effects_are_counted_where_they_belong_at_majority_read_concern(demo: SimpleNamespace) -> None:
    database = Collections(
        order=[{"number": "o1", "receipt": "r1"}, {"number": "o2"}, {"number": "o2"}],
        product=[
            {"shelf": 1, "sold": 2, "sales": ["s1", "s1"], "visited": 1, "visits": ["v1"]},
            {"shelf": 1, "sold": 1, "sales": ["s2"], "visited": 0, "visits": []},
            {"shelf": 2, "sold": 5, "sales": [], "visited": 2, "visits": ["v2", "v2"]},
        ],
    )
    lab = SimpleNamespace(client=lambda: Client(shop=database))
    effects, crooked = demo.backends.stage_of("mongodb").audit(lab, "shop", [])
    assert effects["save new"] == {"o1": [1], "o2": [2]}
    assert effects["save changed"] == {"r1": [1]}
    assert effects["update one"] == {"s1": [2], "s2": [1]}
    assert effects["update many"] == {"v1": [1, 0], "v2": [2]}
    assert crooked == 1
    assert set(database.concerns) == {"majority"}


def test_an_unknown_outcome_is_no_failure_where_nothing_can_make_it_known(demo: SimpleNamespace) -> None:
    told = {"raised": 2, "errors": {"OutcomeUnknown": 2}}
    assert judgement(demo, "counter", backend="cassandra", **told).is_clean
    assert not judgement(demo, "save new", backend="cassandra", **told).is_clean
    assert not judgement(demo, "counter", backend="cassandra", raised=2, errors={"WriteTimeout": 2}).is_clean
    assert not judgement(demo, "counter", backend="cassandra", doubled=("a",), **told).is_clean


@pytest.mark.parametrize(
    ("total", "lost", "doubled"), [(1, 1, 0), (2, 0, 0), (3, 0, 0), (4, 0, 1)], ids=["lost", "acked", "all", "twice"]
)
def test_a_sum_is_held_against_what_was_acknowledged_and_what_raised(
    demo: SimpleNamespace, total: int, lost: int, doubled: int
) -> None:
    entries = [
        Entry(operation="counter", key=f"c-{n}@home", started_s=n, ended_s=n + 1, outcome=outcome)
        for n, outcome in enumerate([Outcome.OK, Outcome.RAISED, Outcome.OK])
    ]
    effects = demo.stage.of_sums("counter", entries, {"home": total})
    verdict = check("counter", entries, effects)
    assert (len(verdict.lost), len(verdict.doubled)) == (lost, doubled)
