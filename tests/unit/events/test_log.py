from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest

from undaunted import events
from undaunted.core.fault import Fault
from undaunted.events.log import log_event

VALUES: dict[str, Any] = {
    "cluster": "orders", "backend": "mongodb", "operation": "find", "attempt": 1, "node": "n1:1",
    "fault": Fault.UNKNOWN,
    "error": "AutoReconnect", "delay_s": 0.25, "is_hop": True, "attempts": 2, "elapsed_s": 1.5, "reason": "budget",
    "open_s": 5.0, "role": "primary", "from_node": "n1:1", "to_node": "n2:1", "delivered": 7,
    "nodes": ("n1:1", "n2:1"), "chosen": "n2:1", "lost_bytes": 64,
}  # fmt: skip
LEVELS = {
    "RetryScheduled": "WARNING", "CallRecovered": "INFO", "CallFailed": "ERROR", "OutcomeLeftUnknown": "ERROR",
    "BudgetEmptied": "WARNING", "BreakerOpened": "WARNING", "BreakerHalfOpened": "INFO", "BreakerClosed": "INFO",
    "PrimaryLost": "WARNING", "PrimaryFound": "INFO", "NodeLost": "WARNING", "NodeFound": "INFO",
    "FailoverCompleted": "WARNING", "OutageBegan": "ERROR", "OutageEnded": "INFO", "CursorResumed": "WARNING",
    "TwoPrimaries": "ERROR", "AcknowledgedLost": "ERROR", "DurabilityWeakened": "ERROR",
}  # fmt: skip
KINDS = [getattr(events, name) for name in events.__all__ if name not in ("Bus", "Event")]


def made(kind: type[events.Event]) -> events.Event:
    names = [each.name for each in dataclasses.fields(kind) if each.name != "at"]
    return kind(**{name: VALUES[name] for name in names})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_event_has_a_line_at_its_level(kind: type[events.Event], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="undaunted"):
        log_event(made(kind))
    (record,) = caplog.records
    assert record.levelname == LEVELS[kind.__name__]
    assert record.getMessage().startswith("orders: ")
    assert kind.__name__ not in record.getMessage()
    extra = vars(record)
    assert extra["undaunted.event"] == kind.__name__
    assert {name for name in extra if name.startswith("undaunted.")} == {
        "undaunted.event",
        *(f"undaunted.{each.name}" for each in dataclasses.fields(kind)),
    }


def test_the_log_of_a_failover_reads_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="undaunted"):
        log_event(made(events.RetryScheduled))
        log_event(made(events.CallRecovered))
    assert [record.getMessage() for record in caplog.records] == [
        "orders: find failed on n1:1 (unknown, AutoReconnect), run again in 0.250 s",
        "orders: find succeeded on attempt 2, 1.500 s after its first failure",
    ]


def test_an_event_of_somebody_elses_is_logged_by_its_name(caplog: pytest.LogCaptureFixture) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Custom(events.Event):
        pass

    with caplog.at_level(logging.INFO, logger="undaunted"):
        log_event(Custom(cluster="c", backend="b"))
    assert caplog.messages == ["c: Custom"]


def test_a_level_that_is_off_costs_no_record(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="undaunted"):
        log_event(made(events.CallRecovered))
    assert caplog.records == []
