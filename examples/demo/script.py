"""The faults of the demo, and nothing else that is decided beforehand."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from undaunted.lab import LabError
from undaunted.lab.timeline import Episode, Sighting

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.stage import Stage

    from undaunted.lab import LabNode

SHORTEST_S = 20.0
USUAL_S = 95.0
QUICK_S = 26.0
ELECTION_S = 60.0
LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When what happens, in seconds from the opening; nothing happens earlier, and a slow machine may take longer."""

    kill_s: float
    start_s: float
    freeze_s: float
    thaw_s: float
    last_s: float
    calm_s: float  # after the last fault
    is_quick: bool  # time is short: the last fault is a small one, where it could be long

    @classmethod
    def within(cls, seconds: float, *, is_quick: bool = False) -> Plan:
        """Three faults spread over so many seconds.

        The freeze is the longest: at the usual length its 32 s are more than the 30 s (10 s heartbeat, 20 s connect
        timeout) after which a driver with default settings gives a silent node up.
        """
        return cls(
            kill_s=seconds * 0.08,
            start_s=seconds * 0.21,
            freeze_s=seconds * 0.32,
            thaw_s=seconds * 0.66,
            last_s=seconds * 0.80,
            calm_s=seconds * 0.20,
            is_quick=is_quick,
        )


class Sightings:
    """Looks ten times a second how the nodes are, and who is primary where one is; remembers each change of primary."""

    def __init__(self, lab: Any, *, has_primary: bool) -> None:
        self._lab = lab
        self._has_primary = has_primary
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="sightings", daemon=True)
        self.seen: list[Sighting] = []
        self.roles: dict[str, str] = {}
        self.failure: LabError | None = None

    def begin(self) -> None:
        """Begin to look; who is primary now is known when this returns."""
        self._look_once()
        self._thread.start()

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join(10.0)

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                self._look_once()
            except LabError as error:
                if not self._over.is_set():
                    self.failure = error  # the lab is gone; the one who runs the demo must know
                return

    def line(self) -> str:
        """Who is primary; without one, how the nodes are."""
        if self._has_primary:
            return f"primary {(self.seen[-1].node if self.seen else None) or 'none'}"
        return "nodes " + " ".join(f"{name} {state}" for name, state in sorted(self.roles.items()))

    def _look_once(self) -> None:
        states = self._lab.states()
        if not self._has_primary:
            self.roles = {name: str(state) for name, state in states.items()}
            return
        asked = [node for node in self._lab.nodes if states[node.name] == "up"]  # a frozen one would hold us up
        roles = self._lab.roles(asked)
        self.roles = {name: str(state) if name not in roles else roles[name] for name, state in states.items()}
        named = [name for name, role in roles.items() if role == "primary"]
        last = self.seen[-1].node if self.seen else None
        # A primary that was just thawed believes for a moment that it still is one; the one we know of is.
        now = last if last in named else next(iter(named), None)
        if not self.seen or now != last:
            self.seen.append(Sighting(at_s=time.monotonic(), node=now))


class Faults:
    """Strikes the nodes of a lab by a plan.

    Args:
        stage: The backend.
        lab: The nodes.
        plan: When.
        wait_until: Called with a moment of `time.monotonic`; returns when it has come.
        say: Called with a line about each thing that was done.
    """

    def __init__(
        self, stage: Stage, lab: Any, plan: Plan, *, wait_until: Callable[[float], None], say: Callable[[str], None]
    ) -> None:
        self._stage = stage
        self._lab = lab
        self._plan = plan
        self._wait_until = wait_until
        self._say = say
        self.episodes: list[Episode] = []
        self.current = "none"

    def run(self, opened_s: float) -> None:
        """Kill a node and bring it back, freeze the next and thaw it, and what the backend has for the third."""
        plan, stage = self._plan, self._stage
        self.strike(
            "SIGKILL",
            "killed",
            self._lab.kill,
            at_s=opened_s + plan.kill_s,
            mend=stage.revive,
            mend_at_s=opened_s + plan.start_s,
        )
        self.strike(
            "SIGSTOP",
            "frozen",
            self._lab.freeze,
            at_s=opened_s + plan.freeze_s,
            mend=stage.thaw,
            mend_at_s=opened_s + plan.thaw_s,
        )
        stage.last_fault(self, self._lab, at_s=opened_s + plan.last_s, is_quick=plan.is_quick)
        self._wait_until(time.monotonic() + plan.calm_s)

    def strike(
        self,
        name: str,
        state: str,
        strike: Callable[[LabNode], LabNode],
        *,
        at_s: float,
        mend: Callable[[Any, LabNode], None] | None = None,
        mend_at_s: float = 0.0,
    ) -> None:
        """Do something to one node, the primary where there is one, and undo it at its time."""
        self._begin(at_s)
        has_primary = self._stage.has_primary
        node: LabNode = self._lab.primary() if has_primary else self._lab.nodes[len(self.episodes)]
        struck_s = time.monotonic()
        self.current = f"{node.name} {state}"
        self._say(f"{name}: {'the primary ' if has_primary else ''}{node.name} is {state}")
        strike(node)
        elected_s: float | None = None
        if has_primary:
            elected_s = self._lab.wait_primary(other_than=node, timeout=ELECTION_S)
            self._say(f"{self._lab.primary().name} is primary, {elected_s - struck_s:.1f} s after the fault")
        if mend is not None:
            # As long as planned, also where the fault came later than planned since the one before took its time.
            self._wait_until(max(mend_at_s, struck_s + mend_at_s - at_s))
            self._meanwhile(lambda: mend(self._lab, node))
            self._say(f"{node.name} is back")
        mended_s = time.monotonic() if mend is not None or elected_s is None else elected_s
        self._end(name, node.name, struck_s, mended_s, elected_s=elected_s)

    def undertake(self, name: str, node: str, work: Callable[[], object], *, at_s: float, says: str) -> None:
        """Do something that is over when it returns."""
        self._begin(at_s)
        began_s = time.monotonic()
        self.current = name
        self._say(says)
        self._meanwhile(work)
        self._say(f"the {name} is over")
        self._end(name, node, began_s, time.monotonic())

    def _begin(self, at_s: float) -> None:
        self._wait_until(at_s)
        # The fault before must be over, or there is no majority to go on with.
        self._meanwhile(self._lab.wait_healthy)

    def _end(self, name: str, node: str, began_s: float, ended_s: float, *, elected_s: float | None = None) -> None:
        self.current = "none"
        self.episodes.append(Episode(name=name, node=node, started_s=began_s, ended_s=ended_s, elected_s=elected_s))

    def _meanwhile(self, work: Callable[[], object]) -> None:
        """Do it in a thread, so that the display goes on."""
        failed: list[LabError] = []

        def run() -> None:
            try:
                work()
            except LabError as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="work", daemon=True)
        thread.start()
        while thread.is_alive():
            self._wait_until(time.monotonic() + LOOK_S)
        if failed:
            raise failed[0]
