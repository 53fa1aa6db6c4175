"""One driver command, as something that can be run, and run again as the very same write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import errors as driver
from pymongo.read_preferences import PrimaryPreferred, SecondaryPreferred

from undaunted.engine.call import current_call
from undaunted.mongodb.operations import describe
from undaunted.mongodb.sending import HandBack, Sending, at_least

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo.client_session import ClientSession

    from undaunted.core.policy import Policy
    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard
    from undaunted.mongodb.client import MongoClient

__all__ = ["FALLBACK", "Execution", "Given"]

FALLBACK = PrimaryPreferred()
"""Where a read goes under ``reads = "fallback"``, at first."""

_ELSEWHERE = SecondaryPreferred()
"""Where it goes once its first try has failed: the monitor may hold the primary for alive for a while yet."""


class Execution(Sending):
    """What the driver handed over for one command.

    Bounded by the deadline of the call which runs it.

    Attributes:
        is_bounded: Whether the client's own timeouts bound a first attempt, so that it need not pay for another.
    """

    def __init__(  # noqa: PLR0917  # as many as the driver hands over
        self,
        client: MongoClient,
        guard: Guard,
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
        super().__init__(guard, func, bulk, retryable and not is_read and bulk is None)
        self.client = client
        self.session = session
        self.operation = operation
        self.is_read = is_read
        self.address = address
        self.read_pref = read_pref
        self.retryable = retryable
        self.marks = marks
        self.runs = 0
        self.is_bounded = False

    def follow(self, first: Sending) -> None:
        """Go on from a first attempt that was made without more ado, and has failed."""
        self.runs = 1
        self.began_s, self.node = first.began_s, first.node
        self.is_numbered, self.error = first.is_numbered, first.error

    def __call__(self, call: Call) -> Any:
        """Run the command once, within what is left of the call's deadline."""
        self.runs += 1
        if self.runs > 1 and self.read_pref is FALLBACK:
            self.read_pref = _ELSEWHERE
        self.node = None
        self.hands_back = self.hands_back and self.is_numbered is None
        self.began_s, self.lasts_s = call.started_s, call.deadline_s - call.started_s
        try:
            if self.runs == 1 and self.is_bounded and call.guard.outage.is_over:
                return self._run()
            self.client.await_node(call, self.read_pref if self.is_read else None)
            with pymongo.timeout(at_least(call.remaining_s())):
                return self._run()
        finally:
            self.tell(call)

    def tell(self, call: Call) -> None:
        """Note on the call what this run has learnt: the node, and whether its server takes transaction numbers."""
        if self.node is not None:
            call.node = self.client.name_of(self.node)
            call.sent = True
        if self.is_numbered is False and self.retryable and self.bulk is None:  # a standalone server takes none
            call.operation = describe(call.operation.name, False, False, bool(call.policy.idempotent), True)  # noqa: FBT003

    @property
    def is_plain_read(self) -> bool:
        """Whether it is a read that neither writes (``$out``) nor is a bare command."""
        return self.is_read and not self.marks.get("is_run_command") and not self.marks.get("is_aggregate_write")

    def _run(self) -> Any:
        if self.is_read:
            return self.client.drive(self.read, self, retryable=False)
        if self.bulk is not None or not self.retryable:
            return self.client.drive(self.write, self, retryable=self.retryable)
        return self._numbered()

    def _numbered(self) -> Any:
        """Send a write under its transaction number.

        Until the command has been handed to a connection, the driver makes the number, and is stopped where it would go
        on by itself, so that waits, budget and deadline are decided in one place. From then on the driver is told not
        to retry, which keeps it from making another number, while the command still carries the first: the server
        applies it once.
        """
        if self.is_numbered is not None:
            return self.client.drive(self.write, self, retryable=False)
        try:
            return self.client.drive(self.write, self, retryable=True)
        except HandBack as signal:
            raise self.handed_back(signal) from None

    # -- what never runs again by itself --------------------------------------------------------------

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
