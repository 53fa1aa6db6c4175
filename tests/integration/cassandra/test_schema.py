"""Changes of the schema while a node is down: they are made, and the node learns of them when it is back."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cqlengine.management import sync_table
from tests.integration.cassandra.conftest import KEYSPACE

from undaunted.cassandra import Model, columns, drop_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.cassandra.reader import Reader
    from tests.integration.cassandra.tables import Tables

    from undaunted.lab import CassandraLab

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.slow]


def make(table: str, **more: Any) -> Any:
    fields = {"key": columns.Text(primary_key=True), "n": columns.Integer(), **more}
    where = {"__module__": __name__, "__keyspace__": KEYSPACE, "__undaunted__": {"cluster": "shop"}}
    return type(Model)("Fresh", (Model,), {**where, "__table_name__": table, **fields})


@pytest.mark.parametrize("fault", ["kill", pytest.param("stop", marks=pytest.mark.soak)])
def test_while_a_node_is_down(lab: CassandraLab, configure: Callable[..., Tables], reader: Reader, fault: str) -> None:
    """Made, altered, made again and used before anybody knows that the node is dead."""
    shop = configure(retry={"deadline": "40s"})
    assert shop.Row.objects.get(part=0, k=7).k == 7
    table = f"t{uuid.uuid4().hex[:8]}"
    fresh = make(table)
    wider = make(table, text=columns.Text())
    down = lab.nodes[0]
    getattr(lab, fault)(down)
    took: dict[str, float] = {}
    for name, model in (("made", fresh), ("made again", fresh), ("altered", wider)):
        began_s = time.monotonic()
        sync_table(model)
        took[name] = time.monotonic() - began_s
    wider.create(key="a", n=1, text="x")
    assert wider.objects.get(key="a").text == "x"
    print(f"{fault}: " + ", ".join(f"{name} in {took_s:.2f} s" for name, took_s in took.items()))
    lab.start(down)
    lab.wait_healthy()
    found = reader.rows(table, "key", ["n", "text"], ["a"])
    assert (found["a"]["n"], found["a"]["text"]) == (1, "x")
    drop_table(wider)
