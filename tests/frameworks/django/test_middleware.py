"""A request has one deadline, chosen by path or view; an outage is answered 503, an unknown outcome is not hidden."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.test import AsyncClient
from tests.frameworks.django.project import make_project

import undaunted
from undaunted.engine.context import current_options

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


@pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])
def test_a_streamed_body_sees_what_its_own_request_has_written(
    site: Callable[..., Client], ledger: dict[str, Any], *, is_async: bool
) -> None:
    """And has the deadlines of its calls, not that of its request."""
    client = site(ledger)

    async def asked() -> str:
        answer: Any = await AsyncClient().get("/streamed-async")
        return "".join([part.decode() async for part in answer])

    def body() -> str:
        return asyncio.run(asked()) if is_async else client.get("/streamed").getvalue().decode()

    assert contextvars.Context().run(body) == "['ledger'] {\"left_s\": null}"


@pytest.mark.parametrize(("within", "at_most_s"), [("", 60), ("?within=2s", 2)])
@pytest.mark.parametrize("is_async", [False, True], ids=["wsgi", "asgi"])
def test_what_a_middleware_between_has_declared_stays(
    site: Callable[..., Client], ledger: dict[str, Any], within: str, at_most_s: float, *, is_async: bool
) -> None:
    """The view's own profile is taken beneath it, and not in its place."""
    from tests.frameworks.django.conftest import MIDDLEWARE

    client = site(
        {**ledger, "profiles": {"worker": {"reads": "any"}}},
        MIDDLEWARE=[MIDDLEWARE, "tests.frameworks.django.site.from_replicas"],
    )
    url = f"/declared{within}"
    answer = asyncio.run(AsyncClient().get(url)) if is_async else client.get(url)
    told = answer.json()
    assert at_most_s - 2 < told.pop("left_s") < at_most_s
    assert told == {"reads": "replica", "profile": "worker"}
    assert answer["X-Idempotent"] == "True"
    assert current_options() is None


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


def test_a_visitor_cannot_write_a_line_of_the_log(
    site: Callable[..., Client], ledger: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = site(ledger)
    with caplog.at_level(logging.WARNING, logger="undaunted.django"):
        client.get("/named/x%0aERROR forged%1b[31m?how=budget")
    [told] = [record.getMessage() for record in caplog.records if record.name == "undaunted.django"]
    assert told == "answered 503 to /named/x\\nERROR forged\\x1b[31m: BudgetExhausted"


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


SESSION_TESTS = """
from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.db import SessionStore
from django.test import TestCase

class Kept(TestCase):
    async def test_a_session_in_a_database(self):
        session = SessionStore()
        await sync_to_async(session.save)()
        self.async_client.cookies["sessionid"] = session.session_key
        answer = await self.async_client.get("/text")
        assert (answer.status_code, answer.content) == (200, b"text")
"""
SESSION_VIEWS = """
from django.http import HttpResponse
from django.urls import path

async def text(request):
    return HttpResponse("text")

urlpatterns = [path("text", text)]
"""


def test_a_session_in_a_database_under_asgi(tmp_path: Path, ledger: dict[str, Any]) -> None:
    """Django refuses to ask a database from within an event loop."""
    database = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "sessions.db")}}
    settings = {**ledger, "web": {"read_your_writes": "session"}}
    project = make_project(
        tmp_path, undaunted=settings, models="", tests=SESSION_TESTS, views=SESSION_VIEWS, databases=database
    )
    with (tmp_path / "settings.py").open("a") as file:
        file.write('INSTALLED_APPS += ["django.contrib.sessions"]\n')
        file.write('SESSION_ENGINE = "django.contrib.sessions.backends.db"\n')
    ran = project.manage("test", "--noinput")
    assert ran.returncode == 0, ran.stderr
    assert "Ran 1 test" in ran.stderr


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
