"""The private names of pymongo on which the MongoDB backend stands, held against the installed release.

`make matrix` runs this on the oldest and the newest release supported.
"""

from __future__ import annotations

import inspect

import pymongo
import pytest
from pymongo.mongo_client import MongoClient as DriverClient

import undaunted
from undaunted.mongodb import MongoClient, seams


def test_the_installed_release_has_all_of_them() -> None:
    seams.check_driver()


def test_every_command_passes_the_one_place_under_these_names() -> None:
    parameters = list(inspect.signature(DriverClient._retry_internal).parameters)
    assert parameters[1:9] == ["func", "session", "bulk", "operation", "is_read", "address", "read_pref", "retryable"]
    ours = list(inspect.signature(MongoClient._retry_internal).parameters)
    marks = ["operation_id", "is_run_command", "is_aggregate_write"]
    assert ours[9:12] == marks
    assert sorted(parameters[9:]) == sorted(marks)
    assert ours[1:9] == parameters[1:9]


def test_a_release_without_one_is_refused_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(self: object, func: object, session: object) -> None: ...

    monkeypatch.setattr(DriverClient, "_retry_internal", changed)
    seams._missing.cache_clear()
    try:
        with pytest.raises(undaunted.ConfigurationError, match=r"_retry_internal\(operation=\.\.\.\)"):
            MongoClient(connect=False)
    finally:
        seams._missing.cache_clear()


def test_a_cursor_shows_its_query_and_takes_another() -> None:
    with MongoClient(connect=False) as client:
        cursor = client["d"]["c"].find({"a": 1}).sort([("b", -1)]).skip(2).limit(3)
        view = seams.CursorView(cursor)
        assert (view.filter, view.ordering, view.skip, view.limit) == ({"a": 1}, (("b", -1),), 2, 3)
        assert not view.tailable
        assert not view.exhaust
        seams.set_query(cursor, spec={"a": 2}, skip=0, limit=1)
        assert seams.CursorView(cursor).filter == {"a": 2}
        assert not seams.has_buffered(cursor)
        assert seams.CursorView(client["d"]["c"].find(cursor_type=pymongo.CursorType.TAILABLE)).tailable


def test_the_callers_own_timeout_is_seen() -> None:
    assert seams.outer_remaining_s() is None
    with pymongo.timeout(5):
        remaining = seams.outer_remaining_s()
        assert remaining is not None
        assert 0 < remaining <= 5
        assert seams.TIMEOUT.get() == 5
    assert seams.TIMEOUT.get() is None


def test_a_bound_session_is_seen() -> None:
    with MongoClient(connect=False) as client:
        assert seams.bound_session(client) is seams.BOUND_SESSION.get() is None
        with client.start_session() as session, session.bind(end_session=False):
            assert seams.bound_session(client) is seams.BOUND_SESSION.get() is session
            assert not session._implicit
        implicit = client._ensure_session()
        assert implicit is not None
        assert implicit._implicit
