"""The first attempt of a command is bare where nothing is declared, and judged like any other when it fails."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from pymongo import errors as driver
from pymongo.mongo_client import MongoClient as DriverClient

import undaunted
from undaunted.engine.call import current_call
from undaunted.mongodb import MongoClient, OutcomeUnknown, seams
from undaunted.mongodb.errors import CredentialsRefused
from undaunted.mongodb.topology import TopologyWatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.engine.call import Call


class Conn:
    address = ("127.0.0.1", 27017)
    is_repl = is_mongos = False


class Sent:
    """What reached the node, and what was in force there; fails at first as often as told."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[Call | None] = []
        self.timeouts: list[float | None] = []
        self.failed_nodes: list[str | None] = []

    def __call__(self, *args: Any) -> str:
        call = current_call()
        self.calls.append(call)
        self.failed_nodes = [attempt.node for attempt in call.attempts] if call is not None else []
        self.timeouts.append(seams.TIMEOUT.get())
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[MongoClient]:
    """A client whose driver hands each command to a node at once, and sends a write that it may retry a second time."""

    def loop(
        self: Any, func: Any, session: Any, bulk: Any, operation: Any, is_read: bool = False, address: Any = None,
        read_pref: Any = None, retryable: bool = False, **marks: Any,
    ) -> Any:  # fmt: skip
        if is_read:
            return func(session, None, Conn(), read_pref)
        try:
            return func(session, Conn(), retryable)
        except driver.AutoReconnect:
            if not retryable:
                raise
        return func(session, Conn(), retryable)

    monkeypatch.setattr(DriverClient, "_retry_internal", loop)
    monkeypatch.setattr(MongoClient, "await_node", lambda *_: None)
    monkeypatch.setattr(seams, "check_driver", lambda: None)
    # Nobody listens on the default port; the driver's monitors find that out sooner or later, and not here.
    monkeypatch.setattr(TopologyWatch, "description_changed", lambda *_: None)
    monkeypatch.setattr(TopologyWatch, "opened", lambda *_: None)
    with MongoClient(connect=False) as made:
        made.guard.outage.primary_found()
        yield made


def write(client: MongoClient, sent: Sent, *, retryable: bool = True) -> Any:
    return client._retry_internal(sent, None, None, "insert", retryable=retryable)


def read(client: MongoClient, sent: Sent) -> Any:
    return client._retry_internal(sent, None, None, "find", True, None, pymongo.ReadPreference.PRIMARY)


@pytest.mark.parametrize("command", [read, write])
def test_it_is_bare(client: MongoClient, command: Any) -> None:
    sent = Sent()
    assert command(client, sent) == "done"
    assert (sent.calls, sent.timeouts) == ([None], [None])


@pytest.mark.parametrize("command", [read, write])
def test_after_a_failure_the_engine_has_it(client: MongoClient, command: Any) -> None:
    sent = Sent(driver.AutoReconnect("reset"))
    assert command(client, sent) == "done"
    first, second = sent.calls
    assert first is None
    assert second is not None
    assert sent.failed_nodes == ["127.0.0.1:27017"]
    assert second.attempt_s > second.started_s, "the clock of the call has run since the first attempt"
    assert sent.timeouts[1] is not None
    assert not second.is_running


def test_the_driver_never_sends_a_write_again_by_itself(client: MongoClient) -> None:
    sent = Sent(driver.AutoReconnect("reset"), driver.AutoReconnect("reset"))
    assert write(client, sent) == "done"
    assert len(sent.calls) == 3
    assert sent.calls[1] is not None, "the second sending is the engine's"


def test_what_cannot_be_repeated_is_unknown(client: MongoClient) -> None:
    sent = Sent(driver.AutoReconnect("reset"))
    with pytest.raises(OutcomeUnknown) as caught:
        write(client, sent, retryable=False)
    assert len(sent.calls) == 1
    assert len(caught.value.attempts) == 1


@pytest.mark.parametrize("command", [read, write])
def test_a_refused_login_says_so(client: MongoClient, command: Any) -> None:
    sent = Sent(driver.OperationFailure("Authentication failed.", 18))
    with pytest.raises(CredentialsRefused, match="credentials") as caught:
        command(client, sent)
    assert isinstance(caught.value.__cause__, driver.OperationFailure)
    assert len(sent.calls) == 1


def test_an_interruption_passes_at_once(client: MongoClient) -> None:
    sent = Sent()
    sent.errors = [KeyboardInterrupt()]  # type: ignore[list-item]  # no Exception, on purpose
    with pytest.raises(KeyboardInterrupt):
        write(client, sent)
    assert len(sent.calls) == 1


@pytest.mark.parametrize("command", [read, write])
def test_under_options_a_timeout_or_an_outage_it_is_guarded(client: MongoClient, command: Any) -> None:
    sent = Sent()
    with undaunted.options(attempts=1):
        command(client, sent)
    with pymongo.timeout(5):
        command(client, sent)
    client.guard.outage.primary_lost()
    command(client, sent)
    assert None not in sent.calls
    assert next(call.policy.attempts for call in sent.calls if call is not None) == 1


def test_its_failure_waits_for_no_import() -> None:
    """Fourteen threads that lose their primary at once would all wait for it, 0.02 to 0.1 s on a busy machine."""
    program = (
        "import sys; from undaunted.mongodb import MongoClient; before = set(sys.modules); MongoClient(connect=False); "
        "print(sorted({'tenacity', 'undaunted.engine.recovery'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["['tenacity',", "'undaunted.engine.recovery']"]
