"""Health and status: for everybody what is declared so, for staff the rest, and never a secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import django
import pytest
from django.urls import reverse

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

PRIVATE = ["", "status.json", "metrics", "page.css", "page.js"]
SECRET = "hunter2"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> dict[str, Any]:
    monkeypatch.setenv("ORDERS_PASSWORD", SECRET)
    credentials = {"username": "app", "password": {"env": "ORDERS_PASSWORD"}}
    nodes = [f"127.0.0.1:{unused_port}"]
    return {"clusters": {"orders": {"backend": "mongodb", "nodes": nodes, "credentials": credentials}}}


@pytest.mark.parametrize("name", PRIVATE)
@pytest.mark.parametrize("claimed", ["", "customer", "former"])
def test_who_is_not_staff_sees_nothing(
    site: Callable[..., Client], settings: dict[str, Any], name: str, claimed: str
) -> None:
    answer = site(settings).get(f"/status/{name}", headers={"X-Claimed": claimed})
    assert answer.status_code == 403
    assert b"127.0.0.1" not in answer.content


@pytest.mark.parametrize("name", PRIVATE)
def test_a_model_of_users_that_knows_no_staff(site: Callable[..., Client], settings: dict[str, Any], name: str) -> None:
    answer = site(settings).get(f"/status/{name}", headers={"X-Claimed": "own model"})
    assert answer.status_code == 403


@pytest.mark.parametrize("name", PRIVATE)
def test_staff_sees_everything_but_secrets(site: Callable[..., Client], settings: dict[str, Any], name: str) -> None:
    answer = site(settings).get(f"/status/{name}", headers={"X-Claimed": "staff"})
    assert answer.status_code == 200
    assert SECRET.encode() not in answer.content
    assert answer["Cache-Control"] == "no-store"


def test_the_page_knows_where_it_stands(site: Callable[..., Client], settings: dict[str, Any]) -> None:
    site(settings)
    page = reverse("undaunted:page")
    assert page == "/status/"
    answer = site(settings).get(page, headers={"X-Claimed": "staff"})
    assert b"/status/" in answer.content
    assert b"{{" not in answer.content
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert reverse("undaunted:status") == "/status/status.json"
    assert reverse("undaunted:ready") == "/status/ready"


def test_status_is_json(site: Callable[..., Client], settings: dict[str, Any]) -> None:
    answer = site(settings).get("/status/status.json", headers={"X-Claimed": "staff"})
    assert "orders" in json.dumps(answer.json())


@pytest.mark.parametrize("name", ["live", "ready"])
def test_a_load_balancer_s_question_looks_nobody_up(
    site: Callable[..., Client], ledger: dict[str, Any], name: str
) -> None:
    """A claim that cannot be looked up stands for a database of users that is down."""
    client = site(ledger)
    assert client.get(f"/status/{name}", headers={"X-Claimed": "unheard-of"}).status_code == 200
    assert client.get("/status/", headers={"X-Claimed": "unheard-of"}).status_code == 500


def test_what_is_declared_public_is_so(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    client = site({**ledger, "web": {"public": ["metrics"]}})
    assert client.get("/status/metrics").status_code == 200
    assert client.get("/status/live").status_code == 403
    assert client.get("/status/live", headers={"X-Claimed": "staff"}).status_code == 200


@pytest.mark.parametrize("name", ["live", *PRIVATE])
@pytest.mark.parametrize("method", ["post", "put", "delete", "patch", "options"])
def test_nothing_but_get_and_head(site: Callable[..., Client], ledger: dict[str, Any], name: str, method: str) -> None:
    answer = getattr(site(ledger), method)(f"/status/{name}", headers={"X-Claimed": "staff"})
    assert answer.status_code == 405
    assert answer["Allow"] == "GET, HEAD"


def test_head_is_get_without_a_body(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    client = site(ledger)
    head, get = client.head("/status/live"), client.get("/status/live")
    assert head.content == b""
    assert head["Content-Length"] == str(len(get.content))


@pytest.mark.parametrize(
    "path", ["/status/nothing", "/status/../bounds", "/status/status.json/", "/status//live", "/status/live%00"]
)
def test_forged_addresses_are_not_found(site: Callable[..., Client], ledger: dict[str, Any], path: str) -> None:
    answer = site(ledger).get(path, headers={"X-Claimed": "staff"})
    assert answer.status_code == 404


def test_a_site_without_users_shows_the_page_to_nobody(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    client = site(ledger, MIDDLEWARE=["undaunted.django.middleware.UndauntedMiddleware"])
    assert client.get("/status/").status_code == 403
    assert client.get("/status/ready").status_code == 200


def test_where_a_login_is_required_a_probe_needs_none(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    middleware = ["undaunted.django.middleware.UndauntedMiddleware", "tests.frameworks.django.site.who_am_i"]
    has_it = django.VERSION >= (5, 1)
    if has_it:
        middleware.append("django.contrib.auth.middleware.LoginRequiredMiddleware")
    client = site(ledger, MIDDLEWARE=middleware, LOGIN_URL="/login")
    assert client.get("/bounds").status_code == (302 if has_it else 200)
    assert client.get("/status/live").status_code == 200
    assert client.get("/status/").status_code == 403
