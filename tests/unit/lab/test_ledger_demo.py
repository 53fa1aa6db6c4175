"""The demo says that undaunted kept its promise only where every figure of the ledger says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from undaunted.lab.timeline import Gap
from undaunted.lab.verdict import Verdict

REPORT = Path(__file__).parents[3] / "examples" / "demo" / "report.py"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo_report", REPORT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "demo_report", module)  # dataclasses look it up
        spec.loader.exec_module(module)
    return module


def judgement(report: ModuleType, kind: str = "", *, crooked: int = 0, **changes: Any) -> Any:
    verdicts = {
        name: Verdict(operation=name, acknowledged=3, notes={"exact": 3} if name == "scan" else {})
        for name in (*report.WRITES, *report.READS, *report.SCANS)
    }
    if kind:
        verdicts[kind] = Verdict(**{"operation": kind, "acknowledged": 3, "notes": verdicts[kind].notes, **changes})
    gap = Gap(started_s=0.0, ended_s=1.0)
    return report.Judgement(
        title="t", verdicts=verdicts, crooked_counters=crooked, write_gap=gap, read_gap=gap, write_gaps=[],
        read_gaps=[], slowest_s=0.0, slowest="none",
    )  # fmt: skip


def test_a_clean_ledger_is_clean(report: ModuleType) -> None:
    assert judgement(report).is_clean


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
def test_one_fault_of_any_kind_spoils_it(report: ModuleType, kind: str, changes: dict[str, Any]) -> None:
    assert not judgement(report, kind, **changes).is_clean


def test_a_counter_that_does_not_add_up_spoils_it(report: ModuleType) -> None:
    assert not judgement(report, crooked=1).is_clean


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


def test_effects_are_counted_where_they_belong_at_majority_read_concern(report: ModuleType) -> None:
    database = Collections(
        order=[{"number": "o1", "receipt": "r1"}, {"number": "o2"}, {"number": "o2"}],
        product=[
            {"shelf": 1, "sold": 2, "sales": ["s1", "s1"], "visited": 1, "visits": ["v1"]},
            {"shelf": 1, "sold": 1, "sales": ["s2"], "visited": 0, "visits": []},
            {"shelf": 2, "sold": 5, "sales": [], "visited": 2, "visits": ["v2", "v2"]},
        ],
    )
    effects, crooked = report.effects_in(database)
    assert effects["save new"] == {"o1": [1], "o2": [2]}
    assert effects["save changed"] == {"r1": [1]}
    assert effects["update one"] == {"s1": [2], "s2": [1]}
    assert effects["update many"] == {"v1": [1, 0], "v2": [2]}
    assert crooked == 1
    assert set(database.concerns) == {"majority"}
