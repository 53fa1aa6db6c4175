"""What a scan has delivered so far: just enough to ask for the rest, or to know that one cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from undaunted.mongodb.resume import MISSING, after_key, delivers, same_key, sort_key, without_seen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol

    class Query(Protocol):
        """What is to be known of a find; `undaunted.mongodb.seams.CursorView` has it."""

        @property
        def ordering(self) -> Sequence[tuple[str, Any]]: ...
        @property
        def skip(self) -> int: ...
        @property
        def collation(self) -> Any: ...
        @property
        def projection(self) -> Mapping[str, Any] | None: ...
        @property
        def tailable(self) -> bool: ...
        @property
        def exhaust(self) -> bool: ...


__all__ = ["SEEN_LIMIT", "Progress"]

SEEN_LIMIT = 100_000
"""How many ``_id`` an unordered scan remembers: about 2 MB of a query that may hold 16 MB."""


class Progress:
    """The memory of one scan.

    Attributes:
        delivered: How many documents have been handed out.
        seen: The ``_id`` of each, while the scan has no usable order.
        obstacle: Why the scan cannot be resumed exactly, as a clause that ends "..., so the scan cannot be resumed";
            None while it can.
    """

    __slots__ = ("_is_by_key", "_key", "_ordering", "_skip", "_ties", "delivered", "obstacle", "seen")

    def __init__(self, query: Query) -> None:
        is_told = query.collation is None and all(delivers(query.projection, field) for field, _ in query.ordering)
        self._ordering = tuple(query.ordering) if is_told else ()
        self._skip = query.skip
        self._key: tuple[Any, ...] | None = None
        self._ties: list[Any] = []
        self._is_by_key = False
        self.seen: list[Any] = []
        self.delivered = 0
        self.obstacle: str | None = None
        if query.tailable or query.exhaust:
            self.obstacle = "the cursor is tailable or exhausts its connection"

    @classmethod
    def of_pipeline(cls, *, is_resumable: bool) -> Progress:
        """The memory of an aggregation, which has no sort key that can be told from outside."""
        made = cls(_Pipeline())
        if not is_resumable:
            made.obstacle = "a stage of the pipeline gives results without an _id of their own"
        return made

    def note(self, document: Mapping[str, Any]) -> None:
        """Remember that `document` is handed out.

        Raises:
            pymongo.errors.AutoReconnect: The scan was resumed by its sort key, and this document shows that its order
                does not tell what was delivered before.
        """
        self.delivered += 1
        if self.obstacle is not None:
            return
        if isinstance(document, RawBSONDocument):
            self._stop("documents come undecoded")
            return
        identity = document.get("_id", MISSING)
        if identity is MISSING:
            self._stop("documents come without their _id")
        elif self._ordering:
            self._note_key(document, identity)
        else:
            self._note_seen(identity)

    def _note_key(self, document: Mapping[str, Any], identity: Any) -> None:
        key = sort_key(document, self._ordering)
        if key is None:
            if self.delivered == 1:
                self._ordering = ()
                self._note_seen(identity)
                return
            self._stop("a sort field is left out, an array, or of a type whose place cannot be told here")
            if self._is_by_key:  # the resumed query may have brought this one a second time
                raise self.explain(AutoReconnect("A scan that lost its node could not be resumed exactly."))
        elif self._key is not None and same_key(key, self._key):
            self._ties.append(identity)
            if len(self._ties) > SEEN_LIMIT:
                self._stop(f"more than {SEEN_LIMIT} documents are level in the sort; add a unique field to it")
        else:
            self._key = key
            self._ties = [identity]

    def _note_seen(self, identity: Any) -> None:
        if self._skip:
            self._stop("skip() without a usable order means other documents on another node")
            return
        self.seen.append(identity)
        if len(self.seen) > SEEN_LIMIT:
            self._stop(f"more than {SEEN_LIMIT} documents came without a usable order; sort by a unique field")

    def _stop(self, obstacle: str) -> None:
        self.obstacle = obstacle
        self.seen = []
        self._ties = []

    def remaining(self) -> dict[str, Any]:
        """The filter for what has not been delivered."""
        if self._key is not None:
            self._is_by_key = True
            return after_key(self._ordering, self._key, self._ties)
        return without_seen(self.seen)

    def explain(self, error: BaseException) -> BaseException:
        """Add to `error` why the scan was not resumed, if that is so."""
        if self.obstacle is not None and hasattr(error, "add_note"):
            error.add_note(
                f"After {self.delivered} documents {self.obstacle}, so the scan cannot be resumed exactly. Begin it "
                "anew."
            )
        return error


class _Pipeline:
    """The query of an aggregation, as far as it matters here."""

    ordering: Sequence[tuple[str, Any]] = ()
    skip = 0
    collation = None
    projection: Mapping[str, Any] | None = None
    tailable = False
    exhaust = False
