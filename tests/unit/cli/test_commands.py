"""What holds for every command: an example that can be typed, JSON, colours only where they can be seen, completion."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from undaunted import cli
from undaunted.cli.group import commands
from undaunted.cli.reference import walk
from undaunted.cli.source import Source

if TYPE_CHECKING:
    from pathlib import Path

    from undaunted.cli.options import Command

EVERY = dict(walk())
TWO = """
[clusters.orders]
backend = "mongodb"
nodes = ["a"]
[clusters.ledger]
backend = "sqlalchemy"
url = "sqlite://"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDAUNTED_CONFIG", raising=False)
    monkeypatch.setenv("UNDAUNTED_LAB_HOME", str(tmp_path / "labs"))
    return tmp_path


@pytest.mark.parametrize("path", EVERY)
def test_every_command_has_json_a_sentence_and_an_example_that_can_be_typed(path: str) -> None:
    command: Command = EVERY[path]
    words = command.example.partition("   #")[0].split()
    name = path.split()[1:]
    assert words[: len(name)] == name
    with click.Context(commands(), info_name="undaunted") as above:
        command.make_context(name[-1], words[len(name) :], parent=above)  # raises for what cannot be parsed
    assert "as_json" in {parameter.name for parameter in command.params}
    assert (command.help or "").split("\n\n")[0].strip().endswith(".")


@pytest.mark.parametrize("path", EVERY)
def test_help_ends_with_the_example_as_its_user_types_it(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    if path == "undaunted completion":
        assert cli.run(["completion", "--help"]) == 0
    else:
        source = Source(program="manage.py undaunted")
        assert cli.run([*path.split()[1:], "--help"], source=source) == 0
    *_, heading, example = capsys.readouterr().out.splitlines()
    program = "undaunted" if path == "undaunted completion" else "manage.py undaunted"
    assert (heading, example) == ("Example:", f"  {program} {EVERY[path].example}")


@pytest.mark.parametrize("command", ["check", "status", "config check"])
def test_without_settings_it_says_how_to_make_some(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    source = Source(program="manage.py undaunted", framework=lambda: None, framework_name="UNDAUNTED in settings.py")
    assert cli.run(command.split()) == 3
    told = capsys.readouterr().err
    assert "no undaunted.toml, and no pyproject.toml with [tool.undaunted], from here upwards" in told
    assert "undaunted config init orders=mongodb://HOST:27017" in told
    assert cli.run([*command.split(), "--json"], source=source) == 3
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["path"] == "clusters"
    assert "nor any in UNDAUNTED in settings.py" in problem["message"]
    assert "manage.py undaunted config init" in problem["message"]


@pytest.mark.parametrize("command", ["check", "status", "config show", "config check", "provision"])
def test_wrong_settings_exit_with_3_and_say_every_mistake(
    command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "undaunted.toml").write_text(TWO.replace("nodes", "nods").replace("url", "ulr"))
    assert cli.run(command.split()) == 3
    captured = capsys.readouterr()
    assert "clusters.orders.nods" in captured.err
    assert "clusters.ledger.ulr" in captured.err
    assert captured.out == ""
    assert cli.run([*command.split(), "--json"]) == 3
    told = capsys.readouterr().out
    assert "clusters.orders.nods" in told
    assert "clusters.ledger.ulr" in told
    json.loads(told)


def test_an_error_of_a_lab_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["lab", "kill", "primary", "--json"]) == 1
    assert "No lab is running" in json.loads(capsys.readouterr().out)["error"]
    assert cli.run(["lab", "kill", "primary"]) == 1
    assert capsys.readouterr().err.startswith("Error: No lab is running")


def in_terminal(*arguments: str, **environ: str) -> str:
    """What a command prints to a terminal."""
    above, below = pty.openpty()
    code = "from undaunted.cli import main; main()"
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            stdin=below,
            stdout=below,
            stderr=subprocess.PIPE,
            env=kept | {"TERM": "xterm-256color", "COLUMNS": "200"} | environ,
            check=False,
            timeout=60,
        )
        assert b"Traceback" not in done.stderr, done.stderr
        return os.read(above, 1 << 16).decode()
    finally:
        os.close(above)
        os.close(below)


def test_colours_are_for_terminals_that_want_them(folder: Path) -> None:
    (folder / "undaunted.toml").write_text(TWO)
    coloured = in_terminal("status", "ledger")
    assert "\x1b[32mok\x1b[0m" in coloured
    plain = in_terminal("status", "ledger", NO_COLOR="1")
    assert "ledger" in plain
    assert "\x1b[32m" not in plain
    piped = CliRunner().invoke(commands(), ["status", "ledger"])
    assert piped.output == "ledger  sqlalchemy  ok  it answers\n"


def test_a_table_in_a_pipe_is_not_cut_off(folder: Path) -> None:
    long = "n" * 300
    (folder / "undaunted.toml").write_text(TWO.replace('"a"', f'"{long}"'))
    result = CliRunner().invoke(commands(), ["config", "show"])
    assert f'["{long}:27017"]' in result.output


def completed(*words: str) -> list[str]:
    *before, incomplete = words
    kind = ShellComplete(commands(), {}, "undaunted", "_UNDAUNTED_COMPLETE")
    return [found.value for found in kind.get_completions(list(before), incomplete)]


def test_completion_of_commands_and_clusters(folder: Path) -> None:
    assert completed("st") == ["status"]
    assert completed("lab", "k") == ["kill"]
    assert completed("check", "") == [], "no settings: nothing to choose from, and no noise"
    (folder / "undaunted.toml").write_text(TWO)
    assert completed("status", "o") == ["orders"]
    (folder / "other.toml").write_text(TWO.replace("orders", "others"))
    assert completed("check", "--file", "other.toml", "oth") == ["others"]
    assert completed("lab", "kill", "") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])  # bash's own is made by asking bash, which not every machine has
def test_completion_prints_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    assert "_UNDAUNTED_COMPLETE" in capsys.readouterr().out
    assert cli.run(["completion", shell, "--json"]) == 0
    assert "_UNDAUNTED_COMPLETE" in json.loads(capsys.readouterr().out)["script"]


def test_a_framework_completes_nothing_of_its_own() -> None:
    group = commands(Source(program="flask undaunted"))
    assert "completion" not in group.list_commands(click.Context(group))


@pytest.mark.parametrize("start", ["cli.main()", "group.commands().main(['status'])"], ids=["alone", "below Flask"])
def test_without_rich_it_says_what_to_install(start: str) -> None:
    code = (
        f"import sys; sys.modules['rich'] = None; from undaunted import cli; from undaunted.cli import group; {start}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "The command line needs rich: pip install 'undaunted[cli]'." in done.stderr
    assert "Traceback" not in done.stderr
