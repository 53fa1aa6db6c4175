"""Where settings come from, which of them holds, and which source is named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undaunted.config import load, model_settings
from undaunted.config.mongodb import Members
from undaunted.config.options import Options
from undaunted.config.schema import BACKENDS, Settings, cluster_class
from undaunted.config.sources import has_names
from undaunted.config.structure import Table, infos
from undaunted.config.toml import literal, parse
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

DESIGN = """
[clusters.catalog]
backend = "cassandra"
nodes = ["node1.example.com", "node2.example.com", "node3.example.com"]
keyspace = "catalog"
local_datacenter = "dc1"
consistency = { read = "LOCAL_QUORUM", write = "LOCAL_QUORUM", serial = "LOCAL_SERIAL" }

[clusters.orders]
backend = "mongodb"
nodes = ["mongo1.example.com", "mongo2.example.com", "mongo3.example.com"]
replica_set = "rs0"
database = "shop"

[clusters.ledger]
backend = "sqlalchemy"
url = { env = "LEDGER_URL" }
nodes = ["pg1:5432", "pg2:5432", "pg3:5432"]
reads = "replica"

[profiles.web]
retry.deadline = "5s"
"""
LEDGER = {"LEDGER_URL": "postgresql+psycopg://app:geheim@/ledger"}
ORDERS = {"clusters": {"orders": {"backend": "mongodb", "nodes": ["a"]}}}


def mistakes(*args: Any, **options: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(*args, **{"environ": {}, **options})
    return [str(problem) for problem in caught.value.problems]


def write(folder: Path, text: str, name: str = "undaunted.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_example_of_the_design(tmp_path: Path) -> None:
    write(tmp_path, DESIGN)
    settings = load(start=tmp_path, environ=LEDGER).settings
    assert list(settings.clusters) == ["catalog", "orders", "ledger"]
    orders: Any = settings.clusters["orders"]
    assert orders.replica_set == "rs0"
    assert settings.clusters["orders"].name == "orders"
    assert settings.clusters["ledger"].nodes == ("pg1:5432", "pg2:5432", "pg3:5432")
    assert settings.policy_for("ledger").reads == "replica"
    assert "geheim" not in repr(settings)


@pytest.mark.parametrize("form", ["undaunted.toml", "pyproject.toml", "mapping", "dotted", "framework", "environment"])
def test_the_same_keys_in_every_form(form: str, tmp_path: Path) -> None:
    toml = '[clusters.orders]\nbackend = "mongodb"\nnodes = ["a"]\nretry.backoff.max = "1s"\n'
    nested = {"clusters": {"orders": {"backend": "mongodb", "nodes": ["a"], "retry": {"backoff": {"max": "1s"}}}}}
    loaded = {
        "undaunted.toml": lambda: load(write(tmp_path, toml), environ={}),
        "pyproject.toml": lambda: load(
            write(tmp_path, toml.replace("[clusters", "[tool.undaunted.clusters"), "pyproject.toml"), environ={}
        ),
        "mapping": lambda: load(nested, environ={}),
        "dotted": lambda: load(
            {"clusters.orders": {"backend": "mongodb", "nodes": ("a",)}, "clusters.orders.retry.backoff.max": 1},
            environ={},
        ),
        "framework": lambda: load(framework=nested, environ={}, start=tmp_path),
        "environment": lambda: load(
            environ={
                "UNDAUNTED__CLUSTERS__ORDERS__BACKEND": "mongodb",
                "UNDAUNTED__CLUSTERS__ORDERS__NODES": '["a"]',
                "UNDAUNTED__CLUSTERS__ORDERS__RETRY__BACKOFF__MAX": "1s",
            },
            start=tmp_path,
        ),
    }[form]()
    assert loaded.settings == load(nested, environ={}).settings
    assert loaded.settings.policy_for("orders").backoff.max_s == 1.0


def test_the_nearer_source_holds(tmp_path: Path) -> None:
    write(tmp_path, "retry = { attempts = 2, deadline = 2, fail_fast_after = 2 }\nbudget.capacity = 2\n")
    framework = {"retry": {"attempts": 4, "deadline": 4, "fail_fast_after": 4}}
    environ = {"UNDAUNTED__RETRY__DEADLINE": "5s", "UNDAUNTED__RETRY__FAIL_FAST_AFTER": "5s"}
    loaded = load(start=tmp_path, framework=framework, framework_name="Django's UNDAUNTED", environ=environ)
    retry = loaded.settings.retry
    assert (retry.attempts, retry.deadline, loaded.settings.budget.capacity) == (4, 5.0, 2.0)
    assert loaded.origins["retry", "deadline"].at(("retry", "deadline")) == "environment UNDAUNTED__RETRY__DEADLINE"
    assert loaded.origins["retry", "attempts"].at(("retry", "attempts")) == "Django's UNDAUNTED"
    assert loaded.origins["budget", "capacity"].at(("budget", "capacity")).endswith("undaunted.toml:2")
    assert loaded.origins["profiles", "worker", "retry", "deadline"].kind == "default"
    assert load({"retry.deadline": 6}, environ=environ).settings.retry.deadline == 6.0


def test_code_in_place_of_a_file_looks_for_no_file(tmp_path: Path) -> None:
    write(tmp_path, "nonsense = 1")
    load(ORDERS, start=tmp_path, environ={})


def test_none_leaves_a_setting_as_it_was() -> None:
    assert load({"retry": {"attempts": None}}, environ={}).settings.retry.attempts is None


def test_the_file_is_looked_for_upwards(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    write(tmp_path, "retry.attempts = 9")
    assert load(start=below, environ={}).settings.retry.attempts == 9
    write(below, "[project]\nname = 'undaunted-user'", "pyproject.toml")
    assert load(start=below, environ={}).settings.retry.attempts == 9, "a pyproject.toml without our table is passed by"
    write(below, "[tool.undaunted]\nretry.attempts = 8", "pyproject.toml")
    assert load(start=below, environ={}).settings.retry.attempts == 8
    write(below, "retry.attempts = 7")
    assert load(start=below, environ={}).settings.retry.attempts == 7, "undaunted.toml stands before pyproject.toml"
    named = write(tmp_path, "retry.attempts = 6", "other.toml")
    assert load(start=below, environ={"UNDAUNTED_CONFIG": str(named)}).settings.retry.attempts == 6


def test_a_broken_pyproject_is_our_business_only_with_our_table(tmp_path: Path) -> None:
    write(tmp_path, "retry.attempts = 9")
    below = tmp_path / "a"
    below.mkdir()
    write(below, "[project\nundaunted", "pyproject.toml")
    assert load(start=below, environ={}).settings.retry.attempts == 9
    write(below, "[tool.undaunted]\nretry.attempts = = 3", "pyproject.toml")
    [mistake] = mistakes(start=below)
    assert "pyproject.toml is not TOML: line 2, column 18" in mistake


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("retry.attempts = 3\nretry.deadline = 5s\n", "line 2, column 19"),
        ("a = [1,\n2", "line 2, column 2"),
        ("a = 1\na = 2", "line 2, column 6"),
        ("x = " + "9" * 5000, "line 1"),
        ("a = " + "[" * 5000, "line 1"),
    ],
)
def test_a_malformed_file_gives_file_line_and_column(text: str, place: str, tmp_path: Path) -> None:
    [mistake] = mistakes(write(tmp_path, text))
    assert f"undaunted.toml is not TOML: {place}" in mistake


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in mistakes(tmp_path / "missing.toml")[0]
    assert "No such file" in mistakes(start=tmp_path, environ={"UNDAUNTED_CONFIG": "missing.toml"})[0]
    assert "Is a directory" in mistakes(tmp_path)[0]
    (tmp_path / "latin.toml").write_bytes(b"a = '\xff'")
    assert "not UTF-8" in mistakes(tmp_path / "latin.toml")[0]
    assert "has no table [tool.undaunted]" in mistakes(write(tmp_path, "", "pyproject.toml"))[0]


def test_the_mark_at_the_beginning_of_a_file_is_passed_by(tmp_path: Path) -> None:
    path = tmp_path / "undaunted.toml"
    path.write_bytes(b"\xef\xbb\xbfretry.attempts = 4")
    assert load(path, environ={}).settings.retry.attempts == 4


def test_the_wrong_type_of_source() -> None:
    with pytest.raises(TypeError, match="expected a mapping, a path or None, not int"):
        load(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Django: expected a mapping, not list"):
        load(framework=[], framework_name="Django", environ={}, start="/")  # type: ignore[arg-type]


def test_names_of_variables_match_names_with_other_letters() -> None:
    settings = {"clusters": {"Order-History": {"backend": "mongodb", "nodes": ["a"]}}, "models": {"shop.Order": {}}}
    environ = {
        "UNDAUNTED__CLUSTERS__ORDER_HISTORY__DATABASE": "2024",
        "UNDAUNTED__MODELS__SHOP.ORDER__RETRY__ATTEMPTS": "1",
    }
    loaded = load(framework=settings, environ=environ, start="/").settings
    history: Any = loaded.clusters["Order-History"]
    assert history.database == "2024"
    assert loaded.models["shop.Order"].retry.attempts == 1


def test_a_variable_with_an_empty_part() -> None:
    [mistake] = mistakes(ORDERS, environ={"UNDAUNTED__RETRY____DEADLINE": "5s"})
    assert mistake.startswith("UNDAUNTED__RETRY____DEADLINE: the name of this environment variable has an empty part")


def test_a_mistake_in_a_variable_names_it() -> None:
    [mistake] = mistakes(environ={"UNDAUNTED__RETRY__DEADLIN": "5s"}, start="/")
    assert "did you mean 'deadline'?" in mistake
    assert mistake.endswith("[environment UNDAUNTED__RETRY__DEADLIN]")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("true", True),
        ("5s", "5s"),
        ('"x"', "x"),
        ("", ""),
        ("[1, 2]", [1, 2]),
        ('{"a": null}', {"a": None}),
        ("{ env = 'X' }", {"env": "X"}),
        ("2020-01-01", "2020-01-01"),
        ("1\nb = 2", "1\nb = 2"),
        ("[1, ", "[1, "),
    ],
)
def test_a_value_of_a_variable(text: str, value: object) -> None:
    assert literal(text) == value


@given(st.text())
def test_any_text_is_a_value(text: str) -> None:
    assert literal(text) is not None


def test_given_twice_by_a_dotted_key() -> None:
    twice = {"retry": {"deadline": 1}, "retry.deadline": 2}
    assert mistakes(twice) == ["retry.deadline: is given twice, once by a dotted key; give it once."]
    assert mistakes({"retry": 1, "retry.deadline": 2})[0] == (
        "retry.deadline: is given twice, once by a dotted key; give it once."
    )


def test_dots_in_names_nest_nothing() -> None:
    settings = load(
        {
            **ORDERS,
            "models": {"shop.models.Order": {"retry.attempts": 1}},
            "models.shop.models.Item": {"profile": "web"},
        },
        environ={},
    ).settings
    assert settings.models["shop.models.Order"].retry.attempts == 1
    assert settings.models["shop.models.Item"].profile == "web"


def test_tables_of_names_are_known_to_the_sources() -> None:
    """What the schema reads as names, the sources must not take apart at its dots."""
    for name, info in infos(Settings).items():
        assert has_names((name,)) == (not isinstance(info.shape, Table)), name

    def walk(cls: Any, at: tuple[str, ...]) -> None:
        for name, info in infos(cls).items():
            if isinstance(info.shape, Table):
                walk(info.shape.cls, (*at, name))
            assert has_names((*at, name)) == isinstance(info.shape, (Options, Members)), name

    for backend in BACKENDS:
        walk(cluster_class(backend), ("clusters", "x"))


def test_every_line_is_found(tmp_path: Path) -> None:
    text = """# a comment
retry.attempts = 2   # here
[budget]
capacity = 5

[clusters.orders]
backend = "mongodb"
nodes = [
  "a",   # retry.attempts = 3
  "b",
]
options.appName = '''
[budget]
deposit = 7
'''
[clusters.orders.pool]
max = 3
"""
    path = write(tmp_path, text)
    origins = load(path, environ={}).origins
    lines = {".".join(k): o.at(k).rpartition(":")[2] for k, o in origins.items() if o.kind == "file"}
    assert lines == {
        "retry.attempts": "2",
        "budget.capacity": "4",
        "clusters.orders.backend": "7",
        "clusters.orders.nodes": "8",
        "clusters.orders.options.appName": "12",
        "clusters.orders.pool.max": "17",
    }
    assert parse(text)


def test_a_model_declares_the_same_keys() -> None:
    made = model_settings({"cluster": "orders", "profile": "web", "retry.attempts": 1}, model="shop.models.Order")
    assert (made.cluster, made.profile, made.retry.attempts) == ("orders", "web", 1)
    with pytest.raises(ConfigurationError) as caught:
        model_settings({"clustr": "orders", "reads": "x"}, model="shop.models.Order")
    assert [p.path for p in caught.value.problems] == [
        "shop.models.Order.__undaunted__.clustr",
        "shop.models.Order.__undaunted__.reads",
    ]
    with pytest.raises(ConfigurationError, match=r"shop\.models\.Order\.__undaunted__: expected a table"):
        model_settings("orders", model="shop.models.Order")  # type: ignore[arg-type]


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "UNDAUNTED__RETRY__ATTEMPTS", "7")
    loaded = load()
    assert (loaded.settings.retry.attempts, loaded.file) == (7, None)
