"""What is being done: the facts about a call that decide whether it may be run again."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Kind", "Operation"]


class Kind(enum.Enum):
    """How a call acts on the data."""

    READ = "read"
    """Changes nothing, so it may always be run again."""

    WRITE = "write"
    """Changes data; run again after an unknown outcome only when it is idempotent."""

    UNIT_OF_WORK = "unit_of_work"
    """A transaction as a whole: after a rollback it is run again from its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call, as the decision sees it. Holds no value of the user's data.

    Attributes:
        name: The database's own name of the command, such as ``"insert"``; for logs and events.
        kind: How it acts on the data.
        idempotent: Whether running it twice has the effect of running it once: a read, a write
            that carries a transaction number, or one that its caller declared so.
        settleable: Whether the backend can find out afterwards what happened (a key row, a
            SERIAL read); such an operation is settled instead of being called unknown.
        patient: Whether executions do not count against `Policy.attempts`, because every one of
            them is the same write to the server (same transaction number); bounded by the deadline.
        needs_primary: Whether only the writable node can serve it.
    """

    name: str
    kind: Kind
    idempotent: bool = False
    settleable: bool = False
    patient: bool = False
    needs_primary: bool = True

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be run again although an earlier execution may have happened."""
        return self.idempotent or self.kind is Kind.READ
