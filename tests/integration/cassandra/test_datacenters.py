"""Home is down as a whole: it goes on where the settings say, comes back when home has been well, or says why not."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from cassandra.cqlengine.management import sync_table
from tests.integration.cassandra.tables import define
from tests.integration.cassandra.watch import until
from tests.integration.speed import within

import undaunted
from undaunted.cassandra import Model
from undaunted.lab import CassandraLab

if TYPE_CHECKING:
    from collections.abc import Generator

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.slow, pytest.mark.soak]

KEYSPACE = "wide"
FAILBACK_S = 5.0
NOISE_S = 1.0


@pytest.fixture(scope="module")
def wide() -> Generator[CassandraLab]:
    """Two datacenters of two nodes each; a row has a copy on each of the four."""
    with CassandraLab(nodes=2, datacenters=2, phi_convict_threshold=5) as lab:
        lab.create_keyspace(KEYSPACE, replicas=2)
        undaunted.configure(lab.settings_for("maker", keyspace=KEYSPACE))
        try:
            for model in define(Model, KEYSPACE, __undaunted__={"cluster": "maker"}).all():
                sync_table(model)
        finally:
            undaunted.close()
        yield lab


def declare(lab: CassandraLab, **changes: Any) -> Any:
    settings = lab.settings_for("shop", keyspace=KEYSPACE)
    settings["clusters"]["shop"] |= {"failback_after": f"{FAILBACK_S}s", **changes}
    undaunted.configure(settings)
    return define(Model, KEYSPACE, __undaunted__={"cluster": "shop"})


def asked(shop: Any) -> str:
    """The datacenter of the node that answers just now."""
    result = shop.Item.objects(key="x")._execute(shop.Item.objects(key="x")._select_query())
    datacenter: str = result.response_future.coordinator_host.datacenter
    return datacenter


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_declared(wide: CassandraLab, fault: str) -> None:
    wide.heal()
    shop = declare(wide, remote_datacenters={"dc2": {"consistency": {"read": "LOCAL_ONE", "write": "LOCAL_QUORUM"}}})
    try:
        run = uuid.uuid4().hex[:8]
        shop.Item.create(key=f"{run}-0", n=0)
        assert asked(shop) == "dc1"
        home = wide.nodes_of("dc1")
        for node in home:
            getattr(wide, fault)(node)
        began_s = time.monotonic()
        slowest_s = 0.0
        for number in range(1, 60):
            call_s = time.monotonic()
            shop.Item.create(key=f"{run}-{number}", n=number)
            assert shop.Item.objects.get(key=f"{run}-{number}").n == number
            slowest_s = max(slowest_s, time.monotonic() - call_s)
        assert asked(shop) == "dc2"
        print(f"{fault} of home: the slowest write and read took {slowest_s:.2f} s")
        within(slowest_s, 2 * 2.2 + NOISE_S, "each of the two nodes at home may cost one timeout")
        assert time.monotonic() - began_s < 30
        wide.heal()
        well_s = time.monotonic()
        seen: list[str] = []
        until(lambda: seen.append(asked(shop)) or seen[-1] == "dc1", timeout_s=FAILBACK_S + 15, what="the way home")
        print(f"back home {time.monotonic() - well_s:.1f} s after it was well")
        for node in wide.nodes_of("dc2"):
            wide.kill(node)
        assert shop.Item.objects.get(key=f"{run}-0").n == 0  # what was written away from home may still be on its way
    finally:
        undaunted.close()
        wide.heal()


def test_not_declared(wide: CassandraLab) -> None:
    wide.heal()
    shop = declare(wide, retry={"deadline": "3s"})
    try:
        shop.Item.create(key="y", n=0)
        for node in wide.nodes_of("dc1"):
            wide.kill(node)
        with pytest.raises(undaunted.UndauntedError) as caught:
            shop.Item.objects.get(key="y")
        print(caught.value)
        assert "dc1" in str(caught.value)
        assert "remote_datacenters" in str(caught.value)
    finally:
        undaunted.close()
        wide.heal()
