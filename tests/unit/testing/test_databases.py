"""What the databases of a test run are called; never what a real one is called."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Mapped, mapped_column

from undaunted.config import load
from undaunted.errors import ConfigurationError, UndauntedError
from undaunted.registry import REGISTRY
from undaunted.sqlalchemy import DeclarativeBase, engine
from undaunted.testing.databases import Databases, NoTestDatabase, renamed
from undaunted.testing.databases.names import name_for_tests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MONGODB = {"backend": "mongodb", "nodes": ["mongo1"], "database": "shop"}
CASSANDRA = {"backend": "cassandra", "nodes": ["node1"], "keyspace": "shop"}
POSTGRESQL = {"backend": "sqlalchemy", "url": "postgresql+psycopg://app@pg1,pg2/shop"}


def turned(cluster: dict[str, Any], **options: Any) -> Any:
    """The settings of a cluster in a run of tests, and the name of its database there."""
    settings, [one] = renamed(load({"clusters": {"shop": cluster}}, environ={}), **options)
    trial: Any = settings.settings.clusters["shop"]
    assert one.trial is trial
    assert one.is_apart
    return trial, one.trial_database


def database_of(trial: Any) -> str:
    return str(sa.make_url(trial.url.reveal()).database)


@given(st.text(min_size=1, max_size=90), st.sampled_from(["", "_gw0", "_12"]), st.sampled_from([48, 63]))
def test_a_name_is_never_the_real_one_and_never_too_long(real: str, suffix: str, longest: int) -> None:
    made = name_for_tests(real, suffix=suffix, longest=longest)
    assert made.startswith("test_")
    assert made.endswith(suffix)
    assert made != real
    assert len(made) <= longest


def test_long_names_that_differ_late_stay_apart() -> None:
    assert name_for_tests("a" * 60 + "b") != name_for_tests("a" * 60 + "c")


def test_keyspace_and_databases() -> None:
    assert turned(CASSANDRA)[0].keyspace == "test_shop"
    assert turned(MONGODB)[0].database == "test_shop"
    assert database_of(turned(POSTGRESQL)[0]) == "test_shop"
    assert turned(MONGODB, suffix="_gw1")[0].database == "test_shop_gw1"
    assert turned(MONGODB, names={"shop": "test_mine"}, suffix="_gw1")[0].database == "test_mine_gw1"


def test_a_cluster_of_mongodb_that_names_no_database() -> None:
    assert turned({"backend": "mongodb", "nodes": ["mongo1"]})[0].database == "test_test"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://mongo1/shop", "mongodb://mongo1/test_shop"),
        ("mongodb://mongo1", "mongodb://mongo1/test_test"),
        ("mongodb://app@mongo1/shop", "mongodb://app@mongo1/test_shop?authSource=shop"),
        ("mongodb://app@mongo1/shop?authSource=admin", "mongodb://app@mongo1/test_shop?authSource=admin"),
        ("mongodb://app@mongo1/?replicaSet=rs0", "mongodb://app@mongo1/test_test?replicaSet=rs0"),
    ],
)
def test_a_connection_string_names_it_too(url: str, expected: str) -> None:
    """MongoEngine takes the database of a connection string before that of the settings."""
    trial = turned({"backend": "mongodb", "url": url})[0]
    assert trial.url.reveal() == expected


def test_a_password_stays_hidden() -> None:
    environ = {"LEDGER": "postgresql+psycopg://app:hunter2@pg1/shop"}
    loaded = load({"clusters": {"shop": {"backend": "sqlalchemy", "url": {"env": "LEDGER"}}}}, environ=environ)
    settings, [one] = renamed(loaded)
    trial = cast("Any", settings.settings.clusters["shop"])
    assert "hunter2@pg1/test_shop" in trial.url.reveal()
    assert "hunter2" not in f"{trial!r} {one!r} {trial.url}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///shop.db", "test_shop.db"),
        ("sqlite:////var/data/shop.db", "/var/data/test_shop.db"),
        ("sqlite:////var/data/shop", "/var/data/test_shop"),
        ("sqlite:///.shop", "test_shop"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite://", ""),
    ],
)
def test_files_of_sqlite(url: str, expected: str) -> None:
    trial, name = turned({"backend": "sqlalchemy", "url": url})
    assert name == expected
    assert (sa.make_url(trial.url.reveal()).database or "") == expected


@pytest.mark.parametrize(
    "url", ["mysql+pymysql://app@host/shop", "postgresql+psycopg://app@pg1", "sqlite:///file:shop.db?uri=true"]
)
def test_what_cannot_have_one_is_refused(url: str) -> None:
    with pytest.raises(NoTestDatabase, match=r"clusters\.shop"):
        turned({"backend": "sqlalchemy", "url": url})


def test_every_cluster_that_cannot_have_one_is_told() -> None:
    other = {"backend": "sqlalchemy", "url": "oracle://app@host/shop"}
    with pytest.raises(NoTestDatabase) as caught:
        renamed(load({"clusters": {"a": other, "b": other, "c": MONGODB}}, environ={}), names={"d": "x"})
    assert [problem.path for problem in caught.value.problems] == ["clusters.d", "clusters.a", "clusters.b"]


@pytest.mark.parametrize("names", [{"shop": "shop"}, {"shop": "real"}, {}])
def test_the_name_of_a_real_one_is_refused(names: dict[str, str]) -> None:
    clusters = {"shop": MONGODB, "other": {**MONGODB, "database": "real" if names else "test_shop"}}
    with pytest.raises(NoTestDatabase, match="real one's name"):
        renamed(load({"clusters": clusters}, environ={}), names=names)


# -- one run, on files of SQLite ---------------------------------------------------------------------


class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "trial_of_sqlite"}


class Mark(Base):
    __tablename__ = "mark"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "real.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE precious (id INTEGER)")
    REGISTRY.configure({"clusters": {"trial_of_sqlite": {"backend": "sqlalchemy", "url": f"sqlite:///{path}"}}})
    try:
        yield path
    finally:
        REGISTRY.close()


def tables() -> set[str]:
    return set(sa.inspect(engine("trial_of_sqlite")).get_table_names())


def test_a_run(real: Path) -> None:
    before = real.read_bytes()
    databases = Databases(suffix="_x")
    databases.turn()
    assert databases.existing() == []
    databases.make()
    assert tables() == {"mark", "undaunted_keys"}
    assert [real.parent / "test_real_x.db"] == [real.parent / name for name in databases.existing()]
    databases.make(keep=True)
    databases.change("_y")
    databases.make()
    databases.drop()
    databases.change("_x")
    databases.drop()
    databases.drop()
    databases.turn_back()
    databases.turn_back()
    assert tables() == {"precious"}
    assert real.read_bytes() == before
    assert [path.name for path in real.parent.iterdir()] == ["real.db"]


def test_nothing_real_is_registered_when_a_cluster_cannot_be_turned(real: Path) -> None:
    del real
    databases = Databases(names={"nobody": "x"})
    with pytest.raises(NoTestDatabase):
        databases.turn()
    assert REGISTRY.status()["clusters"] == {}


def test_a_real_database_is_not_dropped_by_mistake(real: Path) -> None:
    databases = Databases()
    databases.turn()
    one = databases.clusters[0]
    object.__setattr__(one, "trial_database", one.real_database)
    with pytest.raises(UndauntedError, match="still has its real database"):
        databases.drop()
    assert real.exists()
    databases.turn_back()


@pytest.mark.parametrize("url", ["mysql://app@db1/shop", "sqlite:///file:ledger.db?uri=true"])
def test_what_file_and_environment_name_is_not_used_when_a_cluster_cannot_be_turned(
    real: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    (real.parent / "undaunted.toml").write_text(
        f"[clusters.ledger]\nbackend = 'sqlalchemy'\nurl = 'sqlite:///{real}'\n"
    )
    monkeypatch.chdir(real.parent)
    REGISTRY.configure({"clusters": {"other": {"backend": "sqlalchemy", "url": url}}})
    with pytest.raises(NoTestDatabase, match="other"):
        Databases().turn()
    with pytest.raises(ConfigurationError, match="other"):
        REGISTRY.handle("ledger")


def test_a_server_that_is_down_leads_nobody_back_to_the_real_database(
    real: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    named = {"ledger": f"sqlite:///{real}", "other": f"postgresql+psycopg://app@127.0.0.1:{unused_tcp_port}/shop"}
    text = "".join(f"[clusters.{name}]\nbackend = 'sqlalchemy'\nurl = '{url}'\n" for name, url in named.items())
    (real.parent / "undaunted.toml").write_text(text)
    monkeypatch.chdir(real.parent)
    REGISTRY.configure()
    databases = Databases()
    databases.turn()
    for step in (databases.make, databases.drop):
        with pytest.raises(UndauntedError, match=r"clusters\.other: no primary"):
            step()
        assert engine("ledger").url.database == str(real.with_name(f"test_{real.name}"))
    databases.turn_back()
