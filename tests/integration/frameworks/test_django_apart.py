"""Tests of an application of Django on real servers: databases of the run's own, and the real ones are as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymongo import MongoClient
from tests.frameworks.django.project import Project, make_project

if TYPE_CHECKING:
    from pathlib import Path

    from undaunted.lab import CassandraLab, MongoLab, PostgresLab

MODELS = """
from sqlalchemy.orm import Mapped, mapped_column
from undaunted.mongodb import Document, fields
from undaunted.sqlalchemy import DeclarativeBase, Session, engine, unit_of_work
import sqlalchemy as sa

class Order(Document):
    __undaunted__ = {"cluster": "orders"}
    number = fields.IntField(unique=True)
    meta = {"collection": "order", "auto_create_index": False}

class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}

class Payment(Base):
    __tablename__ = "django_payment"
    id: Mapped[int] = mapped_column(primary_key=True)

@unit_of_work(Base)
def pay(session, number):
    session.add(Payment(id=number))

def paid(readonly):
    with Session(Base, readonly=readonly) as session:
        return session.scalars(sa.select(Payment.id)).all()
"""

TESTS = """
import os
import mongoengine
import pytest
from django.test import SimpleTestCase
from shop.models import Order, engine, Base, paid, pay

@pytest.mark.usefixtures("undaunted_db")
class Shop(SimpleTestCase):
    def names(self):
        return Order._get_db().name, engine(Base).url.database

    def serve(self, number):
        orders, ledger = self.names()
        assert orders.startswith("test_shop") and ledger.startswith("test_"), (orders, ledger)
        with open(os.environ["SEEN"], "a") as seen:
            seen.write(f"{orders} {ledger}\\n")
        assert not Order.objects(number=77) and 77 not in paid(False)
        Order(number=number).save()
        with self.assertRaises(mongoengine.NotUniqueError):  # sync has made the index
            Order(number=number).save()
        pay(number)
        assert number in paid(True)  # on a replica, which has the database, too

class A(Shop):
    def test_a(self): self.serve(1)
    def test_b(self): self.serve(2)

class B(Shop):
    def test_a(self): self.serve(3)
    def test_b(self): self.serve(4)

del Shop
"""


class Real:
    """The real databases, looked at by their own drivers."""

    def __init__(self, mongo: MongoLab, postgres: PostgresLab) -> None:
        self._mongo, self._postgres = mongo, postgres
        with self._client() as client:
            client["shop"]["order"].drop()
            client["shop"]["order"].insert_one({"number": 77})
        with self._connection() as connection:
            connection.execute("DROP TABLE IF EXISTS django_payment")
            connection.execute("CREATE TABLE django_payment (id integer PRIMARY KEY)")
            connection.execute("INSERT INTO django_payment VALUES (77)")

    def _client(self) -> Any:
        return MongoClient(self._mongo.uri)

    def _connection(self) -> Any:
        return self._postgres.connect("primary", autocommit=True)

    def state(self) -> dict[str, Any]:
        """What is in them, and which databases of tests there are beside them."""
        with self._client() as client, self._connection() as connection:
            order = client["shop"]["order"]
            names = [row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()]
            return {
                "orders": [each["number"] for each in order.find()],
                "indexes": sorted(order.index_information()),
                "payments": connection.execute("SELECT id FROM django_payment").fetchall(),
                "left": [n for n in [*client.list_database_names(), *names] if n.startswith("test_")],
            }

    def settings(self) -> dict[str, Any]:
        orders = self._mongo.settings_for("orders")["clusters"]
        orders["orders"]["database"] = "shop"
        return {"clusters": {**orders, **self._postgres.settings_for("ledger")["clusters"]}}


UNTOUCHED = {"orders": [77], "indexes": ["_id_"], "payments": [(77,)], "left": []}


@pytest.fixture
def real(healthy_mongo_lab: MongoLab, healthy_postgresql_lab: PostgresLab) -> Real:
    return Real(healthy_mongo_lab, healthy_postgresql_lab)


@pytest.fixture
def project(tmp_path: Path, real: Real) -> Project:
    return make_project(tmp_path, undaunted=real.settings(), models=MODELS, tests=TESTS)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "suffixes"), [((), [""]), (("--parallel", "2"), ["_1", "_2"])], ids=["alone", "parallel"]
)
def test_manage_py_test(
    project: Project, real: Real, tmp_path: Path, arguments: tuple[str, ...], suffixes: list[str]
) -> None:
    assert real.state() == UNTOUCHED
    ran = project.manage("test", "--noinput", *arguments, SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stderr
    assert "Ran 4 tests" in ran.stderr
    assert _seen(tmp_path) <= {f"test_shop{suffix}" for suffix in suffixes}
    assert real.state() == UNTOUCHED


@pytest.mark.slow
@pytest.mark.integration
def test_pytest_django_under_xdist_while_a_node_is_down(
    project: Project, real: Real, tmp_path: Path, healthy_mongo_lab: MongoLab, healthy_postgresql_lab: PostgresLab
) -> None:
    for lab in (healthy_mongo_lab, healthy_postgresql_lab):
        lab.kill(next(node for node in lab.nodes if node != lab.primary()))
    ran = project.pytest("-q", "-n", "2", "--dist", "each", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "8 passed" in ran.stdout  # all tests on each worker
    assert _seen(tmp_path) == {"test_shop_gw0", "test_shop_gw1"}
    assert real.state() == UNTOUCHED


def _seen(folder: Path) -> set[str]:
    return {line.split()[0] for line in (folder / "seen").read_text().splitlines()}


CASSANDRA_MODELS = """
from undaunted.cassandra import Model, columns

class Product(Model):
    __undaunted__ = {"cluster": "catalog"}
    sku = columns.Text(primary_key=True)

class Archived(Model):
    __undaunted__ = {"cluster": "catalog"}
    __keyspace__ = "django_archive"
    sku = columns.Text(primary_key=True)
"""
CASSANDRA_TESTS = """
import os
import pytest
from shop.models import Archived, Product

@pytest.mark.parametrize("number", range(6))
def test_it_is_not_the_real_one(number, undaunted_db):
    assert not list(Product.objects.filter(sku="real"))
    Product.create(sku=f"a{number}")
    Archived.create(sku=f"b{number}")
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(f"{Product._get_keyspace()} {Archived._get_keyspace()}\\n")
    assert f"a{number}" in [product.sku for product in Product.objects]
"""


@pytest.mark.slow
@pytest.mark.integration
def test_keyspaces_of_cassandra_under_xdist(tmp_path: Path, healthy_cassandra_lab: CassandraLab) -> None:
    """r4fek/django-cassandra-engine#10, #15, #27, #125: not created, not used, not reusable, racing under xdist."""
    lab = healthy_cassandra_lab
    with lab.cluster() as plain:
        session = plain.connect()
        for keyspace in ("django_catalog", "django_archive"):
            lab.create_keyspace(keyspace)
            session.execute(f"CREATE TABLE IF NOT EXISTS {keyspace}.product (sku text PRIMARY KEY)")
            session.execute(f"INSERT INTO {keyspace}.product (sku) VALUES ('real')")
    project = make_project(
        tmp_path,
        undaunted=lab.settings_for("catalog", keyspace="django_catalog"),
        models=CASSANDRA_MODELS,
        tests=CASSANDRA_TESTS,
    )
    ran = project.pytest("-q", "-n", "2", "--dist", "each", SEEN=str(tmp_path / "seen"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "12 passed" in ran.stdout  # all tests on each worker
    pairs = {tuple(line.split()) for line in (tmp_path / "seen").read_text().splitlines()}
    assert pairs == {(f"test_django_catalog_{each}", f"test_django_archive_{each}") for each in ("gw0", "gw1")}
    with lab.cluster() as plain:
        session = plain.connect()
        left = [row.keyspace_name for row in session.execute("SELECT keyspace_name FROM system_schema.keyspaces")]
        assert not [name for name in left if name.startswith("test_")]
        for keyspace in ("django_catalog", "django_archive"):
            assert [row.sku for row in session.execute(f"SELECT sku FROM {keyspace}.product")] == ["real"]
