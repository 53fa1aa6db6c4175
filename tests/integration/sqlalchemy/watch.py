"""What the servers and the events say of a fault while a test goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import undaunted

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from undaunted.lab import PostgresLab
    from undaunted.lab.node import LabNode

__all__ = ["Events", "Logs", "until"]


def until(condition: Callable[[], Any], *, timeout_s: float = 30.0, what: str = "the state") -> Any:
    """Wait for a state, and return what was waited for."""
    ends_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < ends_s, f"{what} did not come within {timeout_s:g} s"
        time.sleep(0.01)
    return found


class Logs:
    """When the servers wrote something to their logs, on `time.monotonic`: nobody asks them while they are measured."""

    def __init__(self, lab: PostgresLab) -> None:
        self._lab = lab
        self._read = {node.name: lab.log(node).stat().st_size for node in lab.nodes}

    def moments(self, node: LabNode, words: str) -> list[float]:
        """When it wrote these words since this was made."""
        with self._lab.log(node).open("rb") as log:
            log.seek(self._read[node.name])
            lines = [line for line in log.read().decode(errors="replace").splitlines() if words in line]
        behind_s = time.time() - time.monotonic()
        return [_stamp(line) - behind_s for line in lines]

    def writable_s(self, node: LabNode) -> float:
        """When a promoted node could confirm a write: it is a primary, and a standby that it waits for has come."""
        ready = until(lambda: self.moments(node, "ready to accept connections"), what="the promotion")
        follows = until(lambda: self.moments(node, "is now a synchronous standby"), what="its synchronous standby")
        return max(ready[-1], follows[0])


def _stamp(line: str) -> float:
    date, clock, zone = line.split(maxsplit=3)[:3]
    assert zone in ("UTC", "GMT"), f"the log's times are not in UTC: {line}"
    return datetime.strptime(f"{date} {clock}", "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=timezone.utc).timestamp()


@dataclass
class Events:
    """The events of undaunted with their times."""

    seen: list[tuple[float, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._end = undaunted.subscribe(lambda event: self.seen.append((time.monotonic(), event)))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def of(self, *kinds: type[Any], since_s: float = 0.0) -> list[Any]:
        """Those of these kinds, in order."""
        return [event for at_s, event in self.seen if isinstance(event, kinds) and at_s >= since_s]
