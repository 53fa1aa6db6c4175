"""The commands under a framework's own: which settings they read, how they call themselves, how they end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

from undaunted import cli
from undaunted.cli.group import commands
from undaunted.cli.source import Source
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = {"clusters": {"orders": {"backend": "mongodb", "nodes": ["a", "b"]}}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDAUNTED_CONFIG", raising=False)
    return tmp_path


def framework(settings: Any) -> Source:
    return Source(program="manage.py undaunted", framework=lambda: settings, framework_name="UNDAUNTED in settings.py")


def test_the_framework_goes_before_the_file_and_behind_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "undaunted.toml").write_text("retry.deadline = '1s'\nretry.attempts = 2\nretry.fail_fast_after = '9s'")
    monkeypatch.setenv("UNDAUNTED__RETRY__ATTEMPTS", "5")
    settings = {**ORDERS, "retry": {"deadline": "7s", "attempts": 4}}
    assert cli.run(["config", "show", "--json", "--origin"], source=framework(settings)) == 0
    shown = {row["path"]: (row["value"], row["origin"]) for row in json.loads(capsys.readouterr().out)["settings"]}
    assert shown["retry.deadline"] == ("7s", "UNDAUNTED in settings.py")
    assert shown["retry.attempts"] == (5, "environment UNDAUNTED__RETRY__ATTEMPTS")
    assert shown["retry.fail_fast_after"] == ("9s", "undaunted.toml:3")


def test_the_settings_are_read_when_a_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    late: list[dict[str, Any]] = []
    group = commands(Source(framework=lambda: late[0] if late else None))
    runner = CliRunner()
    assert runner.invoke(group, ["config", "check"]).exit_code == 3
    late.append(ORDERS)
    assert "orders" in runner.invoke(group, ["config", "check"]).output


def test_another_object_of_the_framework_is_not_in_the_way() -> None:
    @click.group()
    @click.pass_context
    def flask(ctx: click.Context) -> None:
        ctx.obj = object()

    flask.add_command(commands(framework(ORDERS)))
    result = CliRunner().invoke(flask, ["undaunted", "config", "check"])
    assert (result.exit_code, "orders" in result.output) == (0, True), result.output


def test_a_command_of_the_framework_stands_beside_ours_and_before_one_of_the_same_name() -> None:
    group = commands(framework(ORDERS))
    group.add_command(click.Command("sync", callback=lambda: click.echo("synced")))
    group.add_command(click.Command("check", callback=lambda: click.echo("checked otherwise")))
    runner = CliRunner()
    assert runner.invoke(group, ["sync"]).output == "synced\n"
    assert runner.invoke(group, ["check"]).output == "checked otherwise\n"
    listed = runner.invoke(group, ["--help"]).output
    assert "sync" in listed
    assert "provision" in listed
    assert "sync" not in runner.invoke(commands(), ["--help"]).output


def test_settings_that_are_no_mapping_are_named_and_exit_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigurationError, match="expected a mapping of settings, not list"):
        framework(["orders"]).load()
    assert cli.run(["config", "check"], source=framework(["orders"])) == 3
    assert "expected a mapping of settings, not list" in capsys.readouterr().err


def test_run_gives_the_exit_code_and_names_its_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"], source=framework(ORDERS)) == 0
    assert "Usage: manage.py undaunted " in capsys.readouterr().out
    assert cli.run(["config", "nonsense"], source=framework(ORDERS)) == 2
    assert "manage.py undaunted config" in capsys.readouterr().err


def test_run_takes_a_group_with_more_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    group = commands(framework(ORDERS))
    group.add_command(click.Command("sync", callback=lambda: click.echo("synced")))
    assert cli.run(["sync"], source=framework(ORDERS), group=group) == 0
    assert capsys.readouterr().out == "synced\n"
