"""Health and status at their addresses: who may see what, and what a database that is down changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from undaunted.flask import Undaunted
from undaunted.web import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

DOWN: dict[str, Any] = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop"}


def serve(make_app: Callable[..., Flask], *, web: Any = None, is_staff: Any = None, **changes: Any) -> Any:
    app = make_app({"clusters": {"orders": {**DOWN, **changes}}, "web": web or {}})
    Undaunted(app, is_staff=is_staff or (lambda: False))
    return app.test_client()


def test_live_and_ready_are_for_anybody_and_the_rest_for_staff(make_app: Callable[..., Flask]) -> None:
    client = serve(make_app)
    statuses = {name: client.get(f"/undaunted/{name}").status_code for name in NAMES}
    assert statuses.pop("live") == 200
    assert statuses.pop("ready") == 503
    assert set(statuses.values()) == {403}


def test_staff_sees_everything(make_app: Callable[..., Flask]) -> None:
    client = serve(make_app, is_staff=lambda: True)
    statuses = {name: client.get(f"/undaunted/{name}").status_code for name in NAMES if name != "ready"}
    assert set(statuses.values()) == {200}
    page = client.get("/undaunted/")
    assert page.mimetype == "text/html"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-store"
    assert client.get("/undaunted").headers["Location"].endswith("/undaunted/")


def test_a_probe_is_answered_without_asking_who_it_is(make_app: Callable[..., Flask]) -> None:
    """Who somebody is may be in the very database that is down."""

    def ask() -> bool:
        raise AssertionError("asked")

    client = serve(make_app, is_staff=ask)
    assert client.get("/undaunted/live").status_code == 200
    assert client.get("/undaunted/ready").status_code == 503
    assert client.get("/undaunted/").status_code == 500


@pytest.mark.parametrize(("required", "status"), [(True, 503), (False, 200)])
def test_a_site_is_not_ready_without_what_it_requires_and_lives(
    make_app: Callable[..., Flask], required: bool, status: int
) -> None:
    client = serve(make_app, required=required)
    assert client.get("/undaunted/ready").status_code == status
    assert client.get("/undaunted/live").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_they_are_only_read(make_app: Callable[..., Flask], method: str) -> None:
    client = serve(make_app, is_staff=lambda: True)
    for name in NAMES:
        assert client.open(f"/undaunted/{name}", method=method).status_code == 405


def test_head_is_get_without_a_body(make_app: Callable[..., Flask]) -> None:
    client = serve(make_app, is_staff=lambda: True)
    head = client.head("/undaunted/")
    assert (head.status_code, head.data) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0


@pytest.mark.parametrize("name", ["statusXjson", "page.html", "../etc", "status.json/", "<script>", "live%00"])
def test_a_forged_address_is_not_there(make_app: Callable[..., Flask], name: str) -> None:
    client = serve(make_app, is_staff=lambda: True)
    answer = client.get(f"/undaunted/{name}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text


def test_they_stand_where_the_application_wants_them(make_app: Callable[..., Flask]) -> None:
    app = make_app({"clusters": {"orders": DOWN}})
    Undaunted(app, url_prefix="/internal/databases", is_staff=lambda: True)
    client = app.test_client()
    assert client.get("/internal/databases/live").status_code == 200
    page = client.get("/internal/databases/", base_url="http://localhost/mounted")
    assert "/mounted/internal/databases/" in page.text
