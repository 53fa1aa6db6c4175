"""Which errors are answered with 503, and that neither their text nor an unknown outcome is in it."""

from __future__ import annotations

import pytest

import undaunted
from undaunted.errors import BudgetExhausted, DeadlineExceeded, Exhausted, NoNodeAvailable, OutcomeUnknown
from undaunted.mongodb import errors as mongodb
from undaunted.registry import REGISTRY
from undaunted.sqlalchemy import errors as sqlalchemy
from undaunted.web import failure_of

MESSAGE = "node db7.internal: user alice, password hunter2"


@pytest.mark.parametrize(
    "error",
    [
        NoNodeAvailable(MESSAGE),
        DeadlineExceeded(MESSAGE),
        BudgetExhausted(MESSAGE),
        Exhausted(MESSAGE),
        mongodb.NoNodeAvailable(MESSAGE),
        sqlalchemy.NoNodeAvailable(MESSAGE),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_what_may_work_again_soon(error: Exception) -> None:
    undaunted.configure({"clusters": {}, "web": {"retry_after": "2500ms"}})
    failure = failure_of(error)
    assert failure is not None
    assert (failure.status, failure.retry_after_s) == (503, 3)
    assert "3 seconds" in failure.detail
    shown = failure.title + failure.detail
    assert not any(word in shown for word in ("db7", "alice", "hunter2"))


def test_an_application_may_say_another_time() -> None:
    undaunted.configure({"clusters": {}, "web": {"retry_after": "500ms"}})
    web = REGISTRY.loaded.settings.web
    undaunted.configure({"clusters": {}, "web": {"retry_after": "9s"}})
    failure = failure_of(NoNodeAvailable(), web)
    assert failure is not None
    assert failure.retry_after_s == 1
    assert "1 second." in failure.detail


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown(),
        mongodb.OutcomeUnknown(),
        sqlalchemy.OutcomeUnknown(),
        undaunted.ConfigurationError("wrong"),
        ValueError("theirs"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_everything_else_passes_on_and_an_unknown_outcome_above_all(error: BaseException) -> None:
    undaunted.configure({"clusters": {}})
    assert failure_of(error) is None
