"""The addresses, on clusters whose nodes are not there: who may see what, and what is never in an answer."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.frameworks.web.site import BASE

import undaunted
from undaunted.core.fault import Fault
from undaunted.events import NodeLost, RetryScheduled
from undaunted.registry import REGISTRY
from undaunted.web import NAMES, Answer, answer, is_public

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = ("live", "ready", "status", "metrics", "page")
NEEDS = {
    "live": {"live"},
    "ready": {"ready"},
    "status.json": {"status", "page"},
    "metrics": {"metrics"},
    "": {"page"},
    "page.css": {"page"},
    "page.js": {"page"},
}


@pytest.fixture
def refused() -> Iterator[str]:
    """An address where nothing listens, and nothing else can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def configure(node: str = "127.0.0.1:1", *, required: bool = True, **web: Any) -> None:
    orders = {"backend": "mongodb", "nodes": [node], "replica_set": "rs0", "database": "shop", "required": required}
    undaunted.configure({"clusters": {"orders": orders}, "web": web})


def ask(name: str, *, is_staff: bool = True) -> Answer:
    return answer(name, is_staff=is_staff, base=BASE)


def settled(name: str, until: int) -> Answer:
    """Ask until the answer has this status: a first look may be on its way."""
    ends_s = time.monotonic() + 10
    while (found := ask(name)).status != until:
        assert time.monotonic() < ends_s, f"{name} answers {found.status}: {found.body.decode()}"
    return found


def test_every_name_has_an_entry_here() -> None:
    assert set(NAMES) == set(NEEDS)


@pytest.mark.parametrize("public", [*itertools.combinations(KEYS, 1), (), ("live", "ready"), KEYS])
def test_who_may_see_what(public: tuple[str, ...], refused: str) -> None:
    configure(refused, public=list(public))
    for name, needed in NEEDS.items():
        allowed = bool(needed & set(public))
        assert is_public(name) is allowed
        assert (ask(name, is_staff=False).status == 403) is not allowed, name
        assert ask(name).status != 403, name


def test_by_default_anybody_may_ask_whether_it_lives_and_is_ready_and_no_more(refused: str) -> None:
    configure(refused)
    assert {name for name in NAMES if ask(name, is_staff=False).status != 403} == {"live", "ready"}


@pytest.mark.parametrize(
    "name", ["nothing", "page.htm", "../page.css", "status.json/", "LIVE", "page.css\x00", "{{base}}"]
)
def test_another_name_is_not_found_and_not_repeated(name: str) -> None:
    configure()
    for is_staff in (True, False):
        found = ask(name, is_staff=is_staff)
        assert found.status == 404
        assert name not in found.body.decode()


@pytest.mark.parametrize("backend", ["mongodb", "cassandra", "sqlalchemy"])
def test_a_required_cluster_that_is_down_makes_it_not_ready_and_it_lives(
    backend: str, refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_URL", f"postgresql://nobody@{refused}/shop")
    declared: dict[str, Any] = {
        "mongodb": {"nodes": [refused], "replica_set": "rs0", "database": "shop"},
        "cassandra": {"nodes": [refused], "local_datacenter": "dc1", "keyspace": "shop"},
        "sqlalchemy": {"nodes": [refused], "url": {"env": "LEDGER_URL"}},
    }[backend]
    undaunted.configure({"clusters": {"orders": {"backend": backend, **declared}}})
    found = settled("ready", 503)
    assert json.loads(found.body) == {"ready": False, "clusters": {"orders": {"state": "down", "required": True}}}
    assert ask("live").status == 200
    [node] = json.loads(ask("status.json").body)["clusters"]["orders"]["nodes"]
    assert (node["address"], node["role"], node["breaker"]) == (refused, "unknown", "open")
    assert node["error"], "it is told what stands in the way, by name"


def test_an_optional_cluster_that_is_down_does_not(refused: str) -> None:
    configure(refused, required=False)
    ends_s = time.monotonic() + 10
    while json.loads(ask("ready").body)["clusters"]["orders"]["state"] != "down":
        assert time.monotonic() < ends_s
    assert ask("ready").status == 200
    assert json.loads(ask("status.json").body)["state"] == "degraded"


def test_ready_waits_for_a_silent_node_for_less_than_a_probe_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        configure(f"127.0.0.1:{silent.getsockname()[1]}")
        began_s = time.monotonic()
        found = ask("ready")
        took_s = time.monotonic() - began_s
    assert found.status == 200
    assert json.loads(found.body)["clusters"]["orders"]["state"] == "unknown"
    assert took_s >= 0.75, "it waits for the first sight"
    assert took_s < 1.5


def test_nothing_but_ready_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        configure(f"127.0.0.1:{silent.getsockname()[1]}")
        began_s = time.monotonic()
        for name in set(NAMES) - {"ready"}:
            ask(name)
        assert time.monotonic() - began_s < 0.7


@pytest.mark.parametrize("name", NAMES)
def test_wrong_settings_are_told_to_nobody(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDAUNTED__CLUSTERS__ORDERS__NODEZ", "geheim")
    found = ask(name, is_staff=False)
    assert found.status == (200 if name == "live" else 500)
    assert "geheim" not in found.body.decode()
    assert "nodez" not in found.body.decode()


def test_no_secret_is_in_any_answer(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    monkeypatch.setenv("ORDERS_URL", f"mongodb://alice:geheim@{refused}/shop?replicaSet=rs0&authSource=admin")
    monkeypatch.setenv("LEDGER_URL", f"postgresql://bob:geheim@{refused}/shop?sslpassword=geheim")
    ledger = {"backend": "sqlalchemy", "url": {"env": "LEDGER_URL"}, "nodes": [refused]}
    undaunted.configure(
        {"clusters": {"orders": {"backend": "mongodb", "url": {"env": "ORDERS_URL"}}, "ledger": ledger}}
    )
    settled("ready", 503)
    for name in NAMES:
        text = ask(name).body.decode()
        assert not any(word in text for word in ("geheim", "alice", "bob")), name


def test_the_page_may_load_its_own_files_and_nothing_else() -> None:
    configure()
    for name in NAMES:
        headers = ask(name).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["Content-Security-Policy"]
    page = ask("").body.decode()
    assert not re.findall(r"<[^>]+\s(?:on\w+|style)=", page)
    assert not re.findall(r"<(?:script|style)[^>]*>[^<]", page)
    assert all(f'"{BASE}{name}"' in page for name in ("page.css", "page.js", "status.json"))


def test_a_base_is_written_as_text() -> None:
    configure()
    page = answer("", is_staff=True, base='/"><script>alert(1)</script>/').body.decode()
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    ("base", "shown"),
    [
        ("/undaunted/", "/undaunted/"),
        ("/undaunted", "/undaunted/"),
        ("/", "/"),
        ("//evil.example/x/", "/evil.example/x/"),
    ],
)
def test_a_base_never_names_a_host(base: str, shown: str) -> None:
    configure()
    assert f'src="{shown}page.js"' in answer("", is_staff=True, base=base).body.decode()


def test_the_script_never_writes_html() -> None:
    configure()
    script = ask("page.js").body.decode()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script)


def test_the_report_has_the_last_fault_of_a_node_and_what_waits(refused: str) -> None:
    configure(refused)
    common = {"cluster": "orders", "backend": "mongodb"}
    REGISTRY.publish(
        RetryScheduled(
            **common,
            operation="find",
            attempt=1,
            node=refused,
            fault=Fault.UNKNOWN,
            error="AutoReconnect",
            delay_s=float("inf"),
            is_hop=True,
        )
    )
    REGISTRY.publish(NodeLost(**common, node=refused, reason="NetworkTimeout"))
    found = ask("status.json")
    report = json.loads(found.body)  # infinity would not be JSON
    assert (report["host"], report["process"]) == (socket.gethostname(), os.getpid())  # by which the page counts them
    assert b"Infinity" not in found.body
    assert report["clusters"]["orders"]["nodes"][0]["last_fault"]["error"] == "NetworkTimeout"
    assert report["clusters"]["orders"]["waiting"] == {"calls": 0, "longest_s": 0.0}
    told = [event["event"] for event in report["events"] if event.get("node") == refused]
    assert told == ["RetryScheduled", "NodeLost"]


def test_the_text_of_prometheus_is_what_its_own_parser_reads(refused: str) -> None:
    configure(refused)
    settled("ready", 503)
    found = ask("metrics")
    assert found.content_type.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(found.body.decode())}
    states = {s.labels["state"]: s.value for s in families["undaunted_cluster_state"].samples}
    assert states == {"ok": 0, "degraded": 0, "down": 1, "unknown": 0}
    assert [s.value for s in families["undaunted_node_up"].samples] == [0]
    assert [s.value for s in families["undaunted_cluster_required"].samples] == [1]


def test_without_the_client_library_of_prometheus_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    configure()
    monkeypatch.setitem(sys.modules, "prometheus_client", None)  # as the import system sees a module that is missing
    found = ask("metrics")
    assert found.status == 501
    assert b"pip install prometheus-client" in found.body
