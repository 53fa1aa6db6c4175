"""One statement on its way: each attempt goes to one node, in the order of the plan, with a timeout of its own."""

from __future__ import annotations

import contextlib
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import cassandra
from cassandra import AlreadyExists, InvalidRequest
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import ConfigurationException

from undaunted.cassandra.faults import fault_of
from undaunted.cassandra.health import name_of
from undaunted.cassandra.operations import holds_list
from undaunted.cassandra.refusals import explained
from undaunted.cassandra.results import empty
from undaunted.cassandra.scope import PINNED
from undaunted.core.fault import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from undaunted.cassandra.hedge import Hedger
    from undaunted.cassandra.operations import Shape
    from undaunted.cassandra.session import Session
    from undaunted.core.operation import Operation
    from undaunted.engine.call import Call

__all__ = ["Request"]

_LOOK_S = 0.25
"""Who waits for a node looks this often whether the outage has outlasted the patience of the call."""
_FAIR_SHARE = 0.5
"""A node that was given less than this part of an attempt's timeout is not thought sick: the deadline was near."""
_DEFINITION_S = 12.0
"""A change of the schema waits up to 10 s for the nodes to agree."""
_MET_ITS_OWN = {
    "create": ("already exist",),
    "alter": ("already exist", "conflicts with", "was not found"),
    "drop": ("doesn't exist", "does not exist", "unconfigured table"),
}
"""What a server says to a change of the schema that has been made before; to another change it is a mistake."""


def _tell(future: Any, ended: SimpleQueue[Any]) -> None:
    """Put the future into the queue when it has come to its end, whatever that is."""
    future.add_callbacks(lambda *_: ended.put(future), lambda *_: ended.put(future))


def _ends(ended: SimpleQueue[Any], timeout_s: float) -> bool:
    """Wait until a future has ended, but not for longer than this; whether it has."""
    with contextlib.suppress(Empty):
        ended.get(timeout=timeout_s)
        return True
    return False


def _is_answered(future: Any) -> bool:
    try:
        future.result()
    except Exception:  # noqa: BLE001  # it is raised again, if it is the one that counts
        return False
    return True


def _left_unknown(failed: Any, operation: Operation) -> bool:
    """Whether the request of a future that has failed may have been executed."""
    try:
        failed.result()
    except Exception as error:  # noqa: BLE001  # the table says what it means
        return fault_of(error, operation, sent=bool(failed.attempted_hosts)) is Fault.UNKNOWN
    return False


class Request:
    """One statement. Used by one thread, for one logical call.

    Args:
        session: Where it is executed.
        query: The driver's statement.
        parameters: Its values.
        shape: What its text says of it.
        timeout_s: Seconds for each attempt; None for all that the deadline leaves.
        model: Whose statement it is; None for a batch, untouched models and raw text.
        statement: cqlengine's own object of it, with its clauses; likewise.
        options: What else the driver's ``execute_async`` takes.
    """

    __slots__ = (
        "_is_new", "_plan", "_steps", "model", "options", "parameters", "query", "session", "shape", "statement",
        "timeout_s", "timestamp",
    )  # fmt: skip

    def __init__(
        self,
        session: Session,
        query: Any,
        parameters: Any,
        *,
        shape: Shape,
        timeout_s: float | None,
        model: Any = None,
        statement: Any = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.session = session
        self.query = query
        self.parameters = parameters
        self.shape = shape
        self.timeout_s = timeout_s
        self.model = model
        self.statement = statement
        self.options: dict[str, Any] = options or {}
        self.timestamp: int | None = None
        self._plan: Iterator[Any] = iter(())
        self._is_new = False
        self._steps = 0

    def attempt(self, call: Call) -> Any:
        """Ask one node, and return the driver's result."""
        driver = self.session.link.driver(call)
        self._is_new = False
        while True:
            host = self._next()
            if host is None:
                self._wait(call)
                continue
            hedger = self.session.hedger
            began_s = call.guard.clock.monotonic()
            future = self._send(driver, call, host)
            if not future.attempted_hosts and "host" not in self.options:
                continue  # no connection to it: nothing was sent, and the next one is asked at once
            if hedger is None or not call.operation.is_repeatable or self.shape.is_definition:
                rows = self._answer(future, call, host)
                self.session.health.took_s[host] = call.guard.clock.monotonic() - began_s
                return rows
            first = host
            future, host = self._hedged(hedger, driver, call, future, host)
            rows = self._answer(future, call, host)
            now_s = call.guard.clock.monotonic()
            taken_s = now_s - began_s
            hedger.answered(host, taken_s, at_s=now_s)
            if host is first:  # else it was asked later
                self.session.health.took_s[host] = taken_s
            return rows

    def _next(self) -> Any:
        """The next node to ask; None when every node of a fresh plan has been passed over."""
        if "host" in self.options:
            return self.options["host"]
        sick = self.session.health.sick
        while True:
            for host in self._plan:
                if host not in sick:
                    return host
            if self._is_new:
                return None
            policy = self.session.link.policy
            self._plan = iter(policy.make_query_plan(None, self.query))
            self._is_new = True

    def _wait(self, call: Call) -> None:
        """Wait for a node that can be asked, while the call may.

        Raises:
            NoHostAvailable: It may not any more.
            ConfigurationError: The cluster has been closed meanwhile.
        """
        self.session.link.check_open()
        health, guard = self.session.health, call.guard
        health.none_left()
        remaining_s = call.remaining_s()
        if remaining_s <= 0 or guard.outage.age_s() > call.policy.patience_s:
            raise NoHostAvailable("no node can be asked", {})
        health.wait(min(remaining_s, _LOOK_S))
        self._is_new = False

    def _timeout(self, call: Call) -> float:
        remaining_s = call.remaining_s()
        if self.timeout_s is None:
            return remaining_s
        own_s = max(self.timeout_s, _DEFINITION_S) if self.shape.is_definition else self.timeout_s
        return min(own_s, remaining_s)

    def _send(self, driver: Any, call: Call, host: Any) -> Any:
        session = self.session
        options = self.options
        profile = options.get("execution_profile") or session.profile(self.shape.is_read, host)
        token = None if self.timestamp is None else PINNED.set(self._next_timestamp(self.timestamp))
        try:
            future = driver.execute_async(
                self.query,
                self.parameters,
                options.get("trace", False),
                options.get("custom_payload"),
                self._timeout(call),
                profile,
                options.get("paging_state"),
                host,
                options.get("execute_as"),
            )
        finally:
            if token is not None:
                PINNED.reset(token)
        if self.timestamp is None:
            self.timestamp = getattr(future.message, "timestamp", None)
        return future

    def _next_timestamp(self, first: int) -> int:
        """That of the first run, so that what others wrote meanwhile stays newer; a list needs one step more each time.

        To set a list is to delete what is older and to append: run twice at the very same time it appends twice.
        """
        if self._holds_lists():
            self._steps += 1
        return first + self._steps

    def _holds_lists(self) -> bool:
        if self.shape.operation.idempotent and isinstance(self.parameters, dict):
            return holds_list(self.parameters)
        return not self.shape.is_read  # text by hand, or bytes: there is no telling

    def _hedged(self, hedger: Hedger, driver: Any, call: Call, first: Any, host: Any) -> tuple[Any, Any]:
        """The request that is answered first, of this one and a second one that is sent when it takes long."""
        ended: SimpleQueue[Any] = SimpleQueue()
        _tell(first, ended)
        sent_s = call.guard.clock.monotonic()
        if _ends(ended, hedger.delay_s):
            return first, host
        other = self._other(hedger, call, host, ended, asked_s=sent_s)
        if other is None:
            return first, host
        second = self._send(driver, call, other)
        if not second.attempted_hosts:
            return first, host
        _tell(second, ended)
        won = ended.get()
        if not _is_answered(won):
            won = ended.get()  # the other one may still succeed; both have timeouts
            if not _is_answered(won):
                # Of two failures the worse one counts: a refusal of the second does not undo the first.
                return (first, host) if _left_unknown(first, call.operation) else (second, other)
        if won is first:
            return first, host
        if hedger.lost(host):
            self.session.health.unanswered(host)
        return second, other

    def _other(self, hedger: Hedger, call: Call, host: Any, ended: SimpleQueue[Any], *, asked_s: float) -> Any:
        """The node for a second request; None where none may be sent, or where the first has ended meanwhile."""
        other = next((each for each in self._plan if each not in self.session.health.sick), None)
        if other is not None and not hedger.takes():
            clock = call.guard.clock
            while (left_s := hedger.silent_from_s(host, asked_s=asked_s) - clock.monotonic()) > 0:
                if _ends(ended, left_s):
                    return None
        return other if other is not None and call.guard.budget.pay(1.0) else None

    def _answer(self, future: Any, call: Call, host: Any) -> Any:
        try:
            rows = future.result()
        except Exception as error:
            told = self.note(error, future, host, call)
            if self._has_met_its_own(error, call):
                return empty()
            if told is not error:
                raise told from error
            raise
        if call.attempts:
            call.node = name_of(host)
        return rows

    def note(self, error: Exception, future: Any, host: Any, call: Call) -> Exception:
        """Note what a failed attempt tells of its node and of itself; returns the error as the caller is to see it."""
        call.subject = self
        call.node = name_of(host)
        call.sent = bool(future.attempted_hosts)
        if isinstance(error, cassandra.OperationTimedOut):
            self._unanswered(future, host)
        return explained(error, self, host)

    def go_on_behind(self, host: Any, future: Any) -> None:
        """Go on where a first attempt has ended: behind its node, with its write timestamp."""
        plan = self.session.link.policy.make_query_plan(None, self.query)
        self._plan = (other for other in plan if other is not host)
        self.timestamp = getattr(future.message, "timestamp", None)

    def _unanswered(self, future: Any, host: Any) -> None:
        if self.shape.is_definition:
            return  # it may have waited for the schema, and not for this node
        if self.timeout_s is None or future.timeout >= self.timeout_s * _FAIR_SHARE:
            self.session.health.unanswered(host)

    def _has_met_its_own(self, error: Exception, call: Call) -> bool:
        """Whether a change of the schema that is run again meets what its first run, of unknown outcome, has done."""
        if not self.shape.is_definition or not any(tried.fault is Fault.UNKNOWN for tried in call.attempts):
            return False
        if isinstance(error, AlreadyExists):
            return True
        # The server has no code of its own for these; its words are all there is.
        is_refusal = isinstance(error, (InvalidRequest, ConfigurationException))
        return is_refusal and any(words in str(error) for words in _MET_ITS_OWN[self.shape.operation.name])
