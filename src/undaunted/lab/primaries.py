"""The verbs of a lab where one node takes the writes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from undaunted.lab.node import State
from undaunted.lab.verbs import NodeLike, Verbs

if TYPE_CHECKING:
    from undaunted.lab.node import LabNode

__all__ = ["Primaries"]


class Primaries(Verbs):
    """Knows the primary: it is hit by every fault for which no node is named, and is restarted last."""

    def node(self, which: NodeLike) -> LabNode:
        """The node of this name, such as ``"n2"``; ``"primary"`` is whoever is primary now.

        Raises:
            LabError: There is no such node.
        """
        return self.primary() if which == "primary" else super().node(which)

    @abstractmethod
    def primary(self, timeout: float | str = 10.0) -> LabNode:
        """The node that takes writes."""

    @abstractmethod
    def wait_primary(self, *, other_than: NodeLike | None = None, timeout: float | str = 60.0) -> float:
        """Wait for a node that takes writes; returns `time.monotonic()` of when it was first seen."""

    @abstractmethod
    def step_down(self, which: NodeLike = "primary") -> LabNode:
        """Make the primary hand over in good order; returns the node that was primary."""

    def leaderless(self) -> str | None:
        """Why nobody takes over just now, in one sentence; None if a new primary is to be expected, or is there."""
        up = sum(state in {State.UP, State.SLOW} for state in self.states().values())
        if up * 2 <= len(self._nodes):
            return f"{up} of {len(self._nodes)} nodes are up, which is no majority: there is no primary now."
        return None

    def _usual(self) -> LabNode:
        return self.primary()

    def _choices(self) -> str:
        return f"{super()._choices()}, or 'primary'"

    def _restart_order(self, timeout_s: float) -> list[LabNode]:
        last = self.primary(timeout_s)
        return [*(node for node in self._nodes if node is not last), last]
