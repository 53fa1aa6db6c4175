"""One node as it was last seen: a value, made by its monitor and weighed by `undaunted.sqlalchemy.choice`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undaunted.core.node import Role

__all__ = ["Sight", "lsn_of", "lsn_text"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a node said when it was asked last; times are on the monotonic clock.

    Attributes:
        address: The node, as ``"host:port"``.
        role: ``"primary"`` when it takes writes, ``"replica"`` when it is in recovery, ``"unknown"`` when it is lost or
            was never heard.
        timeline: The timeline on which a primary writes; of a replica, that of its last restartpoint, which may be old.
        lsn: Of a primary, the position up to which its log held all that had been committed when it was asked; of a
            replica, up to where it has replayed.
        flushed_lsn: Of a primary, the position up to which its log was on its disk; None for a replica.
        fork_lsn: Of a primary that was a replica, where it stopped replaying and its own timeline began; None where
            it does not know.
        system_identifier: What all nodes of one cluster share.
        server_version: Such as ``150018``.
        waits_for_standby: Whether a COMMIT there waits for a synchronous standby, and none follows it.
        asked_s: When the question was sent.
        answered_s: When the answer came; None when none came.
        latency_s: Seconds between the two.
        error: Class name or SQLSTATE of what stood in the way; None when the node answered.
    """

    address: str
    role: Role = "unknown"
    timeline: int | None = None
    lsn: int | None = None
    flushed_lsn: int | None = None
    fork_lsn: int | None = None
    system_identifier: int | None = None
    server_version: int | None = None
    waits_for_standby: bool = False
    asked_s: float | None = None
    answered_s: float | None = None
    latency_s: float | None = None
    error: str | None = None

    def known_as(self, system_identifier: int | None, server_version: int) -> Sight:
        """The same with what a node says once, when it is connected to."""
        return replace(self, system_identifier=system_identifier, server_version=server_version)

    @property
    def is_up(self) -> bool:
        """Whether it answered, and can be used."""
        return self.role != "unknown"


def lsn_of(text: str) -> int:
    """A position of the log as a number, from PostgreSQL's own form: ``"16/B374D848"``.

    Raises:
        ValueError: It is no position.
    """
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} is not a position of the log; one is written like 16/B374D848")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(lsn: int) -> str:
    """A position of the log in PostgreSQL's own form."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
