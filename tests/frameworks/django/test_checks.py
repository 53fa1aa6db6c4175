"""Wrong settings are errors of Django's system check, all at once, each with an id and a hint; never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from tests.frameworks.django.conftest import MIDDLEWARE

from undaunted.django.decorators import profile
from undaunted.django.middleware import UndauntedMiddleware
from undaunted.errors import ConfigurationError
from undaunted.mongodb import Document
from undaunted.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


def found(**kwargs: Any) -> dict[str, list[Any]]:
    """The messages of ours, by id; those about models of other tests in this process left out."""
    messages: dict[str, list[Any]] = {}
    for message in run_checks(**kwargs):
        is_of_others = message.id == "undaunted.E004" and message.obj.__module__ != __name__
        if message.id is not None and message.id.startswith("undaunted.") and not is_of_others:
            messages.setdefault(message.id, []).append(message)
    return messages


def test_right_settings_have_no_message(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    site({**ledger, "clusters": {**ledger["clusters"], "orders": {"backend": "mongodb", "nodes": ["mongo1"]}}})
    assert found() == {}


def test_every_mistake_is_told_at_once(site: Callable[..., Client]) -> None:
    site(
        {
            "clusters": {
                "orders": {"backend": "mongodb", "nodez": ["mongo1"]},
                "catalog": {"backend": "casandra", "nodes": ["node1"]},
            },
            "web": {"public": ["everything"], "retry_after": "soon"},
        }
    )
    messages = found()
    assert set(messages) == {"undaunted.E001"}
    told = "\n".join(message.msg for message in messages["undaunted.E001"])
    for words in ("clusters.orders.nodez", "clusters.catalog.backend", "web.public", "web.retry_after"):
        assert words in told
    assert "UNDAUNTED in Django's settings" in told
    assert all("manage.py undaunted config" in message.hint for message in messages["undaunted.E001"])


@pytest.mark.parametrize("given", [["clusters"], "clusters", 3, {1, 2}])
def test_settings_that_are_no_mapping(site: Callable[..., Client], given: Any) -> None:
    site(given)
    [message] = found()["undaunted.E001"]
    assert "expected a dict" in message.msg
    assert type(given).__name__ in message.msg


@pytest.mark.parametrize("given", [None, {}, {"clusters": {}}])
def test_no_settings_at_all(site: Callable[..., Client], given: Any) -> None:
    site(given)
    [message] = found()["undaunted.E002"]
    assert "UNDAUNTED = {" in message.hint
    assert "undaunted.toml" in message.hint


def test_the_file_lies_beneath_and_the_environment_above(
    site: Callable[..., Client], ledger: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "undaunted.toml").write_text(
        '[clusters.orders]\nbackend = "mongodb"\nnodes = ["mongo1"]\n[web]\nretry_after = "3s"\ncookie = "file"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert site(None).get("/clusters").json() == ["orders"]
    monkeypatch.setenv("UNDAUNTED__WEB__COOKIE", "environment")
    client = site({**ledger, "web": {"retry_after": "4s", "cookie": "django"}})
    assert client.get("/clusters").json() == ["ledger", "orders"]
    web = REGISTRY.loaded.settings.web
    assert (web.retry_after, web.cookie) == (4.0, "environment")
    assert found() == {}


def test_a_secret_in_wrong_settings_is_not_repeated(
    site: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEDGER_URL", "postgresql+nodriver://app:hunter2@pg1/ledger")
    site({"clusters": {"ledger": {"backend": "sqlalchemy", "url": {"env": "LEDGER_URL"}}}})
    [message] = found()["undaunted.E001"]
    assert "clusters.ledger.url" in message.msg
    assert "hunter2" not in str(message)


def test_manage_py_check_ends_with_the_messages_and_no_traceback(site: Callable[..., Client]) -> None:
    site({"clusters": {"orders": {"backend": "mongodb"}}})
    with pytest.raises(SystemCheckError, match=r"undaunted\.E001.*clusters\.orders\.nodes"):
        call_command("check")


def test_a_server_does_not_start_with_wrong_settings(site: Callable[..., Client]) -> None:
    """Gunicorn runs no system check; it makes the middleware before it takes the first request."""
    site({"clusters": {"orders": {"backend": "mongodb"}, "ledger": {"backend": "sqlalchemy"}}})
    with pytest.raises(ImproperlyConfigured) as caught:
        UndauntedMiddleware(lambda _: None)
    assert "clusters.orders.nodes" in str(caught.value)
    assert "clusters.ledger.url" in str(caught.value)


def test_programs_that_run_no_checks_use_nothing_that_lies_beneath_wrong_settings(
    site: Callable[..., Client], ledger: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`manage.py shell` and a script with ``django.setup()`` would write to the database that the file alone names."""
    (tmp_path / "undaunted.toml").write_text(
        f"[clusters.ledger]\nbackend = 'sqlalchemy'\nurl = 'sqlite:///{tmp_path}/real.db'\n"
    )
    monkeypatch.chdir(tmp_path)
    client = site({"clusters": {"ledger": {**ledger["clusters"]["ledger"], "readz": "any"}}}, MIDDLEWARE=[])
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"clusters\.ledger\.readz") as caught:
            REGISTRY.handle("ledger")
        assert [problem.path for problem in caught.value.problems] == ["clusters.ledger.readz"]
    assert client.get("/status/live").status_code == 200
    assert client.get("/status/ready").status_code == 500
    site(ledger)
    assert REGISTRY.handle("ledger").guard.cluster == "ledger"


def test_settings_that_were_mended_are_taken(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    site({"clusters": {"orders": {"backend": "mongodb"}}})
    client = site(ledger)
    assert found() == {}
    assert client.get("/clusters").json() == ["ledger"]


def test_a_missing_middleware_is_a_warning(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    site(ledger, MIDDLEWARE=[])
    [message] = found()["undaunted.W001"]
    assert MIDDLEWARE in message.hint


@pytest.mark.parametrize("middleware", [[MIDDLEWARE], [MIDDLEWARE, SESSIONS]])
def test_the_session_before_there_is_one(
    site: Callable[..., Client], ledger: dict[str, Any], middleware: list[str]
) -> None:
    site({**ledger, "web": {"read_your_writes": "session"}}, MIDDLEWARE=middleware)
    [message] = found()["undaunted.E003"]
    assert SESSIONS in message.hint


def test_the_session_behind_its_middleware(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    site({**ledger, "web": {"read_your_writes": "session"}}, MIDDLEWARE=[SESSIONS, MIDDLEWARE])
    assert found() == {}


def test_models_of_clusters_and_profiles_that_nobody_declared(
    site: Callable[..., Client], ledger: dict[str, Any]
) -> None:
    class Lost(Document):
        __undaunted__ = {"cluster": "ordres", "profile": "wroker"}

    site({**ledger, "clusters": {**ledger["clusters"], "orders": {"backend": "mongodb", "nodes": ["mongo1"]}}})
    try:
        told = [message for message in found()["undaunted.E004"] if message.obj is Lost]
        assert ["'ordres'" in told[0].msg, "'wroker'" in told[1].msg] == [True, True]
        assert "orders" in told[0].hint
        assert "worker" in told[1].hint
    finally:
        Lost.__undaunted__ = {}  # classes live as long as something refers to them


class _Urls:
    """A module of URLs that is made by a test."""

    urlpatterns: list[Any]


def test_views_with_profiles_that_nobody_declared(site: Callable[..., Client], ledger: dict[str, Any]) -> None:
    from django.urls import include, path  # as a module of URLs has it

    @profile("overnight")
    def report(_: Any) -> None: ...

    urls = _Urls()
    urls.urlpatterns = [path("a/", include([path("b", report)]))]
    settings = {**ledger, "clusters": {**ledger["clusters"], "orders": {"backend": "mongodb", "nodes": ["mongo1"]}}}
    site(settings, ROOT_URLCONF=urls)
    [message] = found()["undaunted.E005"]
    assert "report" in message.msg
    assert "'overnight'" in message.msg
    assert "web" in message.hint
    site({**settings, "profiles": {"overnight": {"retry": {"deadline": "1h"}}}})
    assert found() == {}


def test_what_everybody_may_read_is_a_warning_before_deploying(
    site: Callable[..., Client], ledger: dict[str, Any]
) -> None:
    site({**ledger, "web": {"public": ["live", "ready", "metrics", "page"]}})
    assert "undaunted.W002" not in found()
    [message] = found(include_deployment_checks=True)["undaunted.W002"]
    assert "metrics, page" in message.msg


def test_without_brackets_the_decorator_says_so() -> None:
    with pytest.raises(TypeError, match='profile\\("worker"\\)'):

        @profile  # type: ignore[arg-type]
        def view(_: Any) -> None: ...
