"""Cursors that go on where they were after their node is lost, or fail loudly, and fail again when asked again.

pymongo's own cursor, once failed, ends as if it had come to its end: iterated again, a queryset is short without a
word. Here a cursor that failed raises the same error at each further step until it is rewound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from pymongo.command_cursor import CommandCursor as DriverCommandCursor
from pymongo.cursor import Cursor as DriverCursor

from undaunted.core.operation import Kind, Operation
from undaunted.engine import sync
from undaunted.events import CursorResumed
from undaunted.mongodb import scope, seams
from undaunted.mongodb.operations import GET_MORE
from undaunted.mongodb.progress import Progress
from undaunted.mongodb.resume import without_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self

    from undaunted.engine.call import Call
    from undaunted.engine.guard import Guard
    from undaunted.mongodb.client import MongoClient
    from undaunted.mongodb.database import Collection

__all__ = ["AggregateCursor", "Cursor"]

_FETCH = Operation(name=GET_MORE, kind=Kind.READ, idempotent=True, patient=True, needs_primary=False)
_END: Final = object()


def _guard_of(collection: Any) -> Guard:
    return cast("MongoClient", collection.database.client).guard


def _resuming(collection: Any, step: Callable[[], Any], resume: Callable[[], None], progress: Progress) -> Any:
    """Run `step`; when its node is lost, `resume` and run it again, until the deadline. Returns `_END` at the end."""
    guard = _guard_of(collection)
    again = False

    def body(call: Call) -> Any:
        nonlocal again
        if again:
            resume()
            lost = call.attempts[-1].node if call.attempts else None
            guard.publish(
                CursorResumed(cluster=guard.cluster, backend=guard.backend, node=lost, delivered=progress.delivered)
            )
        again = True
        try:
            return step()
        except StopIteration:
            return _END

    with scope.under(collection.policy):
        return sync.run(guard, _FETCH, body, policy=scope.policy_in_force(guard))


def _drop_if_lost(cursor: DriverCursor[Any] | DriverCommandCursor[Any], collection: Any) -> None:
    """Forget a cursor on the server when its node is known to be gone."""
    if cursor.cursor_id and not cast("MongoClient", collection.database.client).knows(cursor.address):
        seams.abandon(cursor)


class Cursor(DriverCursor[dict[str, Any]]):
    """A `pymongo.cursor.Cursor` over a find that is resumed exactly, or raises."""

    # A cursor that has not begun. On the class, and below pymongo's private names instead of its properties, because
    # each call that is added here is paid by every query (docs/cost.md), that of `super` too.
    _undaunted_failure: BaseException | None = None
    _undaunted_is_whole = False  # all that is left is here: nothing can be lost any more
    _undaunted_progress: Progress | None = None
    _undaunted_query: seams.CursorView | None = None
    # Until pymongo's __init__ says otherwise, since a cursor that it refuses to make holds nothing.
    _killed, _session, _sock_mgr = True, None, None

    def next(self) -> dict[str, Any]:
        """The next document.

        Raises:
            StopIteration: There is none, and none was left out.
        """
        if self._undaunted_is_whole:
            return DriverCursor.next(self)
        if self._undaunted_failure is not None:
            raise self._undaunted_failure
        if self._undaunted_progress is not None:
            return self._go_on(self._undaunted_progress)
        collection: Any = self._collection
        try:
            if collection.policy is None:
                document = DriverCursor.next(self)
            else:
                with scope.under(collection.policy):
                    document = DriverCursor.next(self)
        except StopIteration:
            raise
        except Exception as error:
            self._undaunted_failure = error
            raise
        if not self._id:
            self._undaunted_is_whole = True
            return document
        # There is more than one batch, so it is remembered from here on what was delivered.
        self._undaunted_query = query = seams.CursorView(self)
        self._undaunted_progress = progress = Progress(query)
        progress.note(document)
        return document

    __next__ = next  # noqa: A003  # this class's own

    def _go_on(self, progress: Progress) -> dict[str, Any]:
        """The next document of a query with several batches."""
        document = super().next() if self._data else self._fetch(progress)
        if self._id:
            try:
                progress.note(document)
            except Exception as error:
                self._undaunted_failure = error
                raise
        return document

    def _fetch(self, progress: Progress) -> dict[str, Any]:
        """Get the next batch, from another node if need be."""
        if not self.cursor_id:
            raise StopIteration
        session = self.session
        step = super().next
        try:
            if progress.obstacle is None and not (session is not None and session.in_transaction):
                document = _resuming(self.collection, step, self._resume, progress)
            else:
                document = step()
        except StopIteration:
            raise
        except Exception as error:
            self._undaunted_failure = progress.explain(error)
            raise
        if document is _END:
            raise StopIteration
        return cast("dict[str, Any]", document)

    def _resume(self) -> None:
        """Turn this cursor into a fresh query for what is still to come."""
        progress, query = self._undaunted_progress, self._undaunted_query
        assert progress is not None  # noqa: S101  # only a cursor that has begun is resumed
        assert query is not None  # noqa: S101
        super().rewind()
        spec = {"$and": [query.filter, progress.remaining()]} if query.filter else progress.remaining()
        limit = query.limit - progress.delivered if query.limit else 0
        seams.set_query(self, spec=spec, skip=0, limit=limit)

    def rewind(self) -> Self:
        """As pymongo's: the next step begins the query anew, and a failure is forgotten."""
        self._restore(self)
        self._undaunted_failure = self._undaunted_progress = self._undaunted_query = None
        self._undaunted_is_whole = False
        return cast("Self", super().rewind())

    def clone(self) -> Self:
        """As pymongo's: the same query, not yet begun."""
        return self._restore(cast("Self", super().clone()))

    def __copy__(self) -> Self:
        return self._restore(cast("Self", super().__copy__()))

    def __deepcopy__(self, memo: Any) -> Self:
        return self._restore(cast("Self", super().__deepcopy__(memo)))

    def _restore(self, cursor: Self) -> Self:
        """Give `cursor` the query as it was asked, not as it was resumed."""
        query = self._undaunted_query
        if query is not None:
            seams.set_query(cursor, spec=query.filter, skip=query.skip, limit=query.limit)
        return cursor

    def close(self) -> None:
        """As pymongo's; does not wait for a node that is gone."""
        if self._id:
            _drop_if_lost(self, self.collection)
        DriverCursor.close(self)

    def __del__(self) -> None:
        if (self._killed or not self._id) and not self._session and not self._sock_mgr:
            return  # closed, as nearly every cursor is when its last batch has come, or never begun: it holds nothing
        if self._id:
            _drop_if_lost(self, self.collection)
        super().__del__()

    def to_list(self, length: int | None = None) -> list[dict[str, Any]]:
        """The documents still to come, at most `length` of them."""
        return _take(self, length)


class AggregateCursor(DriverCommandCursor[dict[str, Any]]):
    """A `pymongo.command_cursor.CommandCursor` over an aggregation that is resumed exactly, or raises.

    Args:
        collection: Where the aggregation runs.
        plain: The driver's cursor, already open.
        pipeline: The stages, to be run again with what was delivered left out.
        options: What else was given to ``aggregate``.
        is_resumable: Whether each result has an ``_id`` of its own (`is_pipeline_resumable`).
    """

    def __init__(
        self,
        collection: Collection,
        plain: DriverCommandCursor[dict[str, Any]],
        *,
        pipeline: Sequence[Any],
        options: dict[str, Any],
        is_resumable: bool,
    ) -> None:
        self._undaunted_collection = collection
        self._undaunted_plain = plain
        self._undaunted_pipeline = pipeline
        self._undaunted_options = options
        self._undaunted_failure: BaseException | None = None
        self._undaunted_progress = Progress.of_pipeline(is_resumable=is_resumable)

    def __del__(self) -> None:
        """Nothing of the base class was opened; the driver's cursor within closes itself."""
        plain = self.__dict__.get("_undaunted_plain")
        if plain is not None:
            _drop_if_lost(plain, self._undaunted_collection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_undaunted_plain"], name)

    @property
    def alive(self) -> bool:
        """Whether there may be more."""
        return self._undaunted_plain.alive

    @property
    def cursor_id(self) -> int | None:
        """The server's id of the cursor now in use."""
        return self._undaunted_plain.cursor_id

    @property
    def address(self) -> Any:
        """The node of the cursor now in use."""
        return self._undaunted_plain.address

    @property
    def session(self) -> Any:
        """As pymongo's."""
        return self._undaunted_plain.session

    def batch_size(self, batch_size: int) -> Self:
        """As pymongo's."""
        self._undaunted_plain.batch_size(batch_size)
        self._undaunted_options = {**self._undaunted_options, "batchSize": batch_size}
        return self

    def close(self) -> None:
        """As pymongo's; does not wait for a node that is gone."""
        _drop_if_lost(self._undaunted_plain, self._undaunted_collection)
        self._undaunted_plain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def next(self) -> dict[str, Any]:
        """The next result.

        Raises:
            StopIteration: There is none, and none was left out.
        """
        if self._undaunted_failure is not None:
            raise self._undaunted_failure
        progress = self._undaunted_progress
        if seams.has_buffered(self._undaunted_plain):
            document = self._undaunted_plain.next()
        elif not self._undaunted_plain.cursor_id:
            raise StopIteration
        else:
            document = self._fetch(progress)
        progress.note(document)
        return document

    __next__ = next  # noqa: A003  # this class's own

    def try_next(self) -> dict[str, Any] | None:
        """The next result, or None when there is none."""
        return next(self, None)

    def to_list(self, length: int | None = None) -> list[dict[str, Any]]:
        """The results still to come, at most `length` of them."""
        return _take(self, length)

    def _fetch(self, progress: Progress) -> dict[str, Any]:
        try:
            if progress.obstacle is None:
                document = _resuming(self._undaunted_collection, self._step, self._resume, progress)
            else:
                document = self._step()
        except StopIteration:
            raise
        except Exception as error:
            self._undaunted_failure = progress.explain(error)
            raise
        if document is _END:
            raise StopIteration
        return cast("dict[str, Any]", document)

    def _step(self) -> dict[str, Any]:
        return self._undaunted_plain.next()

    def _resume(self) -> None:
        rest = [*self._undaunted_pipeline, {"$match": without_seen(self._undaunted_progress.seen)}]
        self._undaunted_plain = self._undaunted_collection.aggregate_plain(rest, **self._undaunted_options)


def _take(cursor: Any, length: int | None) -> list[dict[str, Any]]:
    """At most `length` documents of `cursor`, or all of them."""
    taken: list[dict[str, Any]] = []
    if length is not None and length < 1:
        raise ValueError(f"to_list() length must be 1 or more, not {length}.")
    for document in cursor:
        taken.append(document)
        if len(taken) == length:
            break
    return taken
