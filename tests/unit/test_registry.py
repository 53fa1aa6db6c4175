"""The public face: settings in, aliases registered, status out, listeners, closing, and a fork's child."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any

import mongoengine
import pytest
from mongoengine import connection as registered

import undaunted
from undaunted import registry as module
from undaunted.events import Event, PrimaryFound
from undaunted.registry import REGISTRY, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORDERS: dict[str, Any] = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop"}


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    undaunted.close()


def test_every_cluster_becomes_an_alias_and_connects_to_nothing() -> None:
    undaunted.configure({"clusters": {"orders": ORDERS, "carts": {**ORDERS, "default": True}}})
    assert {"orders", "carts", "default"} <= set(registered._connection_settings)
    assert not registered._connections
    assert mongoengine.get_connection("default") is mongoengine.get_connection("carts")
    assert mongoengine.get_connection("orders") is not mongoengine.get_connection("carts")


def test_status_is_plain_data_and_asks_nobody() -> None:
    undaunted.configure({"clusters": {"orders": ORDERS}})
    status = json.loads(json.dumps(undaunted.status()))
    assert status["clusters"]["orders"]["nodes"] == [
        {"address": "127.0.0.1:1", "role": "unknown", "latency_ms": None, "error": None}
    ]
    assert status["clusters"]["orders"]["primary"] is None
    assert status["clusters"]["orders"]["budget"] == {"tokens": 100.0, "capacity": 100.0}
    assert not registered._connections


def test_configuring_again_begins_anew() -> None:
    undaunted.configure({"clusters": {"orders": ORDERS}})
    undaunted.configure({"clusters": {"carts": ORDERS}})
    assert list(undaunted.status()["clusters"]) == ["carts"]
    assert "orders" not in registered._connection_settings


def test_wrong_settings_change_nothing() -> None:
    undaunted.configure({"clusters": {"orders": ORDERS}})
    with pytest.raises(undaunted.ConfigurationError, match="backend"):
        undaunted.configure({"clusters": {"orders": {"backend": "mongo", "nodes": ["a"]}}})
    assert list(undaunted.status()["clusters"]) == ["orders"]


def test_settings_that_only_a_driver_finds_wrong_change_nothing_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undaunted.toml").write_text('[clusters.orders]\nbackend = "mongodb"\nnodes = ["127.0.0.1:2"]\n')
    monkeypatch.chdir(tmp_path)
    undaunted.configure({"clusters": {"orders": ORDERS}})
    mongoengine.register_connection("taken")
    try:
        with pytest.raises(undaunted.ConfigurationError, match="MongoEngine has a connection with the alias 'taken'"):
            undaunted.configure({"clusters": {"carts": ORDERS, "taken": ORDERS}})
    finally:
        mongoengine.disconnect("taken")
    assert list(undaunted.status()["clusters"]) == ["orders"]
    assert "carts" not in registered._connection_settings
    assert REGISTRY.handle("orders").status()["nodes"][0]["address"] == "127.0.0.1:1", "and not what the file says"
    assert mongoengine.get_connection("orders") is not None


def test_closing_twice_is_harmless_and_forgets_the_aliases() -> None:
    undaunted.configure({"clusters": {"orders": ORDERS}})
    undaunted.close()
    undaunted.close()
    assert undaunted.status()["clusters"] == {}
    assert "orders" not in registered._connection_settings


def test_settings_are_found_without_being_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "undaunted.toml").write_text('[clusters.orders]\nbackend = "mongodb"\nnodes = ["127.0.0.1:1"]\n')
    monkeypatch.chdir(tmp_path)
    assert REGISTRY.knows("orders")
    assert REGISTRY.handle("orders").guard.cluster == "orders"


def test_an_unknown_cluster_is_told_with_the_known_ones() -> None:
    undaunted.configure({"clusters": {"orders": ORDERS}})
    with pytest.raises(undaunted.ConfigurationError, match="orders"):
        REGISTRY.handle("order")


def test_several_applications_share_one_process() -> None:
    shop = REGISTRY.add({"clusters": {"orders": ORDERS}}, framework_name="shop")
    kept = REGISTRY.handle("orders")
    till = REGISTRY.add({"clusters": {"carts": ORDERS, "orders": ORDERS}}, framework_name="till")
    assert (list(shop.clusters), list(till.clusters)) == (["orders"], ["carts", "orders"])
    assert list(undaunted.status()["clusters"]) == ["orders", "carts"]
    assert REGISTRY.handle("orders") is kept  # with its connections
    assert {"orders", "carts"} <= set(registered._connection_settings)
    assert REGISTRY.policy("carts", profile="web").deadline_s == 5


def test_an_application_that_contradicts_another_changes_nothing() -> None:
    REGISTRY.add({"clusters": {"orders": ORDERS}})
    kept = REGISTRY.handle("orders")
    with pytest.raises(undaunted.ConfigurationError, match=r"clusters\.orders: .*\(database\)"):
        REGISTRY.add({"clusters": {"carts": ORDERS, "orders": {**ORDERS, "database": "other"}}})
    assert list(undaunted.status()["clusters"]) == ["orders"]
    assert REGISTRY.handle("orders") is kept
    assert not REGISTRY.knows("carts")


def test_an_application_of_which_one_cluster_cannot_be_opened_adds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    REGISTRY.add({"clusters": {"orders": ORDERS}})
    ledger = {"backend": "sqlalchemy", "url": "postgresql://u@127.0.0.1:1/d"}
    entries = [entry for entry in module.entry_points(group=module.ENTRY_POINTS) if entry.name == "mongodb"]
    monkeypatch.setattr(module, "entry_points", lambda group: entries)
    with pytest.raises(undaunted.ConfigurationError, match="no backend 'sqlalchemy' is installed"):
        REGISTRY.add({"clusters": {"carts": ORDERS, "ledger": ledger}})
    assert list(undaunted.status()["clusters"]) == ["orders"]
    assert "carts" not in registered._connection_settings
    assert not REGISTRY.knows("carts")


def test_what_was_only_found_gives_way_to_an_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of models may have asked while it was imported, before the application brings its settings."""
    (tmp_path / "undaunted.toml").write_text('[clusters.orders]\nbackend = "mongodb"\nnodes = ["127.0.0.1:1"]\n')
    monkeypatch.chdir(tmp_path)
    assert REGISTRY.handle("orders").status()["nodes"][0]["address"] == "127.0.0.1:1"
    REGISTRY.add({"clusters": {"orders": {"nodes": ["127.0.0.1:2"]}}})
    assert REGISTRY.handle("orders").status()["nodes"][0]["address"] == "127.0.0.1:2"


def test_an_application_without_settings_takes_those_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undaunted.toml").write_text('[clusters.orders]\nbackend = "mongodb"\nnodes = ["127.0.0.1:1"]\n')
    monkeypatch.chdir(tmp_path)
    undaunted.configure({"clusters": {"carts": ORDERS}, "retry": {"deadline": "3s"}})
    assert list(REGISTRY.add().clusters) == ["carts"]
    undaunted.close()
    assert list(REGISTRY.add().clusters) == ["orders"]


def test_a_backend_whose_driver_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "mongodb"

        def load(self) -> Any:
            raise ModuleNotFoundError("No module named 'mongoengine'", name="mongoengine")

    monkeypatch.setattr(module, "entry_points", lambda group: [Entry()])
    with pytest.raises(undaunted.ConfigurationError, match=r"pip install 'undaunted\[mongodb\]'"):
        undaunted.configure({"clusters": {"orders": ORDERS}})
    assert undaunted.status()["clusters"] == {}


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://me:geheim@h/shop?authMechanism=geheim",
        "mongodb://me:geheim@h/shop?tls=maybe",
        "mongodb://me:geheim@h/sh op",
        "mongodb://me:ge%zzheim@h/shop",
    ],
)
def test_a_url_that_only_the_driver_refuses_is_a_mistake_of_ours(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS", url)
    with pytest.raises(undaunted.ConfigurationError, match=r"clusters\.orders\.url: pymongo cannot use") as caught:
        undaunted.configure({"clusters": {"orders": {"backend": "mongodb", "url": {"env": "ORDERS"}}}})
    assert "geheim" not in str(caught.value)
    assert caught.value.__suppress_context__, "a traceback does not quote the URL either"
    assert undaunted.status()["clusters"] == {}
    assert "orders" not in registered._connection_settings


def test_a_backend_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "entry_points", lambda group: [])
    with pytest.raises(undaunted.ConfigurationError, match="no backend 'sqlalchemy' is installed"):
        undaunted.configure({"clusters": {"ledger": {"backend": "sqlalchemy", "url": "postgresql://u@127.0.0.1:1/d"}}})


def test_listeners_hear_and_may_leave() -> None:
    heard: list[Event] = []
    leave = undaunted.subscribe(heard.append, PrimaryFound)
    event = PrimaryFound(cluster="orders", backend="mongodb", node="a:1")
    REGISTRY.publish(event)
    leave()
    REGISTRY.publish(event)
    assert heard == [event]
    assert undaunted.status()["events"][-1]["event"] == "PrimaryFound"


def test_one_cluster_that_cannot_be_closed_does_not_keep_the_others_open() -> None:
    closed: list[str] = []

    class Handle:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            if self.name == "second":
                raise OSError("stuck")

    own = Registry()
    own._handles = {name: Handle(name) for name in ("first", "second", "third")}  # type: ignore[misc]
    with pytest.raises(OSError, match="stuck"):
        own.close()
    assert closed == ["third", "second", "first"]


def test_a_forks_child_is_not_stuck_in_its_parents_locks() -> None:
    """Another thread holds every lock at the moment of the fork."""
    undaunted.configure({"clusters": {"orders": ORDERS}})
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with REGISTRY._lock, REGISTRY.handle("orders").guard.budget._lock:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if REGISTRY.handle("orders").guard.budget.tokens == 100 and undaunted.status() else 2
        finally:
            os._exit(code)
    release.set()
    thread.join()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
