"""`undaunted check`: how it exits where no node answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from undaunted.cli.check import check

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "127.0.0.1:9"
CLUSTERS = {
    "mongodb": f'nodes = ["{NOBODY}"]\ndatabase = "shop"',
    "cassandra": f'nodes = ["{NOBODY}"]',
    "sqlalchemy": f'nodes = ["{NOBODY}"]\nurl = "postgresql+psycopg://{NOBODY}/shop"',
}


def run(folder: Path, backend: str, *more: str) -> Result:
    file = folder / "undaunted.toml"
    file.write_text("\n".join([f'[clusters.one]\nbackend = "{backend}"', CLUSTERS[backend], *more]))
    return CliRunner().invoke(check, ["--json", "--file", str(file)], catch_exceptions=False)


@pytest.mark.parametrize("backend", CLUSTERS)
def test_no_node_answers(backend: str, tmp_path: Path) -> None:
    result = run(tmp_path, backend)
    assert result.exit_code == 2
    silent, none = (problem["message"] for problem in json.loads(result.stdout)["problems"])
    assert silent.startswith(f"{NOBODY} ")
    assert none == "no node answers, so applications cannot use the cluster."


@pytest.mark.parametrize("backend", CLUSTERS)
def test_of_a_cluster_that_is_not_required(backend: str, tmp_path: Path) -> None:
    assert run(tmp_path, backend, "required = false").exit_code == 1
