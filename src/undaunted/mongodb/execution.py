"""One driver command, as something that can be run, and run again as the very same write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import errors as driver

from undaunted.engine.call import current_call
from undaunted.mongodb.operations import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.client_session import ClientSession

    from undaunted.core.policy import Policy
    from undaunted.engine.call import Call
    from undaunted.mongodb.client import MongoClient

__all__ = ["Execution", "Given", "at_least"]

_AT_LEAST_S = 0.001
_PROMPT_S = 0.05
"""A first attempt that has its connection within this needs no timeout of its own: the socket's is the deadline."""


def at_least(remaining_s: float) -> float:
    """A timeout for pymongo, which takes 0 for "none"; what has run out must still end at once."""
    return max(remaining_s, _AT_LEAST_S)


class Execution:
    """What the driver handed over for one command.

    Attributes:
        is_bounded: Whether the client's own timeouts bound a first attempt, so that it need not pay for another.
    """

    __slots__ = (
        "address", "bulk", "client", "error", "func", "is_bounded", "is_numbered", "is_read", "marks", "operation",
        "read_pref", "retryable", "runs", "session",
    )  # fmt: skip

    def __init__(  # noqa: PLR0917  # as many as the driver hands over
        self,
        client: MongoClient,
        func: Callable[..., Any],
        session: ClientSession | None,
        bulk: Any,
        operation: str,
        is_read: bool,  # noqa: FBT001
        address: Any,
        read_pref: Any,
        retryable: bool,  # noqa: FBT001
        marks: dict[str, Any],
    ) -> None:
        self.client = client
        self.func = func
        self.session = session
        self.bulk = bulk
        self.operation = operation
        self.is_read = is_read
        self.address = address
        self.read_pref = read_pref
        self.retryable = retryable
        self.marks = marks
        self.runs = 0
        self.is_bounded = False
        self.is_numbered: bool | None = None
        self.error: driver.PyMongoError | None = None

    def __call__(self, call: Call) -> Any:
        """Run the command once, within what is left of the call's deadline."""
        self.runs += 1
        if self.runs == 1 and self.is_bounded and call.guard.outage.is_over:
            return self._run(call)
        self.client.await_node(call, self.read_pref if self.is_read else None)
        with pymongo.timeout(at_least(call.remaining_s())):
            return self._run(call)

    def _run(self, call: Call) -> Any:
        if self.is_read:
            return self.client.drive(self._tracked_read(call), self, retryable=False)
        if self.bulk is not None or not self.retryable:
            return self.client.drive(self._tracked_write(call), self, retryable=self.retryable)
        return self._numbered(call)

    def _numbered(self, call: Call) -> Any:
        """Send a write under its transaction number.

        Until the command has been handed to a connection, the driver makes the number, and is stopped where it would go
        on by itself, so that waits, budget and deadline are decided in one place. From then on the driver is told not
        to retry, which keeps it from making another number, while the command still carries the first: the server
        applies it once.
        """
        if self.is_numbered is not None:
            return self.client.drive(self._tracked_write(call), self, retryable=False)
        try:
            return self.client.drive(self._tracked_write(call), self, retryable=True)
        except _HandBack:
            assert self.error is not None  # noqa: S101  # a hand-back follows an error
            raise self.error from None

    def _tracked_read(self, call: Call) -> Callable[..., Any]:
        func, client = self.func, self.client

        def tracked(session: Any, server: Any, conn: Any, read_pref: Any) -> Any:
            call.node = client.name_of(conn)
            call.sent = True
            if call.elapsed_s() < _PROMPT_S:
                return func(session, server, conn, read_pref)
            with pymongo.timeout(at_least(call.remaining_s())):
                return func(session, server, conn, read_pref)

        return tracked

    def _tracked_write(self, call: Call) -> Callable[..., Any]:
        func, client, bulk = self.func, self.client, self.bulk
        may_hand_back = bulk is None and self.retryable and self.is_numbered is None
        started = False

        def tracked(session: Any, conn: Any, retryable: Any) -> Any:
            nonlocal started
            if may_hand_back and started:
                raise _HandBack
            started = True
            if self.is_numbered is None:
                self._note_number(call, retryable)
            call.node = client.name_of(conn)
            call.sent = True
            number = self.is_numbered if bulk is None else retryable
            try:
                if call.elapsed_s() < _PROMPT_S:
                    return func(session, conn, number)
                with pymongo.timeout(at_least(call.remaining_s())):
                    return func(session, conn, number)
            except driver.PyMongoError as error:
                self.error = error
                raise

        return tracked

    def _note_number(self, call: Call, retryable: Any) -> None:
        """Remember whether the server takes transaction numbers (a standalone does not)."""
        self.is_numbered = bool(retryable)
        if self.retryable and not retryable and self.bulk is None:
            call.operation = describe(call.operation.name, False, False, bool(call.policy.idempotent), True)  # noqa: FBT003

    def once(self, policy: Policy) -> Any:
        """Run a command of a transaction: once, since only the transaction as a whole may run again."""
        with pymongo.timeout(_remaining_s(policy)):
            return self.client.drive(self.func, self, retryable=self.retryable)

    def continue_cursor(self, policy: Policy) -> Any:
        """Fetch the next batch: once, since a batch whose reply was lost is gone; the cursor resumes by itself."""
        call = current_call()
        host, port = self.address
        if call is not None:
            call.node, call.sent = f"{host}:{port}", True
        if not self.client.knows(self.address):
            raise driver.AutoReconnect(f"The node of this cursor, {host}:{port}, is gone, and the cursor with it.")
        with pymongo.timeout(_remaining_s(policy)):
            return self.client.drive(self.func, self, retryable=False)


def _remaining_s(policy: Policy) -> float:
    """Seconds left to the call around, or a whole deadline where there is none."""
    call = current_call()
    return at_least(call.remaining_s() if call is not None else policy.deadline_s)


class _HandBack(Exception):  # a signal between two frames, never seen by a caller
    """Takes the next execution out of the driver's hands."""


class Given:
    """Which options a client was given, as arguments or in a connection string."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._names = {name.lower() for name in kwargs}
        hosts = kwargs.get("host") or (args[0] if args else None) or ()
        for host in [hosts] if isinstance(hosts, str) else hosts:
            _, _, options = str(host).partition("?")
            self._names.update(part.partition("=")[0].lower() for part in options.replace(";", "&").split("&"))

    def has(self, option: str) -> bool:
        """Whether `option` was given, in any case."""
        return option.lower() in self._names
