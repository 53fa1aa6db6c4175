"""`undaunted provision` for MongoDB: what the command line asks of this backend."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undaunted.mongodb import provision
from undaunted.mongodb.provision.access import Access
from undaunted.mongodb.provision.wanted import wanted_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from undaunted.config import MongoDBSettings
    from undaunted.mongodb.provision.plan import Plan
    from undaunted.mongodb.provision.state import State, Wanted
    from undaunted.mongodb.provision.steps import Step

__all__ = ["Provisioning", "opened"]


@contextmanager
def opened(settings: MongoDBSettings) -> Generator[Provisioning]:
    """Connections to the nodes of one cluster, closed at the end.

    Raises:
        ConfigurationError: pymongo refuses the settings.
    """
    with Access(settings) as access:
        yield Provisioning(wanted_of(settings, seeds=access.seeds, replica_set=access.replica_set), access)


class Provisioning:
    """Plans for one cluster, and applies the plan."""

    def __init__(self, wanted: Wanted, access: Access) -> None:
        self._wanted = wanted
        self._access = access
        self._state: State | None = None

    def plan(self, *, force: bool) -> Plan:
        """Read the state and plan; `force` changes nothing here, since a replica set is never forced.

        Raises:
            ProvisionError: A node refused what was asked.
        """
        del force
        self._state = provision.survey(self._wanted, self._access)
        return provision.plan(self._wanted, self._state)

    def apply(self, made: Plan, *, timeout_s: float, tell: Callable[[int, Step], None]) -> None:
        """Take the steps of the plan.

        Raises:
            ProvisionError: One could not be taken.
        """
        assert self._state is not None  # noqa: S101  # `plan` comes first
        provision.apply(made, self._access, self._state, timeout_s=timeout_s, tell=tell)

    @staticmethod
    def heading(made: Plan) -> str:
        """What the cluster is, in a line."""
        return f"replica set {made.replica_set or '(unnamed)'}{f', primary {made.primary}' if made.primary else ''}"

    @staticmethod
    def facts(made: Plan) -> Mapping[str, Any]:
        """What the cluster is, for programs."""
        return {"replica_set": made.replica_set, "primary": made.primary}

    @staticmethod
    def told(step: Step) -> Mapping[str, Any]:
        """A step, for programs."""
        return {"kind": step.kind, "node": step.node, "text": str(step)}
