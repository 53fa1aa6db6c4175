"""The reference and the rows of `config show` come from the schema, whole."""

from __future__ import annotations

import subprocess
import sys

from undaunted.config import load
from undaunted.config.reference import markdown
from undaunted.config.schema import BACKENDS, cluster_class
from undaunted.config.show import Row, duration, rows
from undaunted.config.structure import Section, Table, infos


def keys(cls: type[Section], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, info in infos(cls).items():
        found |= keys(info.shape.cls, f"{prefix}{name}.") if isinstance(info.shape, Table) else {f"{prefix}{name}"}
    return found


def test_every_setting_is_in_the_reference_and_documented() -> None:
    text = markdown()
    for backend in BACKENDS:
        for key in keys(cluster_class(backend)):
            assert f"| `{key}` |" in text, key
    table = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    assert all(len(cells) == 6 and all(cell.strip() for cell in cells) for cells in table)


def test_the_defaults_in_the_reference() -> None:
    text = markdown()
    assert "| `retry.deadline` | duration | `15s` | no | yes |" in text
    assert "| `heartbeat.interval` | duration | `1s` | no | no |" in text
    assert "| `backend` | string | none | yes | no |" in text


def test_the_module_prints_it() -> None:
    command = [sys.executable, "-m", "undaunted.config.reference"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == markdown()


def test_rows_name_value_and_source() -> None:
    source = {
        "clusters": {"orders": {"backend": "mongodb", "url": {"env": "URL"}, "retry.deadline": "50ms"}},
        "profiles.web.retry.attempts": 1,
    }
    found = rows(load(source, environ={"URL": "mongodb://u:geheim@a,b/shop", "UNDAUNTED__RETRY__ATTEMPTS": "4"}))
    by_path = {row.path: row for row in found}
    assert by_path["clusters.orders.retry.deadline"] == Row("clusters.orders.retry.deadline", "50ms", "code")
    assert by_path["clusters.orders.url"].value == "mongodb://***@a,b/shop"
    assert by_path["clusters.orders.nodes"] == Row(
        "clusters.orders.nodes", ["a:27017", "b:27017"], "clusters.orders.url"
    )
    assert by_path["retry.attempts"] == Row("retry.attempts", 4, "environment UNDAUNTED__RETRY__ATTEMPTS")
    assert by_path["retry.deadline"] == Row("retry.deadline", "15s", "default")
    assert by_path["clusters.orders.heartbeat.timeout"].value == "2s"
    assert "clusters.orders.retry.attempts" not in by_path
    assert "geheim" not in str(found)


def test_durations_as_people_write_them() -> None:
    assert [duration(s) for s in (0.05, 0.0005, 1, 2.5, 60)] == ["50ms", "0.5ms", "1s", "2.5s", "60s"]
