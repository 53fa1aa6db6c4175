"""The section ``[web]``: what it defaults to, what it takes, and what it says of mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from undaunted import ConfigurationError
from undaunted.config import load

if TYPE_CHECKING:
    from undaunted.config.web import WebSettings


def web(settings: dict[str, Any], **environ: str) -> WebSettings:
    return load(settings, environ=environ).settings.web


def test_what_holds_when_nothing_is_said() -> None:
    found = web({})
    assert found.public == ("live", "ready")
    assert found.profile_of("/anything") == "web"
    assert (found.read_your_writes, found.retry_after, found.cookie) == ("cookie", 2.0, "undaunted")


@pytest.mark.parametrize(
    "settings",
    [
        {"web": {"profiles": {r"^/reports\.d/": "worker", r"\.csv$": "web"}}},
        {"web.profiles": {r"^/reports\.d/": "worker", r"\.csv$": "web"}},
        {r"web.profiles.^/reports\.d/": "worker", r"web.profiles.\.csv$": "web"},
    ],
)
def test_a_pattern_may_have_dots_and_the_first_holds(settings: dict[str, Any]) -> None:
    found = web(settings)
    assert found.profile_of("/reports.d/all.csv") == "worker"
    assert found.profile_of("/reportsXd/all.csv") == "web"


def test_the_environment_says_so_too() -> None:
    found = web({}, UNDAUNTED__WEB__PUBLIC='["metrics"]', UNDAUNTED__WEB__RETRY_AFTER="500ms")
    assert (found.public, found.retry_after) == (("metrics",), 0.5)
    assert web({}, UNDAUNTED__WEB__PUBLIC="[]").public == ()


def test_a_framework_may_give_tuples_and_repeat_itself() -> None:
    assert web({"web": {"public": ("page", "live", "page")}}).public == ("page", "live")


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ({"public": ["life"]}, "web.public[0]", "did you mean 'live'?"),
        ({"public": "live"}, "web.public", "expected a list of"),
        ({"profile": "wep"}, "web.profile", "did you mean 'web'?"),
        ({"profiles": {"^/a": "nobody"}}, 'web.profiles."^/a"', "there is no profile 'nobody'"),
        ({"profiles": {"(": "web"}}, 'web.profiles."("', "is no regular expression"),
        ({"profiles": {"^/a": 5}}, 'web.profiles."^/a"', "expected a string"),
        ({"profiles": ["^/a"]}, "web.profiles", "expected a table of patterns"),
        ({"read_your_writes": "cookies"}, "web.read_your_writes", "did you mean 'cookie'?"),
        ({"retry_after": 0}, "web.retry_after", "longer than nothing"),
        ({"cookie": "a cookie"}, "web.cookie", "cannot name a cookie"),
        ({"cookie": "a=b;c"}, "web.cookie", "cannot name a cookie"),
        ({"read_your_write": "off"}, "web.read_your_write", "did you mean 'read_your_writes'?"),
    ],
)
def test_mistakes(given: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        web({"web": given})
    [problem] = caught.value.problems
    assert problem.path == path
    assert message in problem.message


def test_a_profile_of_one_s_own_will_do() -> None:
    found = load({"web.profile": "mine", "profiles.mine.retry.deadline": "3s"})
    assert found.settings.web.profile == "mine"
    assert found.settings.deadline_of("mine") == 3.0


def test_what_a_profile_gives_to_a_whole_request() -> None:
    settings = load({"profiles.lazy.reads": "replica", "retry.deadline": "9s"}).settings
    assert settings.deadline_of("web") == 5.0
    assert settings.deadline_of("lazy") == 9.0
    assert load({"profiles.lazy.reads": "replica"}).settings.deadline_of("lazy") == 15.0
    with pytest.raises(ConfigurationError, match="did you mean 'lazy'"):
        settings.deadline_of("lasy")
