from __future__ import annotations

import threading

import pytest

from undaunted.lab import LabError
from undaunted.lab.ledger import Entry, Ledger, Outcome
from undaunted.testing.clock import VirtualClock


class RefusedError(Exception):
    code = 11602


def test_what_returns_is_ok_and_what_raises_is_raised_and_passed_on() -> None:
    clock = VirtualClock()
    ledger = Ledger(clock=clock.monotonic)
    began_s = clock.monotonic()
    with ledger.record("save", "a"):
        clock.advance(2.0)
    with pytest.raises(RefusedError), ledger.record("save", "b") as note:
        note.text = "halfway"
        raise RefusedError("the text holds a customer's name")
    first, second = ledger.entries()
    assert first == Entry(
        operation="save", key="a", started_s=began_s, ended_s=began_s + 2.0, outcome=Outcome.OK, error=None
    )
    assert second.outcome == "raised"
    assert second.error == "RefusedError(11602)"
    assert second.note == "halfway"
    assert "customer" not in repr(second)


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_the_operation_open(end: type[BaseException]) -> None:
    ledger = Ledger()
    with pytest.raises(end), ledger.record("save", "a"):
        raise end
    (entry,) = ledger.entries()
    assert entry.outcome is Outcome.OPEN
    assert entry.ended_s is None
    assert ledger.open_count == 1
    assert ledger.ended() == []


def test_an_operation_is_written_down_before_it_is_begun() -> None:
    lines: list[str] = []
    ledger = Ledger(sink=lines.append)
    with ledger.record("save", "a"):
        assert len(lines) == 1
        assert [entry.outcome for entry in ledger.entries()] == [Outcome.OPEN]
    assert len(lines) == 2


def test_another_ledger_fed_with_the_lines_holds_the_same() -> None:
    lines: list[str] = []
    told, heard = Ledger(sink=lines.append), Ledger()
    with told.record("scan", "1") as note:
        note.text = "exact"
    with pytest.raises(RefusedError), told.record("save", "ü\n"):
        raise RefusedError
    dying = told.record("save", "c")
    dying.__enter__()
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    for line in lines:
        heard.feed(line)
    assert heard.entries() == told.entries()
    assert [entry.outcome for entry in heard.entries()] == ["ok", "raised", "open"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"is":"begin","number":1,"at":1.0}',
        '{"is":"open","number":1,"at":1.0,"error":null,"note":null}',
        '{"is":"ok","number":7,"at":1.0,"error":null,"note":null}',
        '{"is":"begin","number":1,"at":1.0,"opera',
    ],
)
def test_what_is_no_line_of_a_ledger_is_refused(line: str) -> None:
    ledger = Ledger()
    with pytest.raises(LabError, match="no line of a ledger"):
        ledger.feed(line)
    assert ledger.entries() == []


def test_a_reader_gets_what_it_has_not_seen() -> None:
    ledger = Ledger()
    for key in "abc":
        with ledger.record("save", key):
            pass
    assert [entry.key for entry in ledger.ended(since=1)] == ["b", "c"]
    assert ledger.ended(since=3) == []


def test_threads_lose_no_line() -> None:
    lines: list[str] = []
    ledger = Ledger(sink=lines.append)

    def work(name: str) -> None:
        for place in range(300):
            with ledger.record("save", f"{name}-{place}"):
                pass

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heard = Ledger()
    for line in lines:
        heard.feed(line)
    assert len({entry.key for entry in heard.entries()}) == 1800
    assert {entry.outcome for entry in heard.entries()} == {Outcome.OK}


def test_a_sink_that_is_gone_is_not_passed_over() -> None:
    def broken(_line: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError), Ledger(sink=broken).record("save", "a"):
        pytest.fail("it must not begin what it cannot write down")
