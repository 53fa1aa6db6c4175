"""Takes the steps of a plan, one after the other; each is over when all nodes that answer have the same schema."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import cassandra
from cassandra.protocol import ErrorMessage

from undaunted.cassandra.provision.access import Denied, ProvisionError, Unanswered, refused
from undaunted.cassandra.provision.rules import listed
from undaunted.cassandra.provision.steps import Create, differences
from undaunted.cassandra.provision.survey import keyspaces_at, members_at
from undaunted.core.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.cassandra.provision.access import Access
    from undaunted.cassandra.provision.plan import Plan
    from undaunted.cassandra.provision.state import Keyspace, State
    from undaunted.cassandra.provision.steps import Step
    from undaunted.core.clock import Clock

__all__ = ["apply"]

_POLL_S = 0.2


def apply(
    plan: Plan,
    access: Access,
    state: State,
    *,
    timeout_s: float = 60.0,
    tell: Callable[[int, Step], None] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Take every step of a plan. Steps that somebody has taken meanwhile are passed over.

    Args:
        plan: The plan, without refusals.
        access: Opens connections.
        state: What the plan was made from.
        timeout_s: How long each step may take until the nodes agree on it. Default 60 s.
        tell: Called before each step with its place, from 0, and the step.
        clock: Tells the time.
        sleep: Waits.

    Raises:
        ProvisionError: A step was refused, or did not come to its end in time; later steps were not begun.
        ValueError: The plan has refusals.
    """
    if plan.refusals:
        raise ValueError(f"a plan with refusals is not applied: {plan.refusals[0]}")
    worker = _Worker(access, state, timeout_s=timeout_s, clock=clock, sleep=sleep)
    for place, step in enumerate(plan.steps):
        if tell is not None:
            tell(place, step)
        worker.take(step)


class _Worker:
    """Takes one step after the other; goes on at another node where the one that it asks is lost."""

    def __init__(
        self, access: Access, state: State, *, timeout_s: float, clock: Clock, sleep: Callable[[float], None]
    ) -> None:
        self._access = access
        self._nodes = [node.address for node in state.nodes if not node.reason]
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self._deadline_s = 0.0

    def take(self, step: Step) -> None:
        self._deadline_s = self._clock.monotonic() + self._timeout_s
        if not self._is_taken(step, is_first=True):
            try:
                self._ask(lambda address: self._access.run(address, step.cql))
            except cassandra.AlreadyExists:
                pass  # by somebody else, or by our own first try whose answer was lost; which is looked at next
            except (cassandra.DriverException, ErrorMessage) as error:
                raise refused(step, error) from error
            if not self._is_taken(step, is_first=False):
                raise ProvisionError(
                    f"The keyspace {step.to.name} was changed by somebody else meanwhile; run this again."
                )
        self._await_agreement(step)

    def _is_taken(self, step: Step, *, is_first: bool) -> bool:
        """Whether the keyspace is as the step makes it.

        Raises:
            ProvisionError: It is neither that, nor what it was when the plan was made.
        """
        found: Keyspace | None = self._ask(lambda address: keyspaces_at(address, self._access)).get(step.to.name)
        if found is not None and not differences(found, step.to):
            return True
        was = None if isinstance(step, Create) else step.was
        if is_first and found != was:
            what = "is gone" if found is None else "was made" if was is None else "was altered"
            raise ProvisionError(f"The keyspace {step.to.name} {what} meanwhile, not as it is wanted; run this again.")
        return False

    def _await_agreement(self, step: Step) -> None:
        """Wait until all nodes that answer have the same schema."""
        while True:
            schemas = self._schemas()
            if len(schemas) <= 1:
                return
            if self._clock.monotonic() > self._deadline_s:
                told = "; ".join(listed(nodes) for nodes in schemas.values())
                raise ProvisionError(
                    f"After {self._timeout_s:g} s the nodes still have {len(schemas)} versions of the schema ({told}). "
                    f"The step was taken ({step}); run this again when they agree."
                )
            self._sleep(_POLL_S)

    def _schemas(self) -> dict[str, list[str]]:
        members = self._ask(lambda address: members_at(address, self._access))
        found: dict[str, list[str]] = {}
        for node in members:
            if node.schema is not None:
                found.setdefault(node.schema, []).append(node.address)
        if len(found) > 1:
            greeted = self._access.greet(address for nodes in found.values() for address in nodes)
            present = {v: [address for address in nodes if greeted[address] is None] for v, nodes in found.items()}
            found = {version: nodes for version, nodes in present.items() if nodes}
        return found

    def _ask(self, question: Callable[[str], Any]) -> Any:
        """Ask the first node that answers; each question and each step may be repeated."""
        last: Unanswered | None = None
        for address in list(self._nodes):
            try:
                return question(address)
            except Unanswered as error:
                last = error
                self._nodes.remove(address)
            except Denied as error:
                raise ProvisionError(str(error)) from error
        told = f" ({last})" if last is not None else ""
        raise ProvisionError(f"No node can be asked any more{told}; run this again to see what is left.") from last
