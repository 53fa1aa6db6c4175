"""The `MongoClient` that everything of a document goes through, and that runs again what is safe to run again."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pymongo
from pymongo import errors as driver
from pymongo.mongo_client import MongoClient as DriverClient
from pymongo.read_preferences import Nearest, ReadPreference, SecondaryPreferred

from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync
from undaunted.engine.call import CURRENT, Call, current_call
from undaunted.engine.context import IN_FORCE
from undaunted.mongodb import scope, seams
from undaunted.mongodb.database import Database
from undaunted.mongodb.errors import CredentialsRefused
from undaunted.mongodb.execution import FALLBACK, Execution, Given
from undaunted.mongodb.operations import GET_MORE, describe
from undaunted.mongodb.sending import Sending, at_least
from undaunted.mongodb.topology import TopologyWatch, default_guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from bson.codec_options import CodecOptions
    from pymongo.client_session import ClientSession
    from pymongo.read_concern import ReadConcern
    from pymongo.write_concern import WriteConcern

    from undaunted.core.policy import Policy
    from undaunted.engine.guard import Guard

__all__ = ["MongoClient"]

_DEFAULTS = {
    "heartbeatFrequencyMS": 1000,
    "connectTimeoutMS": 2000,
    "connect": False,
    "w": "majority",
    "maxAdaptiveRetries": 0,  # the driver takes a refused connection for overload, waits, and asks the dead node again
}

_ASK_PRIMARY = Operation(name="hello", kind=Kind.READ, idempotent=True, patient=True)
_LOGIN_REFUSED = 18
_FIRST_WAIT_MS = 500
"""How long a first attempt waits for a node or a connection before it becomes a matter of the deadline."""

_COARSE_WAIT_S = 0.55
"""A little more than the half second for which pymongo sleeps before it looks at its deadline again."""

_CONNECTS = 3
"""What a connection may cost, in times of ``connectTimeoutMS``: TCP, TLS or a second address, and the first hello. With
a deadline shorter than that, each attempt pays for a timeout of its own."""

_READS = {"fallback": FALLBACK, "replica": SecondaryPreferred(), "any": Nearest()}
_PRIMARY_MODE = ReadPreference.PRIMARY.mode
_FAREWELL_S = 1.0
"""What sessions and cursors on the servers are worth when a client is closed; servers forget them by themselves."""


def _is_primary_only(read_pref: Any) -> bool:
    return read_pref is None or read_pref.mode == _PRIMARY_MODE


class MongoClient(DriverClient[dict[str, Any]]):
    """A `pymongo.MongoClient` that outlives its primary.

    Give it to MongoEngine as ``mongo_client_class``, or let `undaunted.configure` do so; it takes every argument
    of pymongo's client. Where the caller leaves them open it sets ``heartbeatFrequencyMS=1000`` and
    ``connectTimeoutMS=2000`` (a frozen node is noticed within 3 s, measured, instead of 24 s), ``w="majority"``
    (so that no failover loses what was acknowledged), ``maxAdaptiveRetries=0`` (so that retries have one
    owner, and a refused connection is not waited out as if it were overload) and ``connect=False`` (so that a process
    starts without its cluster).

    Args:
        guard: What the calls of this cluster are guarded with; made with the default policy when left out.

    Raises:
        ConfigurationError: The installed pymongo is too old, or not one this release knows.
    """

    def __init__(self, *args: Any, guard: Guard | None = None, **kwargs: Any) -> None:
        seams.check_driver()
        sync.load_recovery()  # here, beside a driver that takes many times as long to import
        self._undaunted_guard = guard = guard or default_guard()
        self._undaunted_names: dict[Any, str] = {}
        given = Given(args, kwargs)
        deadline_ms = max(1, round(guard.policy.deadline_s * 1000))
        bounds = {
            "serverSelectionTimeoutMS": min(_FIRST_WAIT_MS, deadline_ms),
            "waitQueueTimeoutMS": min(_FIRST_WAIT_MS, deadline_ms),
            "socketTimeoutMS": deadline_ms,
        }
        is_bounded = not any(given.has(name) for name in bounds)
        defaults = {**_DEFAULTS, **bounds} if is_bounded else _DEFAULTS
        kwargs.update({name: value for name, value in defaults.items() if not given.has(name)})
        connect_s = kwargs.get("connectTimeoutMS", float("inf")) / 1000  # in the connection string: not known here
        self._undaunted_is_bounded = is_bounded and guard.policy.deadline_s >= 1 + _CONNECTS * connect_s
        self._undaunted_reads_elsewhere = guard.policy.reads != "primary"
        listeners = list(kwargs.pop("event_listeners", None) or ())
        super().__init__(*args, event_listeners=[*listeners, TopologyWatch(guard)], **kwargs)

    @property
    def guard(self) -> Guard:
        """Policy, budget and outage that the calls of this cluster are guarded with."""
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

    def begin(self) -> None:
        """Have the driver's monitors begin in this process, where they do not run yet; waits for none of them."""
        self._get_topology()

    @property
    def is_primary(self) -> bool:
        """Whether a writable node is known, without waiting for one where reads may fall back.

        MongoEngine asks this before it makes indexes. pymongo blocks here for as long as there is no primary,
        which keeps a fresh process from reading a secondary.
        """
        policy = scope.policy_in_force(self._undaunted_guard)
        if policy.reads == "primary":
            return sync.run(self._undaunted_guard, _ASK_PRIMARY, self._ask_primary, policy=policy)
        return self._settle_topology(min(policy.deadline_s, 2.0))

    def _ask_primary(self, call: Call) -> bool:
        self.await_node(call)
        with pymongo.timeout(at_least(call.remaining_s())):
            return bool(super().is_primary)

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

    def await_node(self, call: Call, read_pref: Any = None) -> None:
        """Wait until there is a node for a call, and not a moment longer than the call may last.

        pymongo looks at its deadline only every half second while it waits for a node, so the last part is waited here.

        Raises:
            pymongo.errors.ServerSelectionTimeoutError: There was none until the deadline.
        """
        self._get_topology()
        patience_s = call.remaining_s() - _COARSE_WAIT_S
        if not self._has_node(read_pref) and _is_primary_only(read_pref) and patience_s > 0:
            with contextlib.suppress(driver.ServerSelectionTimeoutError), pymongo.timeout(patience_s):
                _ = super().is_primary  # the driver's own wait also has the nodes checked more often
        while not self._has_node(read_pref):
            remaining_s = call.remaining_s()
            if remaining_s <= 0:
                raise driver.ServerSelectionTimeoutError("No node can serve this call.")
            call.guard.sleep(min(0.02, remaining_s))

    def _has_node(self, read_pref: Any) -> bool:
        description = self.topology_description
        if _is_primary_only(read_pref):
            return description.has_writable_server()
        return description.has_readable_server(read_pref)

    def knows(self, address: Any) -> bool:
        """Whether the node at `address` is one that the monitors find alive."""
        found = self.topology_description.server_descriptions().get(address)
        return found is not None and found.is_server_type_known

    def close(self) -> None:
        """As pymongo's, but without waiting long for nodes that are gone."""
        with pymongo.timeout(_FAREWELL_S):
            super().close()

    # -- the one place where a command meets the decision ---------------------------------------

    def _retry_internal(  # noqa: PLR0917
        self,
        func: Callable[..., Any],
        session: ClientSession | None,
        bulk: Any,
        operation: str,
        is_read: bool = False,  # noqa: FBT001, FBT002  # the driver's own signature
        address: Any = None,
        read_pref: Any = None,
        retryable: bool = False,  # noqa: FBT001, FBT002  # the driver's own signature
        operation_id: int | None = None,
        is_run_command: bool = False,  # noqa: FBT001, FBT002  # the driver's own signature
        is_aggregate_write: bool = False,  # noqa: FBT001, FBT002  # the driver's own signature
        **marks: Any,  # what a later release may add
    ) -> Any:
        guard = self._undaunted_guard
        first: Sending | None = None
        failed: Exception | None = None
        # Nearly every command: nothing is amiss, and nobody has declared anything. `_guarded` does right by these too;
        # here they are spared its calls (docs/cost.md), among them that of `super`.
        if (
            self._undaunted_is_bounded
            and guard.outage.is_over
            and address is None
            and (session is None or session._implicit)  # noqa: SLF001  # no transaction, then
            and not (is_read and self._undaunted_reads_elsewhere)
            and not marks
            and IN_FORCE.get() is None
            and scope.MODEL_POLICY.get() is None
            and seams.TIMEOUT.get() is None
            and CURRENT.get() is None
        ):
            may_retry = retryable and not is_read
            first = Sending(guard, func, bulk, may_retry and bulk is None)
            try:
                result = DriverClient._retry_internal(  # noqa: SLF001
                    self,
                    first.read if is_read else first.write,
                    session,
                    bulk,
                    operation,
                    is_read,
                    None,
                    read_pref,
                    may_retry,
                    operation_id=operation_id,
                    is_run_command=is_run_command,
                    is_aggregate_write=is_aggregate_write,
                )
            except Exception as error:  # noqa: BLE001  # `faults` says what it means
                failed = first.handed_back(error)
            else:
                if not guard.budget.is_full:
                    guard.budget.deposit()
                return result
        marks.update(operation_id=operation_id, is_run_command=is_run_command, is_aggregate_write=is_aggregate_write)
        execution = Execution(
            self, guard, func, session, bulk, operation, is_read, address, read_pref, retryable, marks
        )
        if first is None or failed is None:
            return self._guarded(execution)
        execution.follow(first)
        try:
            return self._go_on(execution, failed)  # outside of the handler, as in `engine.sync.run`
        finally:
            del failed  # its traceback leads back to this frame

    def _go_on(self, execution: Execution, failed: Exception) -> Any:
        """Recover from the failure of a first attempt that was made without more ado."""
        guard = self._undaunted_guard
        call = Call(guard, self._described(execution, guard.policy), guard.policy, began_s=execution.began_s)
        execution.tell(call)
        try:
            return sync.go_on(call, execution, self._explained(failed))
        finally:
            del failed

    def _guarded(self, execution: Execution) -> Any:
        """Run a command under all that is in force here: options, a transaction, an outage, a call around it."""
        guard = self._undaunted_guard
        policy = scope.policy_in_force(guard)
        outer_s = seams.outer_remaining_s()
        if outer_s is not None and outer_s < policy.deadline_s and current_call() is None:
            policy = replace(policy, deadline_s=at_least(outer_s))  # the caller's own pymongo.timeout
        if execution.address is not None and getattr(execution.operation, "value", execution.operation) == GET_MORE:
            return execution.continue_cursor(policy)
        if execution.session is not None and execution.session.in_transaction:
            return execution.once(policy)
        if not guard.outage.is_over and self.topology_description.has_writable_server():
            guard.outage.primary_found()  # the driver tells its listeners up to a second later
        preference = execution.read_pref
        if (
            policy.reads != "primary"
            and preference is not None
            and preference.mode == _PRIMARY_MODE
            and execution.is_plain_read
        ):
            execution.read_pref = _READS[policy.reads]
        execution.is_bounded = self._undaunted_is_bounded and policy is guard.policy
        return sync.run(guard, self._described(execution, policy), execution, policy=policy)

    def _described(self, execution: Execution, policy: Policy) -> Operation:
        """What a command is, for the decision whether it may run again."""
        return describe(
            getattr(execution.operation, "value", execution.operation),
            execution.is_plain_read,
            execution.retryable and not execution.is_read and execution.bulk is None,
            bool(policy.idempotent),
            not execution.is_read or _is_primary_only(execution.read_pref),
        )

    def name_of(self, address: Any) -> str:
        """The node at an address, as ``"host:port"``."""
        name = self._undaunted_names.get(address)
        if name is None:
            host, port = address
            name = self._undaunted_names[address] = f"{host}:{port}" if port is not None else str(host)
        return name

    def drive(self, func: Callable[..., Any], execution: Execution, *, retryable: bool) -> Any:
        """Give one execution to the driver's own loop."""
        try:
            return super()._retry_internal(
                func,
                execution.session,
                execution.bulk,
                execution.operation,
                execution.is_read,
                execution.address,
                execution.read_pref,
                retryable,
                **execution.marks,
            )
        except driver.OperationFailure as error:
            explained = self._explained(error)
            if explained is error:
                raise
            raise explained from error

    def _explained(self, error: Exception) -> Exception:
        """The error itself, or where a node refuses the login one that says so."""
        if not isinstance(error, driver.OperationFailure) or error.code != _LOGIN_REFUSED:
            return error
        cluster = self._undaunted_guard.cluster
        message = (
            f"clusters.{cluster}.credentials: a node refuses the login. Correct the user name or the password; it "
            "was tried once and will not be tried again by itself."
        )
        refused = CredentialsRefused(message, code=error.code)
        refused.__cause__ = error
        return refused
