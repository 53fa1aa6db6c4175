"""What holds for a request: one deadline, the profile's other say, and a clean slate behind it. No server is asked."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
import time
from typing import Any

import pytest

import undaunted
from undaunted.engine.context import current_options
from undaunted.registry import REGISTRY
from undaunted.web import RequestScope


def configure(**web: Any) -> None:
    undaunted.configure(
        {
            "clusters": {"ledger": {"backend": "sqlalchemy", "nodes": ["127.0.0.1:1"], "url": {"env": "LEDGER"}}},
            "profiles": {"report": {"retry.deadline": "90s", "reads": "replica"}, "quick": {"retry.deadline": "200ms"}},
            "web": web,
        }
    )


@pytest.fixture(autouse=True)
def url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER", "postgresql://nobody@127.0.0.1:1/lab")


def scope(path: str = "/", **given: Any) -> RequestScope:
    return RequestScope(REGISTRY.loaded.settings.web, path=path, **given)


def remaining_s() -> float:
    options = current_options()
    assert options is not None
    assert options.deadline is not None
    return options.deadline.remaining_s(time.monotonic())


def test_a_request_has_the_deadline_of_its_profile() -> None:
    configure(profiles={r"^/reports/": "report", r"\.csv$": "worker"})
    with scope("/cart"):
        assert 4.0 < remaining_s() <= 5.0
    with scope("/reports/all.csv") as request:  # the first that is found
        assert 89.0 < remaining_s() <= 90.0
        assert request.profile == "report"
    with scope("/all.csv"):
        assert 59.0 < remaining_s() <= 60.0
    assert current_options() is None


def test_the_clock_runs_for_the_whole_request() -> None:
    configure()
    with scope(profile="quick"):
        begun_s = remaining_s()
        with undaunted.options(deadline="1m"):
            assert remaining_s() <= begun_s


def test_a_profile_that_says_no_more_than_its_deadline_leaves_the_models_theirs() -> None:
    configure()
    with scope():
        options = current_options()
        assert options is not None
        assert options.profile is None
    with scope(profile="report"):
        options = current_options()
        assert options is not None
        assert options.profile == "report"


def test_a_view_may_choose_another_profile_and_the_clock_goes_on() -> None:
    configure()
    with scope(profile="quick") as request:
        time.sleep(0.05)  # what the request has used up so far
        request.change("worker")
        assert 59.0 < remaining_s() <= 60.0 - 0.05
        assert request.profile == "worker"
    assert current_options() is None


def test_a_deadline_that_has_passed_when_the_profile_changes_stays_passed() -> None:
    configure()
    with scope() as request:
        time.sleep(0.21)  # longer than the other one gives
        request.change("quick")
        assert remaining_s() <= 0.001


@pytest.mark.parametrize("how", ["made", "changed"])
def test_an_unknown_profile_is_named_with_those_that_are_known(how: str) -> None:
    configure()
    with (
        pytest.raises(undaunted.ConfigurationError, match=r"'wep'.*did you mean 'web'.*Configured: .*quick"),
        scope(profile="wep" if how == "made" else None) as request,
    ):
        request.change("wep")
    assert current_options() is None


def test_without_a_cluster_that_has_tokens_nothing_is_carried_and_no_driver_imported() -> None:
    undaunted.configure({"clusters": {}})
    before = set(sys.modules)
    with scope(tokens={"ledger": "1-10"}) as request:
        assert request.tokens() == {}
    assert not {name for name in set(sys.modules) - before if name.startswith(("sqlalchemy", "undaunted.sqlalchemy"))}


# -- read-your-writes, without a server: tokens are taken apart and put together ----------------------


def commit() -> None:
    from undaunted.sqlalchemy.tokens import note_commit

    note_commit("ledger")


def needs() -> Any:
    """What a readonly session of this request would ask of a replica."""
    from undaunted.sqlalchemy.tokens import LAST

    return LAST.get().get("ledger")


def test_what_a_visitor_brings_along_holds_and_is_handed_on() -> None:
    configure()
    with scope(tokens={"ledger": "1-3000148"}) as request:
        assert str(needs().token) == "1-3000148"
    assert request.tokens() == {"ledger": "1-3000148"}
    assert needs() is None


@pytest.mark.parametrize("mode", ["cookie", "session", "request", "off"])
def test_how_far_it_reaches(mode: str) -> None:
    configure(read_your_writes=mode)

    def serve() -> None:
        with scope(tokens={"ledger": "1-10"}) as request:
            assert (needs() is not None) is (mode in {"cookie", "session"})
            commit()
            assert needs() is not None
        assert (request.tokens() != {}) is (mode != "off")

    contextvars.Context().run(serve)  # where it is off, what is committed stays with who has committed it


@pytest.mark.parametrize(
    "tokens",
    [
        {"ledger": "no token"},
        {"ledger": "1-" + "F" * 17},
        {"ledger": ""},
        {"ledger": "1-10\n"},
        {"nobody": "1-10"},
        {"": "1-10"},
        {"ledger' OR 1=1": "1-10"},
    ],
)
def test_a_malformed_token_is_left_out_and_its_value_is_not_logged(
    tokens: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    configure()
    with caplog.at_level(logging.DEBUG, logger="undaunted"), scope(tokens=tokens) as request:
        assert needs() is None
    assert request.tokens() == {}
    assert "not understood" in caplog.text
    for said in {*tokens.values(), *tokens} - {"", "ledger"}:
        assert said not in caplog.text


def test_a_request_begins_afresh_whatever_its_thread_did_before() -> None:
    configure()

    def work() -> None:
        commit()
        with scope() as request:
            assert needs() is None
        assert request.tokens() == {}

    contextvars.Context().run(work)


def test_work_in_threads_and_tasks_of_the_request_counts() -> None:
    configure()

    async def answer() -> dict[str, str]:
        with scope() as request:
            await asyncio.gather(asyncio.to_thread(commit), asyncio.to_thread(time.monotonic))
            return await request.tokens_async()

    assert asyncio.run(answer()) == {"ledger": "?"}  # nobody knows a position: that primary does not answer


def test_an_unknown_position_is_handed_on_as_such_and_keeps_readers_from_replicas() -> None:
    configure()
    with scope() as request:
        commit()
    brought = request.tokens()
    assert brought == {"ledger": "?"}
    with scope(tokens=brought) as following:
        assert needs() is not None
        assert needs().token is None
    began_s = time.monotonic()
    assert following.tokens() == brought
    assert time.monotonic() - began_s < 0.04, "nothing is waited for while there is no primary that could tell"


def test_tokens_raise_nothing_when_the_clusters_are_gone() -> None:
    configure()
    with scope(tokens={"ledger": "1-10"}) as request:
        commit()
        undaunted.configure({"clusters": {}})
    assert request.tokens() == {}


def test_it_may_be_left_in_another_context_than_it_was_entered_in() -> None:
    configure()
    request = scope(tokens={"ledger": "1-10"})
    contextvars.copy_context().run(request.__enter__)
    request.__exit__(None, None, None)
    assert current_options() is None
    assert needs() is None


def test_what_is_released_has_no_deadline_and_still_sees_the_visitors_writes() -> None:
    configure()

    def serve() -> None:
        request = scope(tokens={"ledger": "1-10"})
        request.__enter__()
        request.release()
        assert current_options() is None
        assert str(needs().token) == "1-10"
        with scope():
            assert needs() is None

    contextvars.copy_context().run(serve)


def test_a_streamed_body_has_no_deadline_and_sees_what_its_request_has_written() -> None:
    configure()

    def serve() -> None:
        with undaunted.options(deadline="1m"):
            request = scope(tokens={"ledger": "1-10"})
            request.__enter__()
            request.release()
            assert 59.0 < remaining_s() <= 60.0
            assert str(needs().token) == "1-10"
            request.__exit__(None, None, None)  # also when a framework does both
            assert 59.0 < remaining_s() <= 60.0, "what is around the request is left alone"
            assert str(needs().token) == "1-10"

    contextvars.Context().run(serve)


def test_requests_of_many_threads_are_not_in_each_others_way() -> None:
    configure()
    wrong: list[object] = []

    def serve(number: int) -> None:
        for _ in range(20):
            with scope(tokens={"ledger": f"1-{number}"}) as request:
                time.sleep(0)
                if str(needs().token) != f"1-{number}" or request.tokens() != {"ledger": f"1-{number}"}:
                    wrong.append(number)

    threads = [threading.Thread(target=serve, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
