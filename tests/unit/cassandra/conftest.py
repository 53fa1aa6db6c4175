"""Models of a shop on a fake cluster of three nodes, kept undaunted."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import undaunted
from undaunted.cassandra import Model, columns, sync_table
from undaunted.testing.cql import FakeCassandra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

os.environ["CQLENG_ALLOW_SCHEMA_MANAGEMENT"] = "1"


class Product(Model):
    __undaunted__ = {"cluster": "catalog"}
    sku = columns.Integer(primary_key=True)
    name = columns.Text()
    tags = columns.Set(columns.Text)
    log = columns.List(columns.Integer)
    prices = columns.Map(columns.Text, columns.Integer)


class Line(Model):
    __undaunted__ = {"cluster": "catalog"}
    order = columns.Integer(primary_key=True)
    number = columns.Integer(primary_key=True, clustering_order="asc")
    item = columns.Text()


class Hits(Model):
    __undaunted__ = {"cluster": "catalog"}
    page = columns.Text(primary_key=True)
    count = columns.Counter()


class Seat(Model):
    __undaunted__ = {"cluster": "catalog"}
    number = columns.Integer(primary_key=True)
    holder = columns.Text()
    token = columns.UUID()


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Wait for a state, and return what was waited for."""
    ends_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < ends_s, "the state did not come in time"
        time.sleep(0.005)
    return found


def settings_of(fake: FakeCassandra, **more: Any) -> dict[str, Any]:
    return {
        "clusters": {
            "catalog": {
                "backend": "cassandra",
                "nodes": [f"{address}:{fake.port}" for address in fake.contact_points],
                "keyspace": "shop",
                "local_datacenter": "dc1",
                "timeout": "400ms",
                **more,
            }
        }
    }


@pytest.fixture(name="settings_of")
def _settings_of() -> Callable[..., dict[str, Any]]:
    return settings_of


class Models(SimpleNamespace):
    """The models by name; iterating gives them all."""

    def __iter__(self) -> Iterator[Any]:
        return iter(vars(self).values())


@pytest.fixture
def shop_models() -> Models:
    return Models(Product=Product, Line=Line, Hits=Hits, Seat=Seat)


@pytest.fixture
def fake() -> Iterator[FakeCassandra]:
    with FakeCassandra(nodes=3) as made:
        made.create_keyspace("shop")
        yield made


@pytest.fixture
def shop(fake: FakeCassandra) -> Iterator[Any]:
    """The models on a cluster that is connected, its tables made, and its journal empty."""
    undaunted.configure(settings_of(fake))
    for model in (Product, Line, Hits, Seat):
        sync_table(model)
    fake.clear_journal()
    yield SimpleNamespace(until=until, fake=fake, Product=Product, Line=Line, Hits=Hits, Seat=Seat)
    undaunted.close()
    fake.clear_scripts()
