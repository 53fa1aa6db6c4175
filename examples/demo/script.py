"""The faults of the demo, and nothing else that is decided beforehand."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undaunted.lab import LabError
from undaunted.lab.timeline import Episode, Sighting

if TYPE_CHECKING:
    from collections.abc import Callable

    from undaunted.lab import LabNode, MongoLab

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
    step_down_s: float
    calm_s: float  # after the last fault

    @classmethod
    def within(cls, seconds: float) -> Plan:
        """Three faults spread over so many seconds.

        The freeze is the longest: at the usual length its 32 s are more than the 30 s (10 s heartbeat, 20 s connect
        timeout) after which a driver with default settings gives a silent node up.
        """
        return cls(
            kill_s=seconds * 0.08,
            start_s=seconds * 0.21,
            freeze_s=seconds * 0.32,
            thaw_s=seconds * 0.66,
            step_down_s=seconds * 0.80,
            calm_s=seconds * 0.20,
        )


class Sightings:
    """Looks ten times a second who is primary, in a thread, and remembers each change."""

    def __init__(self, lab: MongoLab) -> None:
        self._lab = lab
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

    def _look_once(self) -> None:
        states = self._lab.states()
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
        lab: The nodes.
        plan: When.
        wait_until: Called with a moment of `time.monotonic`; returns when it has come.
        say: Called with a line about each thing that was done.
    """

    def __init__(
        self, lab: MongoLab, plan: Plan, *, wait_until: Callable[[float], None], say: Callable[[str], None]
    ) -> None:
        self._lab = lab
        self._plan = plan
        self._wait_until = wait_until
        self._say = say
        self.episodes: list[Episode] = []
        self.current = "none"

    def run(self, opened_s: float) -> None:
        """Kill the primary and bring it back, freeze the next and thaw it, make the third step down."""
        plan = self._plan
        self._strike(
            "SIGKILL",
            "killed",
            self._lab.kill,
            at_s=opened_s + plan.kill_s,
            mend=self._lab.start,
            mend_at_s=opened_s + plan.start_s,
        )
        self._strike(
            "SIGSTOP",
            "frozen",
            self._lab.freeze,
            at_s=opened_s + plan.freeze_s,
            mend=self._lab.thaw,
            mend_at_s=opened_s + plan.thaw_s,
        )
        self._strike("step-down", "stepping down", self._lab.step_down, at_s=opened_s + plan.step_down_s)
        self._wait_until(time.monotonic() + plan.calm_s)

    def _strike(
        self,
        name: str,
        state: str,
        strike: Callable[[LabNode], LabNode],
        *,
        at_s: float,
        mend: Callable[[LabNode], object] | None = None,
        mend_at_s: float = 0.0,
    ) -> None:
        self._wait_until(at_s)
        self._lab.wait_healthy()  # the fault before must be over, or there is no majority to go on with
        node = self._lab.primary()
        struck_s = time.monotonic()
        self.current = f"{node.name} {state}"
        self._say(f"{name}: the primary {node.name} is {state}")
        strike(node)
        elected_s = self._lab.wait_primary(other_than=node, timeout=ELECTION_S)
        self._say(f"{self._lab.primary().name} is primary, {elected_s - struck_s:.1f} s after the fault")
        if mend is not None:
            self._wait_until(mend_at_s)
            mend(node)
            self._say(f"{node.name} is back")
        mended_s = time.monotonic() if mend is not None else elected_s
        self.current = "none"
        self.episodes.append(
            Episode(name=name, node=node.name, started_s=struck_s, ended_s=mended_s, elected_s=elected_s)
        )
