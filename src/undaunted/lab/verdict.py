"""Holds what the application was told against what the database holds: lost, applied twice, applied in part.

Pure: the caller reads the database, after the faults, with a read that a failover cannot take back (for MongoDB, read
concern ``majority``), and hands over how often each operation's effect was found in each place where it belongs.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from undaunted.lab.errors import LabError
from undaunted.lab.ledger import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from undaunted.lab.ledger import Entry

__all__ = ["Passage", "Verdict", "check", "judge_passage"]

T = TypeVar("T")


class Passage(str, Enum):
    """What a scan delivered, held against what it should have; equal to its plain word."""

    EXACT = "exact"
    SHORT = "short"
    DOUBLED = "doubled"
    DISORDERED = "disordered"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of all operations of one kind.

    Attributes:
        operation: The kind.
        acknowledged: How many returned normally.
        raised: How many raised.
        open: How many never came back.
        lost: Keys of those that returned normally and are not wholly in the database.
        doubled: Keys of those whose effect is there more than once, whatever the application was told.
        torn: Keys of those whose effect is in some of its places and not in others.
        applied_though_raised: Keys of those that raised and are there.
        unexpected: Keys that are in the database and in no ledger.
        errors: How often each class of error was raised.
        notes: How often each note was taken.
    """

    operation: str
    acknowledged: int = 0
    raised: int = 0
    open: int = 0
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    torn: tuple[str, ...] = ()
    applied_though_raised: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    notes: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def is_clean(self) -> bool:
        """Whether something was done, all of it came back normally, and each effect is there exactly once."""
        spoilt = self.raised or self.open or self.lost or self.doubled or self.torn or self.unexpected
        return self.acknowledged > 0 and not spoilt


def check(operation: str, entries: Iterable[Entry], found: Mapping[str, Sequence[int]] | None = None) -> Verdict:
    """Judge all operations of one kind.

    Args:
        operation: The kind; entries of other kinds are passed over.
        entries: The ledger, complete.
        found: For each key how often its effect was found in each place where it belongs: ``[1]`` for a document
            that is there once, ``[1, 1, 2]`` for an update of three documents that hit the last one twice. A key
            that is missing was found nowhere. None for reads, which leave nothing behind.

    Raises:
        LabError: Two operations have the same key, so that their effects cannot be told apart.
    """
    chosen = [entry for entry in entries if entry.operation == operation]
    keys = Counter(entry.key for entry in chosen)
    if found is not None and len(keys) < len(chosen):
        twice = next(key for key, count in keys.items() if count > 1)
        raise LabError(f"Two operations of {operation!r} have the key {twice!r}; give each a key of its own.")
    outcomes = Counter(entry.outcome for entry in chosen)
    effects = found or {}
    was_applied = {entry.key: any(effects.get(entry.key, ())) for entry in chosen}
    is_whole = {entry.key: bool(effects.get(entry.key)) and all(effects[entry.key]) for entry in chosen}
    is_write = found is not None
    return Verdict(
        operation=operation,
        acknowledged=outcomes[Outcome.OK],
        raised=outcomes[Outcome.RAISED],
        open=outcomes[Outcome.OPEN],
        lost=tuple(e.key for e in chosen if is_write and e.outcome is Outcome.OK and not is_whole[e.key]),
        doubled=tuple(key for key, counts in effects.items() if any(count > 1 for count in counts)),
        torn=tuple(e.key for e in chosen if was_applied[e.key] and not is_whole[e.key]),
        applied_though_raised=tuple(e.key for e in chosen if e.outcome is Outcome.RAISED and was_applied[e.key]),
        unexpected=tuple(key for key, counts in effects.items() if key not in keys and any(counts)),
        errors=dict(Counter(entry.error for entry in chosen if entry.error is not None)),
        notes=dict(Counter(entry.note for entry in chosen if entry.note is not None)),
    )


def judge_passage(expected: Sequence[T], delivered: Sequence[T]) -> Passage:
    """What a scan that should have delivered `expected`, each once and in this order, did deliver.

    Something left out weighs most: a scan that is short and doubled is `Passage.SHORT`.
    """
    if list(expected) == list(delivered):
        return Passage.EXACT
    wanted, given = Counter(expected), Counter(delivered)
    if wanted - given:
        return Passage.SHORT
    if given - wanted:
        return Passage.DOUBLED
    return Passage.DISORDERED
