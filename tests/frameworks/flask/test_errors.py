"""What a visitor is told when a database cannot serve him: 503 for what may be asked again, and nothing is hidden."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask, render_template

import undaunted
from undaunted.flask import Undaunted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from undaunted.testing.cql import FakeCassandra

DOWN: dict[str, Any] = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop"}
SETTINGS: dict[str, Any] = {
    "clusters": {"orders": DOWN},
    "profiles": {"web": {"retry.deadline": "200ms"}},
    "web": {"retry_after": "2.5s"},
}
HTML, JSON = {"Accept": "text/html,*/*;q=0.8"}, {"Accept": "application/json"}


def order() -> Any:
    from undaunted.mongodb import Document, fields

    class Order(Document):
        __undaunted__ = {"cluster": "orders"}
        meta = {"auto_create_index": False}
        total = fields.IntField()

    return Order


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return wired(make_app(SETTINGS))


def wired(app: Flask) -> Flask:
    Undaunted(app)
    model = order()
    app.add_url_rule("/orders/<name>", endpoint="orders", view_func=lambda name: str(model.objects.count()))
    return app


def test_a_database_that_is_down_is_503_with_retry_after(app: Flask) -> None:
    answer = app.test_client().get("/orders/<sesame>", headers=HTML)
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert answer.headers["Retry-After"] == "3", "whole seconds, and never too early"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Temporarily unavailable" in answer.text
    assert "127.0.0.1" not in answer.text
    assert "sesame" not in answer.text


def test_a_program_is_told_in_json(app: Flask) -> None:
    answer = app.test_client().get("/orders/1", headers=JSON)
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    assert answer.headers["Retry-After"] == "3"
    assert set(answer.get_json(force=True)) == {"status", "title", "detail"}


def test_the_log_has_what_failed_and_nothing_of_the_visitor(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        app.test_client().get("/orders/sesame?card=4711")
    (record,) = [record for record in caplog.records if record.name == app.logger.name]
    assert "orders" in record.getMessage()
    assert "DeadlineExceeded" in record.getMessage() or "NoNodeAvailable" in record.getMessage()
    assert "sesame" not in caplog.text
    assert "4711" not in caplog.text


def test_an_application_has_its_own_template(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    (tmp_path / "undaunted").mkdir()
    (tmp_path / "undaunted" / "503.html").write_text("Closed, come again: {{ failure.retry_after_s }}")
    app = make_app(SETTINGS)
    app.jinja_loader.searchpath.insert(0, str(tmp_path))  # type: ignore[union-attr]
    assert wired(app).test_client().get("/orders/1", headers=HTML).text == "Closed, come again: 3"


def test_a_template_that_fails_leaves_nobody_without_an_answer(
    make_app: Callable[..., Flask], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "undaunted").mkdir()
    (tmp_path / "undaunted" / "503.html").write_text("{{ nobody.knows }}")
    app = make_app(SETTINGS)
    app.jinja_loader.searchpath.insert(0, str(tmp_path))  # type: ignore[union-attr]
    answer = wired(app).test_client().get("/orders/1", headers=HTML)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    assert "Temporarily unavailable" in answer.text
    assert "the template undaunted/503.html has failed" in caplog.text


def test_the_page_asks_nothing_of_the_applications_own_context(app: Flask) -> None:
    """Which may be who the visitor is, from the very database that is gone."""

    @app.context_processor
    def user() -> Any:
        raise AssertionError("asked")

    assert app.test_client().get("/orders/1", headers=HTML).status_code == 503


def test_an_applications_own_page_for_503_goes_before(app: Flask) -> None:
    app.register_error_handler(503, lambda error: (f"Own: {error.description[:10]}", 503))
    answer = app.test_client().get("/orders/1", headers=HTML)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "3")
    assert answer.text == "Own: A database"[:15]


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_applications_own_handler_of_the_error_goes_before(make_app: Callable[..., Flask], when: str) -> None:
    app = make_app(SETTINGS)
    if when == "before":
        app.register_error_handler(undaunted.Exhausted, lambda error: ("own", 418))
    wired(app)
    if when == "after":
        app.register_error_handler(undaunted.Exhausted, lambda error: ("own", 418))
    assert app.test_client().get("/orders/1").status_code == 418


def test_other_errors_are_none_of_its_business(app: Flask) -> None:
    app.add_url_rule("/fails", endpoint="fails", view_func=lambda: 1 // 0)
    app.add_url_rule("/missing", endpoint="missing", view_func=lambda: render_template("no such template"))
    assert app.test_client().get("/fails").status_code == 500
    assert app.test_client().get("/missing").status_code == 500
    assert app.test_client().get("/nowhere").status_code == 404


def test_an_unknown_outcome_is_never_hidden(
    make_app: Callable[..., Flask], fake_cassandra: FakeCassandra, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a retry nor a 503, which invites one: the application hears of it, and answers for itself if it can."""
    monkeypatch.setenv("CQLENG_ALLOW_SCHEMA_MANAGEMENT", "1")
    from undaunted.cassandra import Model, columns, sync

    class Hits(Model):
        __undaunted__ = {"cluster": "catalog"}
        page = columns.Text(primary_key=True)
        count = columns.Counter()

    fake_cassandra.create_keyspace("shop")
    plain, telling = (make_app(fake_cassandra.settings_for("catalog", keyspace="shop")) for _ in range(2))
    for app in (plain, telling):
        Undaunted(app)
        app.add_url_rule("/", view_func=lambda: str(Hits.objects(page="home").update(count=1)))
    telling.register_error_handler(undaunted.OutcomeUnknown, lambda error: ("look before you count again", 500))
    sync([Hits])
    fake_cassandra.script("UPDATE").lose_reply()
    answer = plain.test_client().get("/")
    assert answer.status_code == 500
    assert "Retry-After" not in answer.headers
    fake_cassandra.script("UPDATE").lose_reply()
    assert telling.test_client().get("/").text == "look before you count again"
    assert fake_cassandra.execute("SELECT count FROM shop.hits") == [{"count": 2}], "each was sent once"
