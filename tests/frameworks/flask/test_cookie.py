"""The cookie that carries what a visitor has written: whatever comes instead of it does no harm."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any

import pytest
from flask import session

from undaunted.flask import Undaunted
from undaunted.web import dump

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

SECRET = "for tests"
FORGED = [
    "",
    "x",
    "." * 100,
    "eyJsZWRnZXIiOiIxLTEifQ.AAAAAAAAAAAAAAAAAAAAAA",
    "a" * 100_000,
    dump({"ledger": "1-1"}, secret=b"another key"),
    dump({"ledger": "no token"}, secret=SECRET.encode()),
    dump({"nowhere": "1-1"}, secret=SECRET.encode()),
    "%00%ff",
]


@pytest.fixture
def app(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Flask:
    return make(make_app, monkeypatch)


def make(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, **web: Any) -> Flask:
    monkeypatch.setenv("LEDGER", "postgresql://nobody@127.0.0.1:1/lab")
    ledger = {"backend": "sqlalchemy", "url": {"env": "LEDGER"}, "nodes": ["127.0.0.1:1"]}
    app = make_app({"clusters": {"ledger": ledger}, "web": web})
    Undaunted(app)
    app.add_url_rule("/", view_func=lambda: "home")
    return app


@pytest.mark.parametrize("value", FORGED, ids=range(len(FORGED)))
def test_a_malformed_or_forged_one_is_left_out(app: Flask, value: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="undaunted"):
        answer = app.test_client().get("/", headers={"Cookie": f"undaunted={value}"})
    assert (answer.status_code, answer.text) == (200, "home")
    assert "Set-Cookie" not in answer.headers
    assert len(value) < 10 or value not in caplog.text


def test_what_was_not_written_to_is_not_told(app: Flask) -> None:
    assert "Set-Cookie" not in app.test_client().get("/").headers


def test_what_came_is_not_sent_back(app: Flask) -> None:
    came = dump({"ledger": "1-1"}, secret=SECRET.encode())
    answer = app.test_client().get("/", headers={"Cookie": f"undaunted={came}"})
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("how", ["cookie", "session"])
def test_without_a_secret_key_a_request_is_all_that_it_reaches(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    app = make(make_app, monkeypatch, read_your_writes=how)
    app.secret_key = None
    assert app.test_client().get("/", headers={"Cookie": "undaunted=x"}).text == "home"


@pytest.mark.parametrize("kept", [None, 7, "x", {"ledger": 7}, {"ledger": "no token"}, {"nowhere": "1-1"}])
def test_whatever_stands_in_the_session(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch, kept: Any
) -> None:
    app = make(make_app, monkeypatch, read_your_writes="session")
    app.add_url_rule("/keep", endpoint="keep", view_func=lambda: str(session.update(_undaunted=kept)))
    client = app.test_client()
    assert client.get("/keep").status_code == 200
    assert client.get("/").text == "home"


def test_a_key_of_before_still_reads(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    from undaunted.flask import requests

    came = dump({"ledger": "1-1"}, secret=SECRET.encode())
    app.secret_key, app.config["SECRET_KEY_FALLBACKS"] = secrets.token_hex(), [SECRET]
    with app.test_request_context("/", headers={"Cookie": f"undaunted={came}"}):
        assert requests._tokens(app.extensions["undaunted"].web) == {"ledger": "1-1"}
