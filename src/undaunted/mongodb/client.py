"""The `MongoClient` that everything of a document goes through, and that runs again what is safe to run again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import errors as driver
from pymongo.mongo_client import MongoClient as DriverClient
from pymongo.read_preferences import Nearest, PrimaryPreferred, ReadPreference, SecondaryPreferred

from undaunted.engine import sync
from undaunted.engine.call import current_call
from undaunted.mongodb import scope, seams
from undaunted.mongodb.database import Database
from undaunted.mongodb.operations import GET_MORE, describe
from undaunted.mongodb.topology import TopologyWatch, default_guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from bson.codec_options import CodecOptions
    from pymongo.client_session import ClientSession
    from pymongo.read_concern import ReadConcern
    from pymongo.write_concern import WriteConcern

    from undaunted.core.operation import Operation
    from undaunted.core.policy import Policy
    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard

__all__ = ["MongoClient"]

_READS = {"fallback": PrimaryPreferred(), "replica": SecondaryPreferred(), "any": Nearest()}
_PRIMARY_MODE = ReadPreference.PRIMARY.mode
_BEST_EFFORT_S = 0.001
"""pymongo takes a timeout of 0 for "none"; what has run out must still end at once."""


class MongoClient(DriverClient[dict[str, Any]]):
    """A `pymongo.MongoClient` that outlives its primary.

    Give it to MongoEngine as ``mongo_client_class``, or let `undaunted.configure` do so; it takes every argument
    of pymongo's client. Where the caller leaves them open it sets ``heartbeatFrequencyMS=1000`` and
    ``connectTimeoutMS=2000`` (a frozen node is noticed within 3 s, measured, instead of 24 s), ``w="majority"``
    (so that no failover loses what was acknowledged) and ``connect=False`` (so that a process starts without its
    cluster).

    Args:
        guard: What the calls of this cluster are guarded with; made with the default policy when left out.

    Raises:
        ConfigurationError: The installed pymongo is too old, or not one this release knows.
    """

    def __init__(self, *args: Any, guard: Guard | None = None, **kwargs: Any) -> None:
        seams.check_driver()
        self._undaunted_guard = guard or default_guard()
        given = {name.lower() for name in kwargs}
        for name, value in (("heartbeatFrequencyMS", 1000), ("connectTimeoutMS", 2000), ("connect", False)):
            if name.lower() not in given and not _is_in_uri(name, args, kwargs):
                kwargs[name] = value
        if "w" not in given and not _is_in_uri("w", args, kwargs):
            kwargs["w"] = "majority"
        listeners = list(kwargs.pop("event_listeners", None) or ())
        super().__init__(*args, event_listeners=[*listeners, TopologyWatch(self._undaunted_guard)], **kwargs)

    @property
    def guard(self) -> Guard:
        """What the calls of this cluster are guarded with: policy, budget, outage."""
        return self._undaunted_guard

    # -- the databases it hands out -------------------------------------------------------------

    def __getitem__(self, name: str) -> Database:
        return Database(self, name)

    def get_database(
        self,
        name: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: Any | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Database:
        """As pymongo's, with a `Database` of this backend."""
        plain = super().get_database(name, codec_options, read_preference, write_concern, read_concern)
        return Database.of(plain)

    def get_default_database(self, *args: Any, **kwargs: Any) -> Database:
        """As pymongo's, with a `Database` of this backend."""
        return Database.of(super().get_default_database(*args, **kwargs))

    @property
    def is_primary(self) -> bool:
        """Whether a writable node is known, without waiting for one where reads may fall back.

        MongoEngine asks this before it makes indexes. pymongo blocks here for as long as there is no primary,
        which keeps a fresh process from reading a secondary.
        """
        policy = scope.policy_in_force(self._undaunted_guard)
        if policy.reads == "primary":
            with pymongo.timeout(max(policy.deadline_s, _BEST_EFFORT_S)):
                return bool(super().is_primary)
        return self._settle_topology(min(policy.deadline_s, 2.0))

    def _settle_topology(self, timeout_s: float) -> bool:
        """Wait until a primary is known or every node has been asked once; whether there is a primary."""
        deadline = time.monotonic() + timeout_s
        self._get_topology()
        while True:
            description = self.topology_description
            if description.has_writable_server():
                return True
            asked = [s.is_server_type_known or s.error for s in description.server_descriptions().values()]
            if (asked and all(asked)) or time.monotonic() >= deadline:
                return False
            time.sleep(0.005)

    # -- the one place where a command meets the decision ---------------------------------------

    def _retry_internal(  # type: ignore[override]
        self,
        func: Callable[..., Any],
        session: ClientSession | None,
        bulk: Any,
        operation: str,
        is_read: bool = False,  # noqa: FBT001, FBT002  # the driver's own signature
        address: Any = None,
        read_pref: Any = None,
        retryable: bool = False,  # noqa: FBT001, FBT002  # the driver's own signature
        **marks: Any,
    ) -> Any:
        name = getattr(operation, "value", operation)
        execution = _Execution(self, func, session, bulk, operation, is_read, address, read_pref, retryable, marks)
        guard = self._undaunted_guard
        policy = scope.policy_in_force(guard)
        if name == GET_MORE and address is not None:
            return execution.continue_cursor(policy)
        if session is not None and session.in_transaction:
            return execution.once(policy)
        is_plain_read = is_read and not marks.get("is_run_command") and not marks.get("is_aggregate_write")
        if is_plain_read and policy.reads != "primary" and read_pref is not None and read_pref.mode == _PRIMARY_MODE:
            execution.read_pref = read_pref = _READS[policy.reads]
        described = describe(
            name,
            is_read=is_plain_read,
            is_numbered=retryable and not is_read and bulk is None,
            is_declared_idempotent=bool(policy.idempotent),
            needs_primary=not is_read or read_pref is None or read_pref.mode == _PRIMARY_MODE,
        )
        return sync.run(guard, described, execution, policy=policy)


class _Execution:
    """One driver command, as something that can be run, and run again as the very same write."""

    __slots__ = (
        "address", "bulk", "client", "error", "func", "is_numbered", "is_read", "marks", "operation",
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
        self.is_numbered: bool | None = None
        self.error: driver.PyMongoError | None = None

    def __call__(self, call: Call) -> Any:
        """Run the command once, within what is left of the call's deadline."""
        self.runs += 1
        with pymongo.timeout(max(call.remaining_s(), _BEST_EFFORT_S)):
            if self.is_read:
                return self._drive(self._tracked_read(call), retryable=False)
            if self.bulk is not None or not self.retryable:
                return self._drive(self._tracked_write(call), retryable=self.retryable)
            return self._numbered(call)

    def _drive(self, func: Callable[..., Any], *, retryable: bool) -> Any:
        return super(MongoClient, self.client)._retry_internal(
            func,
            self.session,
            self.bulk,
            self.operation,  # type: ignore[arg-type]
            is_read=self.is_read,
            address=self.address,
            read_pref=self.read_pref,
            retryable=retryable,
            **self.marks,
        )

    def _numbered(self, call: Call) -> Any:
        """Send a write under its transaction number.

        The first time the driver makes the number, and is stopped where it would go on by itself, so that waits,
        budget and deadline are decided in one place. From then on the driver is told not to retry, which keeps it
        from making another number, while the command still carries the first: the server applies it once.
        """
        if self.runs > 1:
            return self._drive(self._tracked_write(call), retryable=False)
        try:
            return self._drive(self._tracked_write(call), retryable=True)
        except _HandBack:
            assert self.error is not None  # noqa: S101  # a hand-back follows an error
            raise self.error from None

    def _tracked_read(self, call: Call) -> Callable[..., Any]:
        func = self.func

        def tracked(session: Any, server: Any, conn: Any, read_pref: Any) -> Any:
            call.node = _name_of(conn)
            call.sent = True
            return func(session, server, conn, read_pref)

        return tracked

    def _tracked_write(self, call: Call) -> Callable[..., Any]:
        func = self.func
        may_hand_back = self.bulk is None and self.retryable and self.runs == 1
        started = False

        def tracked(session: Any, conn: Any, retryable: Any) -> Any:
            nonlocal started
            if may_hand_back and started:
                raise _HandBack
            started = True
            self._note_number(call, retryable)
            call.node = _name_of(conn)
            call.sent = True
            try:
                return func(session, conn, self.is_numbered if self.bulk is None else retryable)
            except driver.PyMongoError as error:
                self.error = error
                raise

        return tracked

    def _note_number(self, call: Call, retryable: Any) -> None:
        """Remember whether the server takes transaction numbers (a standalone does not)."""
        if self.is_numbered is None:
            self.is_numbered = bool(retryable)
            if self.retryable and not retryable and self.bulk is None:
                call.operation = _without_number(call.operation, is_declared=bool(call.policy.idempotent))

    def once(self, policy: Policy) -> Any:
        """Run a command of a transaction: once, since only the transaction as a whole may run again."""
        call = current_call()
        remaining = call.remaining_s() if call is not None else policy.deadline_s
        with pymongo.timeout(max(remaining, _BEST_EFFORT_S)):
            return self._drive(self.func, retryable=self.retryable)

    def continue_cursor(self, policy: Policy) -> Any:
        """Fetch the next batch: once, since a batch whose reply was lost is gone; the cursor resumes by itself."""
        call = current_call()
        host, port = self.address
        if call is not None:
            call.node, call.sent = f"{host}:{port}", True
        known = self.client.topology_description.server_descriptions().get(self.address)
        if known is None or not known.is_server_type_known:
            raise driver.AutoReconnect(f"The node of this cursor, {host}:{port}, is gone, and the cursor with it.")
        remaining = call.remaining_s() if call is not None else policy.deadline_s
        with pymongo.timeout(max(remaining, _BEST_EFFORT_S)):
            return self._drive(self.func, retryable=False)


class _HandBack(Exception):  # noqa: N818  # a signal between two frames, never seen by a caller
    """Takes the next execution out of the driver's hands."""


def _without_number(operation: Operation, *, is_declared: bool) -> Operation:
    return describe(
        operation.name, is_read=False, is_numbered=False, is_declared_idempotent=is_declared, needs_primary=True
    )


def _name_of(conn: Any) -> str:
    host, port = conn.address
    return f"{host}:{port}" if port is not None else str(host)


def _is_in_uri(option: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a connection string given to the client sets `option` already."""
    hosts = kwargs.get("host") or (args[0] if args else None) or ()
    wanted = f"{option.lower()}="
    for host in [hosts] if isinstance(hosts, str) else hosts:
        _, _, options = str(host).partition("?")
        if any(part.lower().startswith(wanted) for part in options.replace(";", "&").split("&")):
            return True
    return False
