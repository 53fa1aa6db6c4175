"""`undaunted config show` and `check`: what they print, and how they exit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from undaunted.cli.config import config

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
[clusters.orders]
backend = "mongodb"
nodes = ["a", "b"]
credentials = { username = "shop", password = { env = "ORDERS_PASSWORD" } }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORDERS_PASSWORD", "geheim")
    monkeypatch.delenv("UNDAUNTED_CONFIG", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(config, arguments, catch_exceptions=False)


def test_show_with_origin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "undaunted.toml").write_text(GOOD)
    monkeypatch.setenv("UNDAUNTED__RETRY__DEADLINE", "7s")
    result = run("show", "--origin")
    assert result.exit_code == 0
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in result.output.splitlines()}
    assert lines["clusters.orders.nodes"].split("  ")[0] == '["a:27017", "b:27017"]'
    assert lines["clusters.orders.nodes"].endswith("undaunted.toml:4")
    assert lines["clusters.orders.credentials.password"].split() == ["***", "undaunted.toml:5"]
    assert lines["retry.deadline"].split() == ["7s", "environment", "UNDAUNTED__RETRY__DEADLINE"]
    assert lines["retry.attempts"].split() == ["3", "default"]
    assert "geheim" not in result.output


def test_show_without_origin_and_as_json(folder: Path) -> None:
    (folder / "undaunted.toml").write_text(GOOD)
    assert "undaunted.toml" not in run("show").output
    plain: Any = json.loads(run("show", "--json").output)
    assert {"path": "retry.attempts", "value": 3} in plain["settings"]
    full: Any = json.loads(run("show", "--json", "--origin").output)
    assert full["file"] == str(folder / "undaunted.toml")
    wanted = {"path": "clusters.orders.credentials.password", "value": "***", "origin": "undaunted.toml:5"}
    assert wanted in full["settings"]


def test_check(folder: Path) -> None:
    file = folder / "other.toml"
    file.write_text(GOOD)
    result = run("check", "--file", str(file))
    assert (result.exit_code, result.output) == (0, f"No mistake found: 1 cluster (orders), from {file}.\n")
    assert json.loads(run("check", "--json", "--file", str(file)).output)["clusters"] == ["orders"]


@pytest.mark.parametrize("command", ["show", "check"])
def test_wrong_settings_exit_with_3(command: str, folder: Path) -> None:
    (folder / "undaunted.toml").write_text(GOOD.replace("nodes", "nods"))
    result = run(command)
    assert result.exit_code == 3
    assert "1 mistake in the settings:" in result.output
    assert "did you mean 'nodes'?" in result.output
    problems: Any = json.loads(run(command, "--json").output)["problems"]
    assert [problem["path"] for problem in problems] == ["clusters.orders.nods"]


def test_no_cluster_is_a_mistake_for_check(folder: Path) -> None:
    result = run("check")
    assert result.exit_code == 3
    assert "No cluster is configured (no undaunted.toml" in result.output
    assert json.loads(run("check", "--json").output)["problems"][0]["path"] == "clusters"


def test_a_wrong_command_line_exits_with_2(folder: Path) -> None:
    assert run("show", "--nonsense").exit_code == 2
