"""What users of today's integrations of Flask complain about, each with its thread; it does not happen here.

A change of the primary (MongoEngine/mongoengine#1298, #1204) is in tests/integration/frameworks/test_flask.py; servers
that fork (thegeorgeous/flask-cqlalchemy#27, MongoEngine/flask-mongoengine#307) are in test_servers.py beside it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cqlengine import columns
from mongoengine import get_connection, get_db

from undaunted.cassandra import Model
from undaunted.flask import Undaunted
from undaunted.mongodb import Document, fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.testing import FlaskClient

    from undaunted.testing.cql import FakeCassandra

WEB_S = 3.0


class Product(Model):
    __undaunted__ = {"cluster": "flask_catalog"}
    sku = columns.Text(primary_key=True)


class Order(Document):
    __undaunted__ = {"cluster": "flask_orders"}
    meta = {"auto_create_index": False}
    total = fields.IntField()


@pytest.fixture
def catalog(fake_cassandra: FakeCassandra) -> FakeCassandra:
    fake_cassandra.create_keyspace("shop")
    fake_cassandra.execute("CREATE TABLE shop.product (sku text PRIMARY KEY)")
    fake_cassandra.execute("INSERT INTO shop.product (sku) VALUES ('a1')")
    fake_cassandra.clear_journal()
    return fake_cassandra


@pytest.fixture
def make_client(make_app: Callable[..., Flask]) -> Callable[..., FlaskClient]:
    """Makes a client of an application with two pages, which answer from Cassandra and from MongoDB."""

    def make(settings: dict[str, Any]) -> FlaskClient:
        app = make_app({**settings, "profiles": {"web": {"retry": {"deadline": f"{WEB_S}s"}}}})
        Undaunted(app)
        skus = lambda: ",".join(row.sku for row in Product.objects.all())  # noqa: E731
        app.add_url_rule("/skus", endpoint="skus", view_func=skus)
        app.add_url_rule("/orders", endpoint="orders", view_func=lambda: str(Order.objects.count()))
        return app.test_client()

    return make


def test_being_made_connects_to_nothing(make_client: Callable[..., FlaskClient], catalog: FakeCassandra) -> None:
    """MongoEngine/flask-mongoengine#266 ("please support connect=False"), and what flask-cqlalchemy does, too."""
    client = make_client(catalog.settings_for("flask_catalog", keyspace="shop"))
    assert client.get("/undaunted/live").status_code == 200
    assert not catalog.traffic
    assert client.get("/skus").text == "a1"
    assert catalog.traffic


def test_an_application_begins_while_cassandra_is_down_and_needs_no_loop_of_its_own(
    make_client: Callable[..., FlaskClient], catalog: FakeCassandra
) -> None:
    """thegeorgeous/flask-cqlalchemy#18 (NoHostAvailable when it is made, by what stands in its configuration);
    metabrainz/listenbrainz-server#40 (loops around NoHostAvailable)."""
    catalog.kill(1, 2, 3)
    client = make_client(catalog.settings_for("flask_catalog", keyspace="shop"))
    for _ in range(2):
        answer = client.get("/skus")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
    catalog.start(2, 3)
    ends_s = time.monotonic() + 20
    while client.get("/skus").text != "a1":
        assert time.monotonic() < ends_s, "not served 20 s after most nodes were there"


def test_a_request_is_not_held_while_no_node_is_there(make_client: Callable[..., FlaskClient]) -> None:
    """mongodb-labs/flask-pymongo#72, MongoEngine/mongoengine#1595: 30 s for each request."""
    orders = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop"}
    client = make_client({"clusters": {"flask_orders": orders}})
    for _ in range(2):
        began_s = time.monotonic()
        assert client.get("/orders").status_code == 503
        assert time.monotonic() - began_s < WEB_S + 5.0  # the promise is 0.1 s; a busy machine adds to it


def test_a_url_and_what_stands_beside_it(make_client: Callable[..., FlaskClient]) -> None:
    """MongoEngine/flask-mongoengine#247 (the URL's database becomes its host), #120 (a URL of several hosts, and the
    database and the set beside it), #246 (several databases)."""
    hosts = "mongodb://n1.invalid:27018,n2.invalid"
    make_client(
        {
            "clusters": {
                "flask_orders": {"backend": "mongodb", "url": f"{hosts}/shop?replicaSet=rs0"},
                "flask_logs": {"backend": "mongodb", "url": hosts, "database": "logs", "replica_set": "rs1"},
            }
        }
    )
    assert (get_db("flask_orders").name, get_db("flask_logs").name) == ("shop", "logs")
    assert Order._get_db() == get_db("flask_orders")
    for name, replica_set in (("flask_orders", "rs0"), ("flask_logs", "rs1")):
        client = get_connection(name)
        assert client.options.replica_set_name == replica_set
        assert set(client.topology_description.server_descriptions()) == {("n1.invalid", 27018), ("n2.invalid", 27017)}
