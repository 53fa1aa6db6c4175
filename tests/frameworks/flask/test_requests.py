"""A request: one deadline for all its calls, its profile, and nothing of it left behind."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import pytest
from flask import Blueprint, Flask, request, stream_with_context
from flask.views import MethodView

import undaunted
from undaunted.engine.context import current_options
from undaunted.flask import Undaunted, profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOWN: dict[str, Any] = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop"}
SETTINGS: dict[str, Any] = {
    "clusters": {"orders": DOWN},
    "profiles": {"web": {"retry.deadline": "11s"}, "quick": {"retry.deadline": "1s"}},
    "web": {"profiles": {"^/reports/": "worker"}},
}


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(SETTINGS)
    Undaunted(app)
    return app


def length_s() -> str:
    """The length of the deadline in force, in whole seconds."""
    declared = current_options()
    return f"{declared.deadline.length_s:.0f}" if declared is not None and declared.deadline is not None else "none"


def test_the_profile_of_the_settings_holds_or_that_of_the_first_pattern(app: Flask) -> None:
    app.add_url_rule("/<path:where>", view_func=lambda where: length_s())
    assert app.test_client().get("/buy").text == "11"
    assert app.test_client().get("/reports/year").text == "60"


def test_a_decorator_goes_before_the_patterns_wherever_it_stands(app: Flask) -> None:
    def other(view: Any) -> Any:
        @functools.wraps(view)
        def within() -> Any:
            return view()

        return within

    @app.get("/reports/below")
    @other
    @profile("quick")
    def below() -> str:
        return length_s()

    @app.get("/reports/above")
    @profile("quick")
    @other
    def above() -> str:
        return length_s()

    @profile("quick")
    class Reports(MethodView):
        def get(self) -> str:
            return length_s()

    app.add_url_rule("/reports/class", view_func=Reports.as_view("class"))
    client = app.test_client()
    assert [client.get(f"/reports/{name}").text for name in ("below", "above", "class")] == ["1", "1", "1"]


def test_a_profile_that_is_not_there_is_told(app: Flask) -> None:
    app.testing = True

    @app.get("/")
    @profile("qiuck")
    def home() -> str:
        return length_s()

    with pytest.raises(undaunted.ConfigurationError, match=r"'qiuck'.*did you mean 'quick'"):
        app.test_client().get("/")
    assert length_s() == "none"


def test_a_profile_that_is_not_there_is_told_before_a_request_asks_for_its_view(
    app: Flask, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    later = Blueprint("later", __name__)
    later.add_url_rule("/later", endpoint="year", view_func=profile("wbe")(lambda: "year"))
    app.register_blueprint(later)
    told = app.test_cli_runner().invoke(args=["undaunted", "config", "check"])
    assert told.exit_code == 3
    assert "@profile of the view later.year: there is no profile 'wbe'; did you mean 'web'?" in told.output
    for _ in range(2):
        assert app.test_client().get("/undaunted/live").status_code == 200
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["@profile of the view later.year"]

    earlier = make_app(SETTINGS)
    earlier.register_blueprint(later)
    with pytest.raises(undaunted.ConfigurationError, match=r"view later\.year: there is no profile 'wbe'"):
        Undaunted(earlier)
    assert "undaunted" not in earlier.extensions


@pytest.mark.parametrize("name", ["", None, lambda: "home"])
def test_forgotten_brackets_are_told(name: Any) -> None:
    with pytest.raises(TypeError, match=r'as in @profile\("worker"\)'):
        profile(name)


@pytest.mark.parametrize("path", ["/", "/fails"])
def test_a_teardown_function_that_fails_leaves_no_deadline_to_the_next_request(app: Flask, path: str) -> None:
    app.add_url_rule("/", view_func=lambda: "home", endpoint="home")
    app.add_url_rule("/fails", endpoint="fails", view_func=lambda: str(1 // 0))

    @app.teardown_request
    def fail(error: BaseException | None) -> None:
        raise RuntimeError("the application's own")

    with pytest.raises(RuntimeError, match="own"):
        app.test_client().get(path)
    assert length_s() == "none"


def test_all_calls_of_a_request_share_one_deadline(app: Flask) -> None:
    from undaunted.mongodb import Document, fields

    class Order(Document):
        __undaunted__ = {"cluster": "orders"}
        meta = {"auto_create_index": False}
        total = fields.IntField()

    failed: list[str] = []

    @app.get("/")
    @profile("quick")
    def home() -> str:
        for _ in range(4):
            try:
                Order.objects.count()
            except undaunted.Exhausted as error:
                failed.append(type(error).__name__)
        return "answered"

    began_s = time.monotonic()
    assert app.test_client().get("/").text == "answered"
    took_s = time.monotonic() - began_s
    assert len(failed) == 4
    assert took_s < 3, "four calls of a second each had a second together"


def test_hooks_and_teardown_of_the_application_are_within_the_request(app: Flask) -> None:
    seen: list[str] = []
    app.before_request(lambda: seen.append(length_s()))

    @app.after_request
    def after(response: Any) -> Any:
        seen.append(length_s())
        return response

    app.teardown_request(lambda error: seen.append(length_s()))
    app.add_url_rule("/", view_func=lambda: "home")
    app.test_client().get("/")
    assert seen == ["11", "11", "11"]


@pytest.mark.parametrize("path", ["/", "/fails", "/nowhere", "/refused", "/undaunted/live"])
def test_nothing_is_left_behind(app: Flask, path: str) -> None:
    app.add_url_rule("/", endpoint="home", view_func=lambda: "home")
    app.add_url_rule("/fails", endpoint="fails", view_func=lambda: 1 // 0)
    app.before_request(lambda: ("refused", 403) if request.path == "/refused" else None)
    app.test_client().get(path)
    assert length_s() == "none"


def test_a_streamed_body_has_the_deadlines_of_its_calls_and_not_that_of_its_request(app: Flask) -> None:
    @app.get("/")
    def home() -> Any:
        def parts() -> Iterator[str]:
            for _ in range(3):
                yield f"{length_s()} "

        return stream_with_context(parts())

    client = app.test_client()
    assert client.get("/").text == "none none none "
    assert length_s() == "none"
    given_up = client.get("/", buffered=False)
    assert next(given_up.iter_encoded()) == b"none "
    given_up.close()  # the visitor has left
    assert length_s() == "none"


def test_a_coroutine_is_within_the_request(app: Flask) -> None:
    @app.get("/")
    async def home() -> str:
        return length_s()

    assert app.test_client().get("/").text == "11"
    assert length_s() == "none"


def test_requests_within_one_context_do_not_mix(app: Flask) -> None:
    @app.get("/outer")
    @profile("quick")
    def outer() -> str:
        inner = app.test_client().get("/inner").text
        return f"{inner} {length_s()}"

    @app.get("/inner")
    def inner() -> str:
        return length_s()

    with app.app_context():
        client = app.test_client()
        assert client.get("/inner").text == "11"
        assert client.get("/outer").text == "1 1", "an inner deadline never outlasts the one around it"
        assert client.get("/inner").text == "11"
    assert length_s() == "none"
