"""The verbs of a lab where one node takes the writes."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from undaunted.core.durations import seconds
from undaunted.lab.errors import LabError
from undaunted.lab.node import State
from undaunted.lab.verbs import POLL_S, NodeLike, Verbs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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

    _no_primary = ""
    """What is to be done where no primary came by itself, for the error that says so."""

    def primary(self, timeout: float | str = 10.0) -> LabNode:
        """The node that takes writes; where two say they do (an old one has come back), the one that became it last.

        Raises:
            LabError: There is none within the timeout.
        """
        return self._find_primary(None, seconds(timeout))[0]

    def wait_primary(self, *, other_than: NodeLike | None = None, timeout: float | str = 60.0) -> float:
        """Wait for a primary, looking every 20 ms; returns `time.monotonic()` of when it was first seen.

        Args:
            other_than: A node that does not count, such as the one just killed.
            timeout: How long to wait.

        Raises:
            LabError: There is none within the timeout.
        """
        return self._find_primary(self.node(other_than) if other_than is not None else None, seconds(timeout))[1]

    @abstractmethod
    def _look(self, among: Sequence[LabNode]) -> tuple[LabNode | None, Mapping[str, str]]:
        """Who of these nodes is primary just now, and the role of each that answered, by name."""

    @abstractmethod
    def step_down(self, which: NodeLike = "primary") -> LabNode:
        """Make the primary hand over in good order; returns the node that was primary."""

    def leaderless(self) -> str | None:
        """Why nobody takes over just now, in one sentence; None if a new primary is to be expected, or is there."""
        up = sum(state in {State.UP, State.SLOW} for state in self.states().values())
        if up * 2 <= len(self._nodes):
            return f"{up} of {len(self._nodes)} nodes are up, which is no majority: there is no primary now."
        return None

    def _find_primary(self, other_than: LabNode | None, timeout_s: float) -> tuple[LabNode, float]:
        deadline_s = time.monotonic() + timeout_s
        while True:
            found, roles = self._look([node for node in self._nodes if node is not other_than])
            if found is not None:
                return found, time.monotonic()
            if time.monotonic() > deadline_s:
                states = self.states()
                seen = ", ".join(f"{n.name} {states[n.name]} {roles.get(n.name, 'unknown')}" for n in self._nodes)
                what = f"primary other than {other_than.name}" if other_than is not None else "primary"
                for_s = f"{timeout_s:g} s"
                raise LabError(f"The lab {self.name} has had no {what} for {for_s} ({seen}){self._no_primary}.")
            time.sleep(POLL_S)

    def _usual(self) -> LabNode:
        return self.primary()

    def _choices(self) -> str:
        return f"{super()._choices()}, or 'primary'"

    def _restart_order(self, timeout_s: float) -> list[LabNode]:
        last = self.primary(timeout_s)
        return [*(node for node in self._nodes if node is not last), last]
