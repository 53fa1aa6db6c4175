"""`undaunted provision` for Cassandra: what the command line asks of this backend."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from undaunted.cassandra.provision.access import Access
from undaunted.cassandra.provision.apply import apply
from undaunted.cassandra.provision.plan import plan
from undaunted.cassandra.provision.survey import survey
from undaunted.cassandra.provision.wanted import wanted_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from undaunted.cassandra.provision.plan import Plan
    from undaunted.cassandra.provision.state import State
    from undaunted.cassandra.provision.steps import Step
    from undaunted.config import CassandraSettings

__all__ = ["Provisioning", "opened"]


@contextmanager
def opened(settings: CassandraSettings) -> Generator[Provisioning]:
    """Connections to the nodes of one cluster, closed at the end."""
    with Access(settings) as access:
        yield Provisioning(settings, access)


class Provisioning:
    """Plans for one cluster, and applies the plan."""

    def __init__(self, settings: CassandraSettings, access: Access) -> None:
        self._settings = settings
        self._access = access
        self._state: State | None = None

    def plan(self, *, force: bool) -> Plan:
        """Read the state and plan.

        Raises:
            ConfigurationError: The driver refuses the settings.
        """
        self._state = survey(self._settings.nodes, self._access)
        return plan(wanted_of(self._settings), self._state, force=force)

    def apply(self, made: Plan, *, timeout_s: float, tell: Callable[[int, Step], None]) -> None:
        """Take the steps of the plan.

        Raises:
            ProvisionError: One could not be taken.
        """
        assert self._state is not None  # noqa: S101  # `plan` comes first
        apply(made, self._access, self._state, timeout_s=timeout_s, tell=tell)

    @staticmethod
    def heading(made: Plan) -> str:
        """What the cluster is, in a line."""
        where = f"datacenters {', '.join(made.datacenters)}" if made.datacenters else "no node answers"
        return where.replace("datacenters", "datacenter") if len(made.datacenters) == 1 else where

    @staticmethod
    def facts(made: Plan) -> Mapping[str, Any]:
        """What the cluster is, for programs."""
        return {"datacenters": list(made.datacenters)}

    @staticmethod
    def told(step: Step) -> Mapping[str, Any]:
        """A step, for programs."""
        return {"kind": step.kind, "node": None, "keyspace": step.to.name, "cql": step.cql, "text": str(step)}
