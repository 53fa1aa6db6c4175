"""Every example in README and docs runs, or at least parses: see `tests.docs.examples` for what a page may say."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url
from tests.docs.examples import ROOT, Example, Page, pages, read

import undaunted
from undaunted.config import load
from undaunted.config.toml import parse

if TYPE_CHECKING:
    from pathlib import Path

    from undaunted.lab import PostgresLab

PAGES = pages()
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


def imported(tree: ast.Module) -> list[tuple[str, str | None]]:
    """What a block imports, as module and name."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(node.module, alias.name) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] == "undaunted"]


def check_imports(example: Example) -> None:
    for module, name in imported(example.tree()):
        loaded = importlib.import_module(module)
        assert name is None or hasattr(loaded, name) or importlib.import_module(f"{module}.{name}"), example.where


@EVERY_PAGE
def test_python_parses_and_what_it_imports_is_there(page: Page) -> None:
    for example in page.examples:
        if example.language == "python":
            check_imports(example)


def referred_to(value: Any) -> dict[str, str]:
    """A value for each environment variable that the settings take a secret from."""
    if isinstance(value, dict):
        own = {value["env"]: "mongodb://from.example.com"} if isinstance(value.get("env"), str) else {}
        return own | {k: v for item in value.values() for k, v in referred_to(item).items()}
    if isinstance(value, list):
        return {k: v for item in value for k, v in referred_to(item).items()}
    return {}


def check_settings(example: Example, start: Path) -> None:
    settings = parse(example.text)
    settings = settings.get("tool", {}).get("undaunted", settings)
    loaded = load(settings, environ=referred_to(settings), start=start)
    assert set(loaded.settings.clusters) == set(settings.get("clusters", {})), example.where


@EVERY_PAGE
def test_settings_load(page: Page, tmp_path: Path) -> None:
    for example in page.examples:
        if example.language == "toml":
            check_settings(example, tmp_path)


def clusters(page: Page, backend: str) -> dict[str, Any]:
    """The clusters of the page's settings that this backend keeps."""
    found: dict[str, Any] = {}
    for example in page.examples:
        if example.language == "toml":
            found |= parse(example.text).get("clusters", {})
    return {name: cluster for name, cluster in found.items() if cluster["backend"] == backend}


def point(monkeypatch: pytest.MonkeyPatch, declared: dict[str, Any]) -> None:
    """Point a cluster at nodes that are there; the environment wins over the page's file."""
    ((name, cluster),) = declared["clusters"].items()
    for key in cluster.keys() & {"backend", "nodes", "url", "replica_set", "local_datacenter"}:
        value = cluster[key]
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"UNDAUNTED__CLUSTERS__{name.upper()}__{key.upper()}", text)


@pytest.fixture
def servers(page: Page, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page's programs talk to."""
    known = {"mongodb", "cassandra", "sqlalchemy", "pytest"}
    assert page.needs <= known, f"{page.name} asks for what no lab has: {page.needs}"
    if "mongodb" in page.needs:
        lab = request.getfixturevalue("healthy_mongo_lab")
        for name in clusters(page, "mongodb"):
            point(monkeypatch, lab.settings_for(name))
    if "cassandra" in page.needs:
        fake = request.getfixturevalue("fake_cassandra")
        for name, cluster in clusters(page, "cassandra").items():
            point(monkeypatch, fake.settings_for(name))
            fake.create_keyspace(cluster["keyspace"])
    if "sqlalchemy" in page.needs:
        lab = request.getfixturevalue("healthy_postgresql_lab")
        for name in clusters(page, "sqlalchemy"):
            declared = lab.settings_for(name)
            declared["clusters"][name]["url"] = own_database(lab, declared["clusters"][name]["url"])
            point(monkeypatch, declared)


def own_database(lab: PostgresLab, url: str) -> str:
    """The URL of a new database, since pages have tables of the same name."""
    database = f"page_{uuid.uuid4().hex}"
    with lab.operator("primary") as connection:
        connection.execute(f"CREATE DATABASE {database} OWNER {make_url(url).username}".encode())
    return make_url(url).set(database=database).render_as_string(hide_password=False)


@EVERY_PAGE
@pytest.mark.usefixtures("servers")
def test_programs_run(page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "pytest" in page.needs:
        run_as_tests(page, tmp_path)
        return
    namespace: dict[str, Any] = {"__name__": "page"}
    try:
        for example in page.examples:
            if example.parse_only:
                continue
            if example.language == "toml":
                undaunted.close()  # so that what follows reads these settings
                (tmp_path / "undaunted.toml").write_text(example.text, encoding="utf-8")
            elif example.language == "python":
                exec(compile(example.tree(), example.where, "exec", dont_inherit=True), namespace)
    finally:
        undaunted.close()


def run_as_tests(page: Page, folder: Path) -> None:
    """Run the page's Python as a file of tests, in a process of its own, and ask that there were some."""
    text = "\n\n".join(e.text for e in page.examples if e.language == "python" and not e.parse_only)
    (folder / "test_page.py").write_text(text, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "test_page.py",
    ]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    assert answer.returncode == 0, f"{page.name}\n{answer.stdout}{answer.stderr}"


def test_the_readme_is_among_the_pages_and_its_make_targets_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = {line.split()[1] for line in text.splitlines() if line.startswith("make ") and len(line.split()) > 1}
    for target in targets:
        answer = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr


BROKEN = """
```toml
[clusters.orders]
backend = "mongodb"
nodez = ["a.example.com"]
```

<!-- example: parse -->

```python
from undaunted import nonsense
raise RuntimeError("never run")
```

- in a list

  ```python
  def nested():
      return 3
  ```
"""


def test_finds_examples_where_they_stand_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    page = read(ROOT / "docs" / "broken.md", BROKEN)
    settings, fragment, nested = page.examples
    assert [e.line for e in page.examples] == [2, 10, 17]
    assert [e.parse_only for e in page.examples] == [False, True, False]
    assert nested.text == "def nested():\n    return 3\n"
    with pytest.raises(undaunted.ConfigurationError, match="nodes"):
        check_settings(settings, tmp_path)
    with pytest.raises(ImportError):
        check_imports(fragment)


def test_a_page_of_tests_that_fail_fails(tmp_path: Path) -> None:
    text = "<!-- examples: pytest -->\n```python\ndef test_it():\n    assert 1 + 1 == 3\n```\n"
    page = read(ROOT / "docs" / "broken.md", text)
    assert page.needs == {"pytest"}
    with pytest.raises(AssertionError, match=r"1 failed"):
        run_as_tests(page, tmp_path)
