"""`undaunted.cassandra.sync` on the fake cluster: tables and types of all models in one call, as often as one likes."""

from __future__ import annotations

import gc
import io
import os
import re
import subprocess
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cqlengine import CQLEngineException
from cassandra.cqlengine import models as cqlengine
from cassandra.cqlengine.connection import udt_by_keyspace
from cassandra.cqlengine.management import CQLENG_ALLOW_SCHEMA_MANAGEMENT
from cassandra.cqlengine.usertype import UserType
from cassandra.protocol import ErrorMessage

import undaunted
from undaunted.cassandra import ContextQuery, Model, Synced, SyncError, columns, schema, sync
from undaunted.cassandra.progress import line_for
from undaunted.errors import ConfigurationError
from undaunted.testing.cql import ConfigError, Invalid

from .conftest import settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from undaunted.testing.cql import FakeCassandra


class Country(UserType):
    code = columns.Text()


class Address(UserType):
    street = columns.Text()
    country = columns.UserDefinedType(Country)


class Buyer(Model):
    __undaunted__ = {"cluster": "catalog"}
    number = columns.Integer(primary_key=True)
    name = columns.Text()
    addresses = columns.List(columns.UserDefinedType(Address))


class Parcel(Model):
    __undaunted__ = {"cluster": "catalog"}
    number = columns.Integer(primary_key=True)
    to = columns.UserDefinedType(Address)
    weight = columns.Integer(index=True)


class Untouched(cqlengine.Model):
    __connection__ = "catalog"
    __keyspace__ = "shop"
    number = columns.Integer(primary_key=True)


class Base(Model):
    __abstract__ = True
    __undaunted__ = {"cluster": "catalog"}
    number = columns.Integer(primary_key=True)


MODELS = (Buyer, Parcel, Untouched)

# cqlengine remembers types for the whole process, and would register ours with the clusters of other tests.
udt_by_keyspace.clear()


@pytest.fixture(autouse=True)
def configured(fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(CQLENG_ALLOW_SCHEMA_MANAGEMENT, raising=False)
    undaunted.configure(settings_of(fake))
    yield
    undaunted.close()
    fake.clear_scripts()
    udt_by_keyspace.clear()


def definitions(fake: FakeCassandra) -> list[str]:
    """What changed the schema, shortly."""
    texts = [each.text for each in fake.executed]
    return [" ".join(text.split()[:3]).replace('"', "") for text in texts if text.split()[0] in {"CREATE", "ALTER"}]


def outcomes(done: tuple[Synced, ...]) -> dict[str, str]:
    return {one.name: one.outcome for one in done}


def test_types_come_before_the_tables_that_use_them(fake: FakeCassandra) -> None:
    done = sync(MODELS, progress=False)
    assert definitions(fake) == [
        "CREATE TYPE shop.country",
        "CREATE TYPE shop.address",
        "CREATE TABLE shop.buyer",
        "CREATE TABLE shop.parcel",
        "CREATE INDEX ON",
        "CREATE TABLE shop.untouched",
    ]
    assert [(one.kind, one.name, one.place) for one in done] == [
        ("type", "shop.country", 1),
        ("type", "shop.address", 2),
        ("table", "shop.buyer", 3),
        ("table", "shop.parcel", 4),
        ("table", "shop.untouched", 5),
    ]
    assert {(one.cluster, one.outcome, one.total) for one in done} == {("catalog", "made", 5)}
    assert [one.model.rpartition(".")[2] for one in done] == ["Country", "Address", "Buyer", "Parcel", "Untouched"]
    home = Address(street="Main", country=Country(code="NL"))
    Buyer.create(number=1, addresses=[home])
    assert Buyer.objects.get(number=1).addresses == [home]


def test_a_second_call_finds_nothing_to_do(fake: FakeCassandra) -> None:
    sync(MODELS, progress=False)
    fake.clear_journal()
    assert set(outcomes(sync(MODELS, progress=False)).values()) == {"unchanged"}
    assert definitions(fake) == []


def test_what_a_model_has_more_is_added(fake: FakeCassandra) -> None:
    fake.execute("CREATE TYPE shop.country (code text)")
    fake.execute("CREATE TYPE shop.address (street text)")
    fake.execute("CREATE TABLE shop.buyer (number int PRIMARY KEY, addresses list<frozen<address>>)")
    assert outcomes(sync([Buyer], progress=False)) == {
        "shop.country": "unchanged",
        "shop.address": "changed",
        "shop.buyer": "changed",
    }
    assert definitions(fake) == ["ALTER TYPE shop.address", "ALTER TABLE shop.buyer"]


def test_the_environment_is_left_as_it_was_and_nothing_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sync([Untouched], progress=lambda _: seen.append(os.environ.get(CQLENG_ALLOW_SCHEMA_MANAGEMENT)))
        assert CQLENG_ALLOW_SCHEMA_MANAGEMENT not in os.environ
        for value in ("", "yes"):
            monkeypatch.setenv(CQLENG_ALLOW_SCHEMA_MANAGEMENT, value)
            sync([Untouched], progress=lambda _: seen.append(os.environ.get(CQLENG_ALLOW_SCHEMA_MANAGEMENT)))
            assert os.environ[CQLENG_ALLOW_SCHEMA_MANAGEMENT] == value
    assert seen == ["1", "1", "yes"]


def test_a_child_forked_amid_may_sync(fake: FakeCassandra) -> None:
    permission = schema._Permission()
    with permission.given():
        permission.after_fork_in_child()
        assert CQLENG_ALLOW_SCHEMA_MANAGEMENT not in os.environ
        taken = threading.Thread(target=lambda: permission._lock.acquire(timeout=5) and permission._lock.release())
        taken.start()
        taken.join(10)
        assert not taken.is_alive()


# -- which models ------------------------------------------------------------------------------------


def test_only_the_models_of_the_clusters_that_are_named(fake: FakeCassandra) -> None:
    settings = settings_of(fake)
    settings["clusters"]["audit"] = {**settings["clusters"]["catalog"], "keyspace": "audit"}
    fake.create_keyspace("audit")
    undaunted.configure(settings)

    class Entry(Model):
        __undaunted__ = {"cluster": "audit"}
        number = columns.Integer(primary_key=True)

    assert outcomes(sync([Untouched, Entry], clusters=["audit"], progress=False)) == {"audit.entry": "made"}
    assert outcomes(sync([Untouched, Entry], progress=False)) == {"audit.entry": "unchanged", "shop.untouched": "made"}
    assert "audit.entry" in outcomes(sync(clusters=["audit"], progress=False))
    assert "shop.untouched" not in outcomes(sync(clusters=["audit"], progress=False))
    del Entry
    gc.collect()


PROGRAM = """
import json, sys
import undaunted
from cassandra.cqlengine import columns, models
from undaunted.cassandra import ContextQuery, Model, sync

class Base(Model):
    __abstract__ = True
    __undaunted__ = {"cluster": "catalog"}
    number = columns.Integer(primary_key=True)

class First(Base):
    name = columns.Text()

class Animal(Base):
    kind = columns.Text(discriminator_column=True)

class Cat(Animal):
    __discriminator_value__ = "cat"
    lives = columns.Integer()

class Plain(models.Model):
    number = columns.Integer(primary_key=True)

class Elsewhere(models.Model):
    __connection__ = "somewhere"
    __keyspace__ = "other"
    number = columns.Integer(primary_key=True)

with ContextQuery(First, keyspace="shop") as kept:
    done = sync()
print(json.dumps([[one.name, one.model, one.outcome] for one in done]))
undaunted.close()
"""


def test_all_models_that_are_defined(fake: FakeCassandra, tmp_path: Path) -> None:
    """In a process of its own, whose models are all its own; the settings are read by `sync` itself."""
    node = f"{fake.contact_points[0]}:{fake.port}"
    text = f'[clusters.catalog]\nbackend = "cassandra"\nnodes = ["{node}"]\nkeyspace = "shop"\ndefault = true\n'
    (tmp_path / "undaunted.toml").write_text(text, encoding="utf-8")
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    import json

    assert sorted(json.loads(ran.stdout)) == [
        ["shop.animal", "__main__.Animal", "made"],
        ["shop.animal", "__main__.Cat", "changed"],
        ["shop.first", "__main__.First", "made"],
        ["shop.plain", "__main__.Plain", "made"],
    ]
    assert "table shop.first (catalog): made" in ran.stderr
    assert "4/4 table" in ran.stderr


def test_what_is_no_model() -> None:
    with pytest.raises(TypeError, match="is no model of cqlengine"):
        sync([int], progress=False)
    with pytest.raises(TypeError, match="Base is abstract, so it has no table"):
        sync([Base], progress=False)


def test_clusters_that_are_not_there(fake: FakeCassandra) -> None:
    with pytest.raises(ConfigurationError, match="'catalogue'"):
        sync(clusters=["catalogue"], progress=False)
    mongo = {"backend": "mongodb", "nodes": ["127.0.0.1:1"]}
    undaunted.configure({"clusters": {**settings_of(fake)["clusters"], "orders": mongo}})
    with pytest.raises(ConfigurationError, match="cluster 'orders' is not of Cassandra"):
        sync(clusters=["orders"], progress=False)


def test_a_model_of_no_cluster() -> None:
    class Homeless(cqlengine.Model):
        number = columns.Integer(primary_key=True)

    with pytest.raises(ConfigurationError, match="Homeless lives in no cluster of the settings"):
        sync([Homeless], progress=False)
    del Homeless
    gc.collect()


# -- errors name the model ---------------------------------------------------------------------------


def test_a_keyspace_that_is_not_there() -> None:
    with ContextQuery(Buyer, keyspace="basket") as lost, pytest.raises(SyncError) as caught:
        sync([lost], progress=False)
    assert "Buyer: cluster 'catalog' has no keyspace 'basket'" in str(caught.value) or "Country" in str(caught.value)
    assert "undaunted provision catalog --apply" in str(caught.value)
    assert isinstance(caught.value, CQLEngineException)


def test_a_model_without_any_keyspace(fake: FakeCassandra) -> None:
    class Floating(cqlengine.Model):
        __connection__ = "catalog"
        number = columns.Integer(primary_key=True)

    with pytest.raises(SyncError, match="Floating names no keyspace, and neither does") as caught:
        sync([Floating], progress=False)
    assert str(caught.value.model).endswith("Floating")
    del Floating
    gc.collect()


def test_a_table_with_another_key(fake: FakeCassandra) -> None:
    fake.execute("CREATE TABLE shop.untouched (other int PRIMARY KEY)")
    with pytest.raises(SyncError, match=r"Untouched: the table shop\.untouched could not be made") as caught:
        sync([Parcel, Untouched], progress=False)
    assert "PRIMARY KEY" in str(caught.value)
    assert isinstance(caught.value.__cause__, CQLEngineException)
    assert fake.execute("SELECT * FROM shop.parcel") == [], "what came before it stays"


def test_what_the_server_refuses(fake: FakeCassandra) -> None:
    fake.script("CREATE TABLE").error(ConfigError("compaction is wrong"))
    with pytest.raises(SyncError, match=r"Untouched: the table shop\.untouched could not be made") as caught:
        sync([Untouched], progress=False)
    assert isinstance(caught.value.__cause__, ErrorMessage)
    assert "(ConfigurationException: compaction is wrong)" in str(caught.value)


def test_a_cluster_that_is_down(fake: FakeCassandra) -> None:
    fake.kill()
    with undaunted.options(deadline="500ms"), pytest.raises(undaunted.UndauntedError, match="catalog"):
        sync([Untouched], progress=False)
    assert CQLENG_ALLOW_SCHEMA_MANAGEMENT not in os.environ


# -- somebody else at the same time ------------------------------------------------------------------


def made_by_another(fake: FakeCassandra, pattern: str, statement: str) -> None:
    """Just before a statement arrives, somebody else does the same."""

    def first(request: Any) -> bool:
        if pattern in request.text and not meanwhile:
            meanwhile.append(statement)
            fake._shared.database.run(statement, context)
        return False

    from undaunted.testing.cql.database import Context

    context = Context(keyspace="shop")
    meanwhile: list[str] = []
    fake.script(first, times=None).drop()


def test_a_table_that_somebody_else_makes_meanwhile(fake: FakeCassandra) -> None:
    made_by_another(fake, "CREATE TABLE", "CREATE TABLE shop.untouched (number int PRIMARY KEY)")
    assert outcomes(sync([Untouched], progress=False)) == {"shop.untouched": "made"}
    Untouched.create(number=1)


def test_a_type_that_somebody_else_makes_meanwhile(fake: FakeCassandra) -> None:
    made_by_another(fake, "CREATE TYPE", "CREATE TYPE shop.country (code text)")
    assert set(outcomes(sync([Buyer], progress=False)).values()) == {"made"}


def test_a_column_that_somebody_else_adds_meanwhile(fake: FakeCassandra) -> None:
    fake.execute("CREATE TABLE shop.parcel (number int PRIMARY KEY, weight int)")
    fake.script("ALTER TABLE").error(Invalid("Column with name 'to' already exists"), applied=True)
    assert outcomes(sync([Parcel], progress=False))["shop.parcel"] == "changed"


def test_a_change_whose_answer_is_lost(fake: FakeCassandra) -> None:
    fake.script("CREATE TABLE").lose_reply()
    assert outcomes(sync([Untouched], progress=False)) == {"shop.untouched": "made"}


def test_two_threads(fake: FakeCassandra) -> None:
    done: list[tuple[Synced, ...]] = []
    threads = [threading.Thread(target=lambda: done.append(sync(MODELS, progress=False))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(done) == 4
    assert sorted(outcomes(one)["shop.buyer"] for one in done) == ["made", "unchanged", "unchanged", "unchanged"]
    assert CQLENG_ALLOW_SCHEMA_MANAGEMENT not in os.environ


def test_nodes_that_do_not_agree(fake: FakeCassandra, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_AGREE_S", 0.3)
    sync([Buyer], progress=False)
    before = fake.nodes[2].member.schema_version
    fake.execute("CREATE TABLE shop.late (id int PRIMARY KEY)")
    fake.nodes[2].member.schema_version = before
    with pytest.raises(SyncError, match="The nodes of cluster 'catalog' do not agree on the schema") as caught:
        sync([Buyer], progress=False)
    assert "nothing was changed there" in str(caught.value)
    fake.nodes[2].member.schema_version = fake.nodes[1].member.schema_version
    assert outcomes(sync([Buyer], progress=False))["shop.buyer"] == "unchanged"


# -- progress ----------------------------------------------------------------------------------------


def synced(place: int) -> Synced:
    return Synced(cluster="catalog", kind="table", name="shop.[a]", model="m.A", outcome="made", place=place, total=2)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tell(line: Any) -> None:
    for place in (1, 2):
        line.begins("table shop.[a]", place, 2)
        line.ends(synced(place))
    line.close()


def test_a_log_gets_a_line_for_each() -> None:
    stream = io.StringIO()
    tell(line_for(True, stream))
    assert stream.getvalue() == "1/2 table shop.[a] (catalog): made\n2/2 table shop.[a] (catalog): made\n"


def test_a_terminal_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    tell(line_for(True, stream))
    last = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", stream.getvalue()).split("\r")[-1]
    assert last.endswith("2/2 table shop.[a]: made\n")
    line_for(True, stream).close()


def test_a_terminal_without_rich_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    stream = Terminal()
    tell(line_for(True, stream))
    assert stream.getvalue().count("\n") == 2


def test_progress_can_be_quiet_or_a_function(capsys: pytest.CaptureFixture[str]) -> None:
    told: list[Synced] = []
    tell(line_for(told.append))
    tell(line_for(False))
    assert told == [synced(1), synced(2)]
    assert capsys.readouterr() == ("", "")


def test_by_default_it_is_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    sync([Untouched])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "1/1 table shop.untouched (catalog): made\n")
