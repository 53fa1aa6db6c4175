"""What users of today's integrations of Django complain about, each with its thread; it does not happen here.

Test keyspaces (r4fek/django-cassandra-engine#10, #15, #27, #125) are in test_kept_apart.py, a request that hangs for
30 s (MongoEngine/mongoengine#1595) in test_middleware.py; a primary that changes (hmarr/mongoengine#267), servers that
fork and workers of Celery in tests/integration/frameworks.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cqlengine import columns, models
from django.core.checks import run_checks
from django.core.management import call_command
from django.http import HttpResponse, JsonResponse
from django.test import Client
from django.urls import path
from mongoengine.context_managers import switch_db

from undaunted.cassandra import Model
from undaunted.mongodb import Document, fields
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpRequest

    from undaunted.testing.cql import FakeCassandra

WEB_S = 3.0


class Product(Model):
    __undaunted__ = {"cluster": "django_catalog"}
    sku = columns.Text(primary_key=True)


class Untouched(models.Model):
    """A model of cqlengine's own, which names its connection as its documentation says."""

    __connection__ = "django_catalog"
    __keyspace__ = "shop"
    __table_name__ = "product"
    sku = columns.Text(primary_key=True)


class _Urls:
    urlpatterns: list[Any]


@pytest.fixture
def catalog(fake_cassandra: FakeCassandra) -> FakeCassandra:
    fake_cassandra.create_keyspace("shop")
    fake_cassandra.execute("CREATE TABLE shop.product (sku text PRIMARY KEY)")
    fake_cassandra.execute("INSERT INTO shop.product (sku) VALUES ('a1')")
    return fake_cassandra


@pytest.fixture
def make_site(site: Callable[..., Client]) -> Iterator[Callable[..., Client]]:
    """Makes a site of one view, which answers with the SKUs of a model's rows."""

    def make(settings: dict[str, Any], model: Any = Product) -> Client:
        def show(_: HttpRequest) -> HttpResponse:
            return HttpResponse(",".join(row.sku for row in model.objects.all()))

        urls = _Urls()
        urls.urlpatterns = [path("skus", show), path("none", lambda _: HttpResponse("no database"))]
        settings = {**settings, "profiles": {"web": {"retry": {"deadline": f"{WEB_S}s"}}}}
        return site(settings, ROOT_URLCONF=urls)

    yield make
    REGISTRY.close()


def until_served(client: Client, *, timeout_s: float = 20.0) -> None:
    ends_s = time.monotonic() + timeout_s
    while client.get("/skus").content != b"a1":
        assert time.monotonic() < ends_s, f"not served {timeout_s:g} s after a node was there"


@pytest.mark.parametrize("model", [Product, Untouched])
def test_a_site_starts_while_cassandra_is_down_and_serves_by_itself_when_it_is_back(
    make_site: Callable[..., Client], catalog: FakeCassandra, model: Any
) -> None:
    """r4fek/django-cassandra-engine#46 (NoHostAvailable at django.setup()), #56 (degrade instead), #164, #82, #34, #49
    (after a failed first connect: "Connection name 'default' doesn't exist in the registry")."""
    catalog.kill(1, 2, 3)
    client = make_site(catalog.settings_for("django_catalog", keyspace="shop"), model)
    call_command("check", "--tag", "urls")
    assert client.get("/none").content == b"no database"
    for _ in range(2):
        answer = client.get("/skus")
        assert answer.status_code == 503
        assert answer["Retry-After"]
    catalog.start(1, 2, 3)
    until_served(client)


def test_being_installed_connects_to_nothing(make_site: Callable[..., Client], catalog: FakeCassandra) -> None:
    """r4fek/django-cassandra-engine#56: having the app in INSTALLED_APPS defeats lazy connect."""
    catalog.clear_journal()
    client = make_site(catalog.settings_for("django_catalog", keyspace="shop"))
    run_checks()
    assert client.get("/none").status_code == 200
    assert not catalog.traffic
    assert client.get("/skus").content == b"a1"
    assert catalog.traffic


def test_several_clusters_of_cassandra(
    make_site: Callable[..., Client], catalog: FakeCassandra, make_fake_cassandra: Callable[..., FakeCassandra]
) -> None:
    """r4fek/django-cassandra-engine#144: with several configurations `using("db2")` is not in the registry."""
    other = make_fake_cassandra()
    other.create_keyspace("shop")
    other.execute("CREATE TABLE shop.product (sku text PRIMARY KEY)")
    other.execute("INSERT INTO shop.product (sku) VALUES ('b1')")
    first = catalog.settings_for("django_catalog", keyspace="shop")
    second = other.settings_for("archive", keyspace="shop")
    client = make_site({"clusters": {**first["clusters"], **second["clusters"]}})
    assert client.get("/skus").content == b"a1"
    assert [row.sku for row in Untouched.objects.using(connection="archive")] == ["b1"]


def test_a_frozen_node_does_not_hold_a_request_longer_than_its_deadline(
    make_site: Callable[..., Client], catalog: FakeCassandra
) -> None:
    """r4fek/django-cassandra-engine#13, #53, #11: timeouts in the settings have no effect."""
    client = make_site(catalog.settings_for("django_catalog", keyspace="shop", timeout="300ms"))
    assert client.get("/skus").content == b"a1"
    catalog.freeze(1)
    for _ in range(6):
        began_s = time.monotonic()
        assert client.get("/skus").content == b"a1"
        assert time.monotonic() - began_s < WEB_S
    catalog.freeze(2, 3)
    began_s = time.monotonic()
    assert client.get("/skus").status_code == 503
    assert time.monotonic() - began_s < WEB_S + 0.1 + 0.5  # the promise, and what a busy machine adds to it


def test_an_option_that_has_no_effect_is_a_mistake(site: Callable[..., Client]) -> None:
    """r4fek/django-cassandra-engine#13, #53, #11; flask-mongoengine#132: options that are silently ignored."""
    site(
        {
            "clusters": {
                "catalog": {"backend": "cassandra", "nodes": ["node1"], "connection": {"retry_connect": True}},
                "orders": {"backend": "mongodb", "nodes": ["mongo1"], "read_preference": "secondary"},
            }
        }
    )
    told = "\n".join(message.msg for message in run_checks() if message.id == "undaunted.E001")
    assert "clusters.catalog.connection" in told
    assert "clusters.orders.read_preference" in told
    assert "reads" in told


def test_several_databases_of_mongodb_with_their_own_sets_and_pools(site: Callable[..., Client]) -> None:
    """django-mongoengine#49, #66, #86; flask-mongoengine#246, #120: several databases, replica sets, sizes of pools."""
    site(
        {
            "clusters": {
                "django_orders": {
                    "backend": "mongodb",
                    "nodes": ["mongo1.invalid"],
                    "replica_set": "rs0",
                    "database": "shop",
                    "pool": {"max": 7},
                },
                "django_logs": {"backend": "mongodb", "nodes": ["mongo2.invalid"], "database": "logs"},
            }
        }
    )

    class Order(Document):
        __undaunted__ = {"cluster": "django_orders"}
        total = fields.IntField()

    class Line(Document):
        __undaunted__ = {"cluster": "django_logs"}
        text = fields.StringField()

    orders, logs = Order._get_db(), Line._get_db()
    assert (orders.name, logs.name) == ("shop", "logs")
    assert orders.client is not logs.client
    options = orders.client.options
    assert (options.replica_set_name, options.pool_options.max_pool_size) == ("rs0", 7)


def test_each_request_has_the_database_of_its_tenant(site: Callable[..., Client]) -> None:
    """MongoEngine/mongoengine#1610 (a worker keeps the tenant of its first request), #2518 (an alias that "has not been
    defined" when two people come at once), #2685. The database that is asked: tests/integration/mongodb/test_switch.py.
    """

    class Invoice(Document):
        __undaunted__ = {"cluster": "django_one"}
        meta = {"auto_create_index": False}

    tenants = ["django_one", "django_two", "django_three"]
    all_are_within = threading.Barrier(len(tenants))

    def names(_: HttpRequest, tenant: str) -> JsonResponse:
        with switch_db(Invoice, tenant) as switched:
            all_are_within.wait(30)
            return JsonResponse([model._get_collection().full_name for model in (Invoice, switched)], safe=False)

    urls = _Urls()
    urls.urlpatterns = [path("<tenant>", names)]
    clusters = {name: {"backend": "mongodb", "nodes": ["mongo.invalid"], "database": name} for name in tenants}
    site({"clusters": clusters}, ROOT_URLCONF=urls)
    with ThreadPoolExecutor(len(tenants)) as workers:
        for shift in range(3):  # each thread serves one tenant after another
            asked = tenants[shift:] + tenants[:shift]
            answers = list(workers.map(lambda tenant: Client().get(f"/{tenant}").json(), asked))
            assert answers == [[f"{tenant}.invoice"] * 2 for tenant in asked]
    assert Invoice._get_collection().full_name == "django_one.invoice"
