"""What arrived and what was executed, in order, so that a test can prove "applied once"."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Executed", "Journal", "Request", "is_internal"]

_INTERNAL = re.compile(r"^\s*USE\b|\bsystem(?:_schema|_virtual_schema)?\s*\.", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that arrived.

    Attributes:
        number: In the order of arrival, from 1.
        node: The number of the node that it came to.
        connection: The number of the connection.
        opcode: ``"QUERY"``, ``"EXECUTE"`` ...
        text: Of the statement; of a BATCH all of them between BEGIN and APPLY; empty for what has none.
        consistency: By its name; empty for what has none.
        serial_consistency: By its name; None where the client named none.
        timestamp: That the client put on the request, in microseconds.
        page_size: Rows a page.
        paging_state: Where a SELECT goes on.
        page: Which page of a SELECT that is, from 1.
        keyspace: That the connection uses.
        at_s: When, by `time.monotonic`.
        internal: Whether drivers ask for it by themselves: handshakes, heartbeats, the tables of the system, USE.
    """

    number: int
    node: int
    connection: int
    opcode: str
    text: str = ""
    consistency: str = ""
    serial_consistency: str | None = None
    timestamp: int | None = None
    page_size: int | None = None
    paging_state: bytes | None = None
    page: int = 1
    keyspace: str | None = None
    at_s: float
    internal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """One statement, or batch, that was executed.

    Attributes:
        request: What asked for it.
        applied: Whether it changed anything: False for a read, and for a condition that did not hold.
        timestamp: What its writes carry, in microseconds; None for what writes none.
        at_s: When, by `time.monotonic`; later than the request where a script or a frozen node held it up.
    """

    request: Request
    applied: bool
    timestamp: int | None
    at_s: float

    @property
    def node(self) -> int:
        """The number of the node that executed it."""
        return self.request.node

    @property
    def text(self) -> str:
        """The statement."""
        return self.request.text


class Journal:
    """Grows while the cluster lives. Safe to read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._executed: list[Executed] = []

    def arrived(self, request: Request) -> None:
        """Note a request."""
        with self._lock:
            self._requests.append(request)

    def executed(self, request: Request, *, applied: bool, timestamp: int | None) -> None:
        """Note an execution."""
        with self._lock:
            self._executed.append(
                Executed(request=request, applied=applied, timestamp=timestamp, at_s=time.monotonic())
            )

    def requests(self) -> Sequence[Request]:
        """Every request."""
        with self._lock:
            return tuple(self._requests)

    def executions(self) -> Sequence[Executed]:
        """Every execution."""
        with self._lock:
            return tuple(self._executed)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._requests.clear()
            self._executed.clear()


def is_internal(text: str) -> bool:
    """Whether drivers send such a statement by themselves: about the tables of the system, and USE."""
    return bool(_INTERNAL.search(text))
