"""``manage.py test``, pytest-django and xdist use keyspaces and databases of their own, and leave the real ones alone.

Here on SQLite and on a fake Cassandra; on real servers in tests/integration/frameworks.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from textwrap import indent
from typing import TYPE_CHECKING, Any

import pytest
from tests.frameworks.django.project import Project, make_project

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from undaunted.testing.cql import FakeCassandra

pytestmark = pytest.mark.timeout(300)  # each test runs up to three programs, some with processes of their own

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from undaunted.sqlalchemy import DeclarativeBase, Session, engine, unit_of_work

class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}

class Payment(Base):
    __tablename__ = "payment"
    id: Mapped[int] = mapped_column(primary_key=True)

@unit_of_work(Base)
def pay(session, number):
    session.add(Payment(id=number))

def paid():
    with Session(Base) as session:
        return session.scalars(sa.select(Payment.id).order_by(Payment.id)).all()

def where():
    return engine(Base).url.database
"""

TESTS = """
import os, time
from django.test import SimpleTestCase, TestCase
from shop.models import pay, paid, where

class One(SimpleTestCase):
    def test_it_is_not_the_real_one(self):
        name = os.path.basename(where())
        assert name.startswith("test_ledger"), name
        with open(os.environ["SEEN"], "a") as seen:
            seen.write(name + "\\n")
        pay(1)
        assert 1 in paid()

class Two(SimpleTestCase):
    def test_it_is_not_the_real_one(self):
        name = os.path.basename(where())
        assert name.startswith("test_ledger"), name
        with open(os.environ["SEEN"], "a") as seen:
            seen.write(name + "\\n")
        pay(2)
        assert 2 in paid()
        time.sleep(0.2)  # so that the other class gets the other process
"""


def on_sqlite(folder: Path, **changes: Any) -> Project:
    settings = {"clusters": {"ledger": {"backend": "sqlalchemy", "url": f"sqlite:///{folder}/ledger.db"}}}
    made = make_project(folder, undaunted=settings, models=MODELS, **{"tests": TESTS, **changes})
    with closing(sqlite3.connect(folder / "ledger.db")) as real, real:
        real.execute("CREATE TABLE payment (id INTEGER PRIMARY KEY)")
        real.execute("INSERT INTO payment VALUES (77)")
    return made


def is_untouched(folder: Path) -> bool:
    """Whether the real database is as it was, and no other is left."""
    with closing(sqlite3.connect(folder / "ledger.db")) as real:
        rows = real.execute("SELECT id FROM payment").fetchall()
        tables = [name for (name,) in real.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    left = [path.name for path in folder.glob("test_*.db*")]
    return (rows, tables, left) == ([(77,)], ["payment"], [])


def test_manage_py_test(tmp_path: Path) -> None:
    project = on_sqlite(tmp_path)
    ran = project.manage("test", "--noinput", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stderr
    assert "Ran 2 tests" in ran.stderr
    assert (tmp_path / "seen").read_text().split() == ["test_ledger.db", "test_ledger.db"]
    assert is_untouched(tmp_path)


@pytest.mark.parametrize("begun_by", ["fork", "spawn"])
def test_in_parallel_each_process_has_its_own(tmp_path: Path, begun_by: str) -> None:
    project = on_sqlite(tmp_path)
    manage = (tmp_path / "manage.py").read_text()
    began = f"import multiprocessing\nmultiprocessing.set_start_method({begun_by!r})\n"
    project.write("manage.py", f"if __name__ == '__main__':\n{indent(began + manage, '    ')}")
    ran = project.manage("test", "--noinput", "--parallel", "2", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stderr
    assert "Ran 2 tests" in ran.stderr
    assert set((tmp_path / "seen").read_text().split()) <= {"test_ledger_1.db", "test_ledger_2.db"}
    assert is_untouched(tmp_path)


def test_keepdb_keeps_it_and_the_next_run_takes_it(tmp_path: Path) -> None:
    project = on_sqlite(tmp_path)
    kept = tmp_path / "test_ledger.db"
    assert project.manage("test", "--noinput", "--keepdb", SEEN=str(tmp_path / "seen")).returncode == 0
    assert kept.exists()
    again = project.manage("test", "--noinput", "--keepdb", SEEN=str(tmp_path / "seen"))
    assert again.returncode == 1  # the rows of the first run are there
    assert "UNIQUE constraint" in again.stderr
    assert project.manage("test", "--noinput", SEEN=str(tmp_path / "seen")).returncode == 0
    assert is_untouched(tmp_path)


@pytest.mark.parametrize(("said", "code"), [("yes\n", 0), ("no\n", 1)])
def test_what_a_killed_run_has_left_is_asked_about(tmp_path: Path, said: str, code: int) -> None:
    project = on_sqlite(tmp_path)
    left = tmp_path / "test_ledger.db"
    left.write_bytes(b"")
    ran = project.manage("test", said=said, SEEN=str(tmp_path / "seen"))
    assert "are there already" in ran.stdout
    assert ran.returncode == code, ran.stderr
    assert left.exists() == bool(code)


def test_a_name_of_the_application_s_own_choice(tmp_path: Path) -> None:
    chosen = on_sqlite(tmp_path, names={"ledger": "test_ledger_of_mine"})
    ran = chosen.manage("test", "--noinput", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stderr
    assert set((tmp_path / "seen").read_text().split()) == {"test_ledger_of_mine"}
    assert is_untouched(tmp_path)


@pytest.mark.parametrize("names", [{"ledger": "ledger.db"}, {"leger": "test_x"}])
def test_a_name_that_cannot_be_ends_the_run_before_anything_is_touched(tmp_path: Path, names: dict[str, str]) -> None:
    ran = on_sqlite(tmp_path, names=names).manage("test", "--noinput", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "clusters.le" in ran.stderr
    assert "ledger" in ran.stderr
    assert not (tmp_path / "seen").exists()
    assert is_untouched(tmp_path)


def test_wrong_settings_are_a_sentence(tmp_path: Path) -> None:
    project = make_project(tmp_path, undaunted={"clusters": {"ledger": {"backend": "sqlalchemy"}}}, models="")
    ran = project.manage("test", "--noinput")
    assert ran.returncode == 1
    assert "clusters.ledger.url" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_environment_does_not_lead_back_to_the_real_one(tmp_path: Path) -> None:
    project = on_sqlite(tmp_path)
    ran = project.manage(
        "test",
        "--noinput",
        SEEN=str(tmp_path / "seen"),
        UNDAUNTED__CLUSTERS__LEDGER__URL=f"sqlite:///{tmp_path}/ledger.db",
    )
    assert ran.returncode == 0, ran.stderr
    assert is_untouched(tmp_path)


# -- pytest-django ---------------------------------------------------------------------------------

PYTESTS = """
import os
import pytest
from django.test import TestCase
from shop.models import pay, paid, where

NAME = os.path.basename(where())  # when the module is imported
assert NAME.startswith("test_ledger"), NAME

@pytest.mark.parametrize("number", range(8))
def test_it_is_not_the_real_one(number, undaunted_db):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(NAME + "\\n")
    pay(number)
    assert number in paid()

@pytest.mark.django_db
def test_the_mark_of_pytest_django():
    pay(100)
    assert 100 in paid()

class Classic(TestCase):
    @classmethod
    def setUpTestData(cls):
        pay(200)

    def test_what_was_set_up(self):
        assert 200 in paid()
"""
IN_MEMORY = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}


def test_pytest_django(tmp_path: Path) -> None:
    project = on_sqlite(tmp_path, tests=PYTESTS, databases=IN_MEMORY)
    ran = project.pytest("-q", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "10 passed" in ran.stdout
    assert set((tmp_path / "seen").read_text().split()) == {"test_ledger.db"}
    assert is_untouched(tmp_path)


def test_each_worker_of_xdist_has_its_own(tmp_path: Path) -> None:
    project = on_sqlite(tmp_path, tests=PYTESTS, databases=IN_MEMORY)
    ran = project.pytest("-q", "-n", "2", "--dist", "each", SEEN=str(tmp_path / "seen"))  # all tests on each
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "20 passed" in ran.stdout
    assert set((tmp_path / "seen").read_text().split()) == {"test_ledger_gw0.db", "test_ledger_gw1.db"}
    assert is_untouched(tmp_path)


def test_tests_that_need_no_database_make_none(tmp_path: Path) -> None:
    project = on_sqlite(tmp_path, tests="def test_sum(): assert 1 + 1 == 2\n")
    (tmp_path / "ledger.db").rename(tmp_path / "away")
    ran = project.pytest("-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not list(tmp_path.glob("*.db"))


def test_reuse_db_and_create_db(tmp_path: Path) -> None:
    project = on_sqlite(tmp_path, tests=PYTESTS, databases=IN_MEMORY)
    seen = str(tmp_path / "seen")
    assert project.pytest("-q", "--reuse-db", SEEN=seen).returncode == 0
    assert (tmp_path / "test_ledger.db").exists()
    assert "UNIQUE constraint" in project.pytest("-q", "--reuse-db", SEEN=seen).stdout
    assert project.pytest("-q", "--reuse-db", "--create-db", SEEN=seen).returncode == 0
    assert (tmp_path / "test_ledger.db").exists()


def test_wrong_settings_end_pytest_with_a_sentence(tmp_path: Path) -> None:
    project = make_project(tmp_path, undaunted={"clusters": {"ledger": {"backend": "sqlalchemy"}}}, models="")
    ran = project.pytest("-q")
    assert ran.returncode == pytest.ExitCode.USAGE_ERROR
    assert "clusters.ledger.url" in ran.stderr


# -- keyspaces -------------------------------------------------------------------------------------

CASSANDRA_MODELS = """
from undaunted.cassandra import Model, columns

class Product(Model):
    __undaunted__ = {"cluster": "catalog"}
    sku = columns.Text(primary_key=True)

class Archived(Model):
    __undaunted__ = {"cluster": "catalog"}
    __keyspace__ = "archive"  # says by itself where it lives
    sku = columns.Text(primary_key=True)
"""
CASSANDRA_TESTS = """
import os
import pytest
from shop.models import Archived, Product

@pytest.mark.parametrize("number", range(4))
def test_it_is_not_the_real_one(number, undaunted_db):
    Product.create(sku=f"a{number}")
    Archived.create(sku=f"b{number}")
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(f"{Product._get_keyspace()} {Archived._get_keyspace()}\\n")
    assert f"a{number}" in [product.sku for product in Product.objects]
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_keyspaces(tmp_path: Path, make_fake_cassandra: Callable[..., FakeCassandra], workers: str) -> None:
    fake = make_fake_cassandra()
    for keyspace in ("catalog", "archive"):
        fake.execute(f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'NetworkTopologyStrategy', 'dc1': 2}}")
    cluster = {"backend": "cassandra", "nodes": fake.contact_points, "keyspace": "catalog"}
    project = make_project(
        tmp_path, undaunted={"clusters": {"catalog": cluster}}, models=CASSANDRA_MODELS, tests=CASSANDRA_TESTS
    )
    ran = project.pytest("-q", "-n", workers, "--dist", "each" if workers != "0" else "no", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    suffixes = [""] if workers == "0" else ["_gw0", "_gw1"]
    pairs = {tuple(line.split()) for line in (tmp_path / "seen").read_text().splitlines()}
    assert pairs == {(f"test_catalog{suffix}", f"test_archive{suffix}") for suffix in suffixes}
    executed = [one.text for one in fake.executed if "KEYSPACE" in one.text.upper()]
    assert any("test_catalog" in text and "'dc1': '2'" in text for text in executed)
    keyspaces = {row["keyspace_name"] for row in fake.execute("SELECT keyspace_name FROM system_schema.keyspaces")}
    assert {"catalog", "archive"} <= keyspaces
    assert not [name for name in keyspaces if name.startswith("test_")]
