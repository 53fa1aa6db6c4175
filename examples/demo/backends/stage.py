"""What the demo must be told of a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from undaunted.lab.ledger import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from script import Faults
    from serving import Customers

    from undaunted.lab import LabNode
    from undaunted.lab.lab import Lab
    from undaunted.lab.ledger import Entry, Ledger

__all__ = ["ALIAS", "Audit", "Effects", "Kinds", "Stage", "of_sums", "once"]

ALIAS = "shop"
"""The name of the cluster, on both sides."""

Effects = dict[str, list[int]]
Audit = tuple[dict[str, Effects], int]
"""The effects by kind and key, and how many sums differ from the names beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The kinds of operation of one backend.

    Attributes:
        orm: The plain side's name.
        checked_at: At what the databases are read at the end.
        writes: Kinds of writes.
        single: Kinds of which nothing in the database can make a second run harmless, so that a lost answer must be
            told as `OutcomeUnknown`. For all others undaunted may raise nothing.
        blind: Kinds whose second run sets the same and so is not seen.
    """

    orm: str
    checked_at: str
    writes: tuple[str, ...]
    single: tuple[str, ...] = ()
    blind: tuple[str, ...] = ("save changed",)
    reads: tuple[str, ...] = ("point read",)
    scans: tuple[str, ...] = ("scan",)


class Stage(ABC):
    """One backend: where it runs, what is done to it, and what it is asked.

    The same object serves the one who runs the demo (`lab`, `settings`, faults, `audit`) and each side in its own
    process (`customers`).
    """

    backend: ClassVar[str]
    kinds: ClassVar[Kinds]
    has_primary: ClassVar[bool] = True

    @abstractmethod
    def lab(self) -> Lab:
        """The nodes, not yet started."""

    @abstractmethod
    def settings(self, lab: Any, database: str) -> dict[str, Any]:
        """What a side is told of the nodes; its database is there when this returns."""

    def reach(self, lab: Any, database: str) -> str | None:  # noqa: ARG002  # most need no more than the settings
        """A URL for the plain side, where it needs one."""
        return None

    @abstractmethod
    def customers(self, spec: dict[str, Any], ledger: Ledger) -> Customers:
        """Connect as the spec says."""

    @abstractmethod
    def audit(self, lab: Any, database: str, entries: Sequence[Entry]) -> Audit:
        """For each write, how often its effect is found where it belongs."""

    # -- faults

    def revive(self, lab: Any, node: LabNode) -> None:
        """Bring a killed node back."""
        lab.start(node)

    def thaw(self, lab: Any, node: LabNode) -> None:
        """Bring a frozen node back."""
        lab.thaw(node)

    @abstractmethod
    def last_fault(self, faults: Faults, lab: Any, *, at_s: float, is_quick: bool) -> None:
        """What comes after a kill and a freeze."""


def once(keys: Iterable[str]) -> Effects:
    """Effects of what leaves one thing of its name behind."""
    return {key: [count] for key, count in Counter(keys).items()}


def of_sums(kind: str, entries: Sequence[Entry], sums: dict[str, int]) -> Effects:
    """Effects of what leaves nothing behind but a sum: ``name@counter`` each adds one to its counter.

    Who of those that raised was applied cannot be told, nor need be: a sum below what was acknowledged has lost some,
    and one above that and all that raised has been added to twice.
    """
    effects: Effects = {}
    for counter, total in sums.items():
        own = [e for e in entries if e.operation == kind and e.key.rpartition("@")[2] == counter]
        own.sort(key=lambda entry: entry.outcome is not Outcome.OK)  # the acknowledged first
        for entry in own[:total]:
            effects[entry.key] = [1]
        if own and total > len(own):
            effects[own[0].key] = [1 + total - len(own)]
    return effects
