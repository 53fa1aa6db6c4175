"""The command line of `undaunted provision`, as far as it goes without servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from undaunted.cli.group import undaunted
from undaunted.mongodb import provision

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, settings: str, *arguments: str) -> Result:
    file = folder / "undaunted.toml"
    file.write_text(settings, encoding="utf-8")
    result = CliRunner().invoke(undaunted, ["provision", "--file", str(file), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ("", [], "name no cluster that can be provisioned"),
        ('[clusters.orders]\nbackend = "mongodb"\nnodes = ["a"]', ["order"], "there is no cluster 'order'"),
        ('[clusters.s]\nbackend = "sqlalchemy"\nurl = "postgresql://a/b"', ["s"], "is of the backend sqlalchemy"),
        ('[clusters.orders]\nbackend = "mongodb"\nnodez = ["a"]', [], "nodez"),
        (
            (
                '[clusters.orders]\nbackend = "mongodb"\nnodes = ["a"]\n[clusters.orders.provision.members]\n'
                "a = { arbiter = true, priority = 2 }"
            ),
            [],
            "an arbiter cannot become primary",
        ),
        (
            '[clusters.orders]\nbackend = "mongodb"\nnodes = ["a"]\ntls = { ca = "nowhere.pem" }',
            [],
            "nowhere.pem",
        ),
    ],
)
def test_wrong_settings_exit_with_3(tmp_path: Path, settings: str, arguments: list[str], said: str) -> None:
    result = run(tmp_path, settings, *arguments)
    assert result.exit_code == 3, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_wrong_duration_is_a_wrong_command_line(tmp_path: Path) -> None:
    result = run(tmp_path, "", "--timeout", "soon")
    assert result.exit_code == 2
    assert "--timeout" in result.output


def test_ctrl_c_tells_how_far_it_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(provision, "survey", interrupted)
    settings = '[clusters.orders]\nbackend = "mongodb"\nnodes = ["a"]\nreplica_set = "rs"\n'
    result = run(tmp_path, settings)
    assert result.exit_code == 130
    assert "Run it again" in result.output
    told = json.loads(run(tmp_path, settings, "--json").stdout)
    assert (told["exit_code"], told["clusters"][0]["applied"]) == (130, 0)
