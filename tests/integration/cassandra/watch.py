"""What the nodes and the events say of a fault while a test goes on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cassandra import ConsistencyLevel

import undaunted
from undaunted.events import CallFailed, NodeFound, NodeLost, OutcomeLeftUnknown, RetryScheduled
from undaunted.lab.cql import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from undaunted.lab import CassandraLab
    from undaunted.lab.node import LabNode

__all__ = ["Watch", "until", "usable"]


def until(condition: Callable[[], Any], *, timeout_s: float = 60.0, what: str = "the state") -> Any:
    """Wait for a state, and return what was waited for."""
    ends_s = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < ends_s, f"{what} did not come within {timeout_s:g} s"
        time.sleep(0.02)
    return found


@dataclass
class Watch:
    """The events of undaunted with their times, and what the logs of the servers say."""

    lab: CassandraLab
    events: list[tuple[float, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._end = undaunted.subscribe(
            lambda event: self.events.append((time.monotonic(), event)),
            NodeLost,
            NodeFound,
            RetryScheduled,
            CallFailed,
            OutcomeLeftUnknown,
        )
        self._read = {node.name: self.lab.log(node).stat().st_size for node in self.lab.nodes}
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end()

    def convicted(self, node: LabNode, *, timeout_s: float = 60.0) -> float:
        """Wait until every other node that is up holds this one for dead; returns when, on the monotonic clock."""
        others = [one for one in self.lab.nodes if one.name != node.name and self.lab.state(one).value == "up"]
        until(
            lambda: all(self._says(one, f"{node.host}:7000 is now DOWN") for one in others),
            timeout_s=timeout_s,
            what=f"the conviction of {node.name}",
        )
        return time.monotonic()

    def _says(self, node: LabNode, words: str) -> bool:
        with self.lab.log(node).open("rb") as log:
            log.seek(self._read[node.name])
            return words.encode() in log.read()

    def met(self, node: LabNode, *, since_s: float, until_s: float = float("inf")) -> list[tuple[float, str]]:
        """When calls have waited for this node in vain, with the names of the events."""
        return [
            (at_s, f"{type(event).__name__} {event.operation} {event.error}")
            for at_s, event in self.events
            if since_s <= at_s <= until_s
            and isinstance(event, (RetryScheduled, OutcomeLeftUnknown))
            and event.node == node.address
            and event.error in ("OperationTimedOut", "OutcomeUnknown")
        ]

    def tries(self, operation: str, *, since_s: float) -> str:
        """The attempts of an operation that failed, for the figures."""
        found = [
            f"{at_s - since_s:.1f} s {event.node} {event.error}"
            for at_s, event in self.events
            if isinstance(event, (RetryScheduled, CallFailed)) and event.operation == operation and at_s >= since_s
        ]
        return ", ".join(found) or "none"

    def told(self, kind: type[Any], node: LabNode, *, since_s: float) -> list[float]:
        """When an event of this kind named the node."""
        return [at_s for at_s, e in self.events if isinstance(e, kind) and e.node == node.address and at_s >= since_s]


def usable(lab: CassandraLab, keyspace: str, *, timeout_s: float = 90.0) -> float:
    """Wait until some node takes a write at LOCAL_QUORUM from a client of its own; returns when that was so."""
    insert = f"INSERT INTO {keyspace}.item (key, n) VALUES ('usable', 1)"

    def is_taken() -> float | None:
        for node in lab.nodes:
            try:
                with lab.connect(node, timeout_s=1.0) as connection:
                    connection.query(insert, consistency=ConsistencyLevel.LOCAL_QUORUM)
                    return time.monotonic()
            except (OSError, Refused):
                continue
        return None

    at_s: float = until(is_taken, timeout_s=timeout_s, what="a node that takes writes")
    return at_s
