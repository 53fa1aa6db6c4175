"""Takes the steps of a plan: one reconfiguration after the other, each waited for, none forced."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from pymongo.errors import AutoReconnect, OperationFailure, PyMongoError

from undaunted.core.clock import SYSTEM_CLOCK
from undaunted.mongodb.provision.access import DENIED, ProvisionError, refused_command, silence
from undaunted.mongodb.provision.steps import (
    Add,
    Change,
    Initiate,
    Remove,
    SetDefaultWriteConcern,
    StepDown,
    address_of,
    document_of,
    edited,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from undaunted.core.clock import Clock
    from undaunted.mongodb.provision.access import Access
    from undaunted.mongodb.provision.plan import Plan
    from undaunted.mongodb.provision.state import Placement, State
    from undaunted.mongodb.provision.steps import Reconfiguration, Step

__all__ = ["apply"]

Document: TypeAlias = dict[str, Any]

_POLL_S = 0.2
_RECONFIG_MS = 30_000
_HOLD_S = 60
"""How long a primary that was stepped down does not stand again; its removal follows at once."""
_CATCH_UP_S = 10
_KNOWS_COMMITMENT = 9
"""Wire version of MongoDB 4.4, whose configurations are committed by a majority."""

_ALREADY_INITIALIZED = 23
_TRANSIENT = frozenset({50, 91, 109, 189, 308, 10107, 11600, 11602, 13435, 13436})
"""MaxTimeMSExpired, ConfigurationInProgress, CurrentConfigNotCommittedYet; the rest: shutting down, or not primary."""
_INCOMPATIBLE = 103
"""NewReplicaSetConfigurationIncompatible: also says that another configuration came first."""


def apply(
    plan: Plan,
    access: Access,
    state: State,
    *,
    timeout_s: float = 600.0,
    tell: Callable[[int, Step], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Take every step of a plan. Steps that somebody has taken meanwhile are passed over.

    Args:
        plan: The plan, without refusals.
        access: Opens connections.
        state: What the plan was made from.
        timeout_s: How long each step may take, such as the copying of data to a new member. Default 600 s.
        tell: Called before each step with its place, from 0, and the step.
        clock: Tells the time.
        sleep: Waits.

    Raises:
        ProvisionError: A step was refused, or did not come to its end in time; later steps were not begun.
        ValueError: The plan has refusals.
    """
    if plan.refusals:
        raise ValueError(f"a plan with refusals is not applied: {plan.refusals[0]}")
    hosts = [m.address for m in state.current.members] if state.current is not None else []
    worker = _Worker(plan, access, {*hosts, *state.nodes}, timeout_s=timeout_s, clock=clock, sleep=sleep)
    for place, step in enumerate(plan.steps):
        if tell is not None:
            tell(place, step)
        worker.take(step)


class _Worker:
    """Takes one step after the other; knows who could be primary, and by when the step of now must be done."""

    def __init__(
        self,
        plan: Plan,
        access: Access,
        hosts: Collection[str],
        *,
        timeout_s: float,
        clock: Clock,
        sleep: Callable[[float], None],
    ) -> None:
        self._name = plan.replica_set
        self._set_id = plan.set_id
        self._access = access
        self._hosts = sorted(hosts)
        self._last_primary = plan.primary
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self._deadline_s = 0.0

    def take(self, step: Step) -> None:
        self._deadline_s = self._clock.monotonic() + self._timeout_s
        if isinstance(step, Initiate):
            self._initiate(step)
        elif isinstance(step, SetDefaultWriteConcern):
            self._set_default_write_concern(step)
        elif isinstance(step, StepDown):
            self._hand_over(step.node)
        else:
            self._reconfigure(step)

    # -- steps ---------------------------------------------------------------------------------------

    def _initiate(self, step: Initiate) -> None:
        config = {"_id": step.name, "members": [document_of(m, number) for number, m in enumerate(step.members)]}
        # A node that belongs to no set has no users yet: from its own host it takes this without a login.
        for login in (False, True):
            try:
                self._access.run(step.node, {"replSetInitiate": config}, login=login)
            except OperationFailure as error:
                if error.code == _ALREADY_INITIALIZED:
                    self._check_initiated(step)
                elif error.code not in DENIED:
                    raise refused_command(step.node, error) from error
                elif login or not self._access.has_login:
                    raise ProvisionError(
                        f"{step.node} demands a login and knows no such user. A set without users is initiated from "
                        "the host of that node only: run this there."
                    ) from error
                else:
                    continue
            except PyMongoError as error:
                raise ProvisionError(f"{step.node} {silence(error)}; run this again to see what is left.") from error
            break
        for member in step.members:
            self._await_well(member.address)
        self._primary()

    def _check_initiated(self, step: Initiate) -> None:
        """Somebody was faster. Only when the set is the one that was planned may the rest of the plan go on."""
        config = self._access.run(step.node, {"replSetGetConfig": 1})["config"]
        found = {address_of(member["host"]) for member in config["members"]}
        if config["_id"] != step.name or found != {member.address for member in step.members}:
            raise ProvisionError(f"{step.node} was taken into another replica set meanwhile; run this again.")

    def _set_default_write_concern(self, step: SetDefaultWriteConcern) -> None:
        command = {"setDefaultRWConcern": 1, "defaultWriteConcern": {"w": "majority", "wtimeout": 0}}
        while True:
            primary = self._primary()
            if self._do(primary, command | {"writeConcern": {"w": "majority", "wtimeout": _RECONFIG_MS}}):
                return
            self._pause(f"{primary} did not take: {step}")

    def _hand_over(self, address: str) -> None:
        """Have another member be primary."""
        has_asked = False
        while self._primary() == address:
            if has_asked:
                self._pause(f"{address} stays primary")
            self._do(address, {"replSetStepDown": _HOLD_S, "secondaryCatchUpPeriodSecs": _CATCH_UP_S})
            has_asked = True

    def _reconfigure(self, step: Reconfiguration) -> None:
        if isinstance(step, Change) and step.to.votes > step.was.votes:
            self._await_well(step.node)
        if isinstance(step, Add):
            self._check_newcomer(step.member)
        while True:
            if isinstance(step, Remove) or (isinstance(step, Change) and not step.to.is_electable):
                self._hand_over(step.node)
            primary = self._primary()
            if self._is_taken(primary, step):
                break
            self._pause(f"{primary} did not take: {step}")
        if isinstance(step, Add):
            self._hosts = sorted({*self._hosts, step.node})
            self._await_well(step.node)

    def _is_taken(self, primary: str, step: Reconfiguration) -> bool:
        """Have the primary take a configuration with this step in it; whether a majority has it now."""
        found = self._do(primary, {"replSetGetConfig": 1})
        if found is None:
            return False
        config: Document = found["config"]
        set_id = str(config.get("settings", {}).get("replicaSetId"))
        if config["_id"] != self._name or (self._set_id is not None and set_id != self._set_id):
            raise ProvisionError(f"{primary} belongs to another replica set now; run this again.")
        try:
            new = edited(config, step)
        except LookupError:
            raise ProvisionError(f"{step.node} has left the replica set meanwhile; run this again.") from None
        if new is not None and self._do(primary, {"replSetReconfig": new, "maxTimeMS": _RECONFIG_MS}) is None:
            return False
        return self._is_committed(primary)

    def _is_committed(self, primary: str) -> bool:
        """Whether a majority has the configuration, so that a failover cannot undo it."""
        try:
            hello = self._access.hello(primary)
        except PyMongoError:
            return False
        if hello["maxWireVersion"] < _KNOWS_COMMITMENT:
            return True
        while True:
            found = self._do(primary, {"replSetGetConfig": 1, "commitmentStatus": True})
            if found is None or found["commitmentStatus"]:
                return found is not None
            self._pause("the configuration has not reached a majority")

    def _check_newcomer(self, member: Placement) -> None:
        """A look just before a node is taken in; what it was when the plan was made may be long ago."""
        try:
            hello = self._access.hello(member.address)
        except PyMongoError as error:
            raise ProvisionError(f"{member.address} {silence(error)}; it is not added.") from error
        if hello.get("setName") not in {None, self._name} or not (hello.get("setName") or hello.get("isreplicaset")):
            raise ProvisionError(f"{member.address} has been put to another use meanwhile; it is not added.")

    # -- asking and waiting --------------------------------------------------------------------------

    def _do(self, address: str, command: Document) -> Document | None:
        """Run a command; None when it is to be looked at again, be it that it was taken or not."""
        try:
            return self._access.run(address, command)
        except OperationFailure as error:
            if error.code in _TRANSIENT or (error.code == _INCOMPATIBLE and "must be greater than old" in str(error)):
                return None
            if error.code == 18 and self._set_id is None:
                raise ProvisionError(
                    f"The replica set is there and has no user {self._access.user!r} yet: create it on {address}, from "
                    "the host of that node, and run this again."
                ) from error
            raise refused_command(address, error, self._access.user) from error
        except AutoReconnect:
            return None

    def _primary(self) -> str:
        """The primary of now; waits until there is one."""
        while True:
            # One that was frozen may still call itself primary for a moment; it gets no majority for a change.
            if self._last_primary in self._hosts and self._leads(self._last_primary) is not None:
                return self._last_primary
            others = [address for address in self._hosts if address != self._last_primary]
            found = [(elected, address) for address in others if (elected := self._leads(address)) is not None]
            if found:
                self._last_primary = max(found)[1]
            else:
                self._last_primary = None
                self._pause("no member is primary")

    def _leads(self, address: str) -> str | None:
        """What orders this primary among others; None when it is not one."""
        hello = self._hello(address)
        is_one = hello.get("isWritablePrimary") and hello.get("setName") == self._name
        return str(hello.get("electionId", "")) if is_one else None

    def _await_well(self, address: str) -> None:
        """Wait until a member holds the data, or votes if it is an arbiter."""
        condition = "not yet a member"
        while True:
            hello = self._hello(address)
            if hello.get("setName") == self._name:
                if hello.get("secondary") or hello.get("isWritablePrimary") or hello.get("arbiterOnly"):
                    return
                condition = "still catching up"
            self._pause(f"{address} is {condition if hello else 'out of reach'}")

    def _hello(self, address: str) -> Document:
        try:
            return self._access.hello(address)
        except PyMongoError:  # the caller looks again until its deadline, and then says so
            return {}

    def _pause(self, what: str) -> None:
        if self._clock.monotonic() > self._deadline_s:
            raise ProvisionError(
                f"After {self._timeout_s:g} s {what}. What was begun goes on by itself; run this again to see what "
                "is left."
            )
        self._sleep(_POLL_S)
