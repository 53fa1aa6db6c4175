"""A request has one deadline, chosen by path or view; an outage is answered 503, an unknown outcome is not hidden."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.test import AsyncClient

import undaunted

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

TEMPLATES = {
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "OPTIONS": {"loaders": [("django.template.loaders.locmem.Loader", {})]},
}


def with_template(text: str) -> dict[str, Any]:
    """Django's TEMPLATES with one template of the application's own in the place of ours."""
    loaders = [("django.template.loaders.locmem.Loader", {"undaunted/503.html": text})]
    return {"TEMPLATES": [{**TEMPLATES, "OPTIONS": {"loaders": loaders}}]}


# -- deadlines ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "at_most_s"),
    [
        ("/bounds", 5),
        ("/bounds-async", 5),
        ("/slow/bounds", 30),
        ("/report", 60),
        ("/report-async", 60),
        ("/report-class", 60),
        ("/rendered-later", 60),
    ],
)
@pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])
def test_one_deadline_a_request(
    site: Callable[..., Client], ledger: dict[str, Any], path: str, at_most_s: float, *, is_async: bool
) -> None:
    client = site(
        {
            **ledger,
            "profiles": {"slow": {"retry": {"deadline": "30s"}}},
            "web": {"profiles": {"^/slow/": "slow", "^/report": "slow"}},
        }
    )
    answer = asyncio.run(AsyncClient().get(path)) if is_async else client.get(path)
    left_s = answer.json()["left_s"]
    assert at_most_s - 4 < left_s < at_most_s


def test_outside_of_a_request_there_is_none(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    from tests.frameworks.django import site as views  # needs settings

    client = site(ledger)
    client.get("/bounds")
    assert views.bounds(None).content == b'{"left_s": null}'  # type: ignore[arg-type]


def test_a_view_without_the_middleware_is_as_it_was(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    client = site(ledger, MIDDLEWARE=[])
    assert client.get("/report").json() == {"left_s": None}


# -- an outage ------------------------------------------------------------------------------------


def test_an_outage_is_answered_503_within_the_deadline(site: Callable[..., Client], no_server: dict[str, Any]) -> None:
    client = site({**no_server, "web": {"retry_after": "3s"}})
    began_s = time.monotonic()
    answer = client.get("/notes")
    took_s = time.monotonic() - began_s
    assert answer.status_code == 503
    assert answer["Retry-After"] == "3"
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Type"].startswith("text/html")
    assert b"try again in 3 seconds" in answer.content
    assert took_s < 0.4 + 0.1 + 1.0  # the deadline, its grace, and a machine on which nothing has been imported yet


@pytest.mark.parametrize("how", ["budget", "deadline"])
def test_what_trying_again_may_mend(site: Callable[..., Client], ledger: dict[str, Any], how: str) -> None:
    answer = site(ledger).get(f"/broken?how={how}")
    assert answer.status_code == 503
    assert b"mongodb://" not in answer.content
    assert b"pw" not in answer.content


def test_an_error_while_a_template_is_rendered(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    assert site(ledger).get("/broken-in-template").status_code == 503


def test_an_outage_in_an_asynchronous_view(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    site(ledger)
    answer = asyncio.run(AsyncClient(raise_request_exception=False).get("/notes-async"))
    assert answer.status_code == 503
    assert answer["Retry-After"] == "2"


@pytest.mark.parametrize(("how", "error"), [("unknown", undaunted.OutcomeUnknown), ("other", RuntimeError)])
def test_what_is_never_hidden(
    site: Callable[..., Client], ledger: dict[str, Any], how: str, error: type[Exception]
) -> None:
    client = site(ledger)
    assert client.get(f"/broken?how={how}").status_code == 500
    client.raise_request_exception = True
    with pytest.raises(error):
        client.get(f"/broken?how={how}")


def test_in_json_for_programs(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    answer = site(ledger).get("/broken?how=budget", headers={"Accept": "application/json"})
    assert answer.status_code == 503
    assert answer.json()["retry_after_s"] == 2
    assert set(answer.json()) == {"title", "detail", "retry_after_s"}


def test_the_application_s_own_template(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    client = site(ledger, **with_template("Closed: {{ failure.detail }} ({{ failure.retry_after_s }})"))
    assert client.get("/broken?how=budget").content.startswith(b"Closed: A database")


def test_a_broken_template_of_the_application(
    site: Callable[..., Client], ledger: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = site(ledger, **with_template("{% include 'missing.html' %}"))
    with caplog.at_level(logging.ERROR, logger="undaunted.django"):
        answer = client.get("/broken?how=budget")
    assert answer.status_code == 503
    assert b"<h1>Temporarily unavailable</h1>" in answer.content
    assert "undaunted/503.html fails" in caplog.text


def test_no_engine_for_templates_at_all(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    answer = site(ledger, TEMPLATES=[]).get("/broken?how=budget")
    assert answer.status_code == 503
    assert b"<h1>Temporarily unavailable</h1>" in answer.content


def test_it_is_logged_without_a_secret(
    site: Callable[..., Client], ledger: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = site(ledger)
    with caplog.at_level(logging.WARNING, logger="undaunted.django"):
        client.get("/broken?how=budget")
    assert "503 to /broken: BudgetExhausted" in caplog.text
    assert "mongodb://u:pw" not in caplog.text


# -- what a visitor brings along ------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["", "x", "x.y", "eyJsZWRnZXIiOiIxLTMwMDAxNDgifQ.AAAAAAAAAAAAAAAAAAAAAA", "." * 5000, "%00", "ü.ü", "a.b.c"],
)
def test_a_malformed_or_forged_cookie_is_no_cookie(
    site: Callable[..., Client], ledger: dict[str, Any], value: str
) -> None:
    client = site(ledger)
    client.cookies["undaunted"] = value
    answer = client.get("/bounds")
    assert answer.status_code == 200
    assert "undaunted" not in answer.cookies


def test_a_malformed_token_in_a_session(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    middleware = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "undaunted.django.middleware.UndauntedMiddleware",
    ]
    client = site({**ledger, "web": {"read_your_writes": "session"}}, MIDDLEWARE=middleware)
    for kept in ("text", ["list"], {"ledger": 3}, {"ledger": "no token"}, {"": ""}):
        session = client.session
        session["undaunted"] = kept
        session.save()
        client.cookies["sessionid"] = session.session_key
        assert client.get("/bounds").status_code == 200


def test_a_site_begins_with_an_optional_cluster_down(
    site: Callable[..., Client], ledger: dict[str, Any], no_server: dict[str, Any]
) -> None:
    orders = {**no_server["clusters"]["orders"], "required": False}
    client = site({"clusters": {**ledger["clusters"], "orders": orders}, "profiles": no_server["profiles"]})
    assert client.get("/bounds").status_code == 200
    assert client.get("/status/ready").status_code == 200


def test_a_required_cluster_is_down_and_the_process_lives(
    site: Callable[..., Client], no_server: dict[str, Any]
) -> None:
    client = site(no_server)
    ends_s = time.monotonic() + 20
    while client.get("/status/ready").status_code != 503:
        assert time.monotonic() < ends_s, "a required cluster that is down was not told within 20 s"
    assert client.get("/status/live").status_code == 200
    assert client.get("/bounds").status_code == 200
