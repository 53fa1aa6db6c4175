"""Databases and collections of this backend: pymongo's own, whose many-document writes and cursors are safe.

A write to one document is numbered by the driver, so `MongoClient` can run it again. A write to many is not:
when its reply is lost, it was applied wholly, in part or not at all. Here it runs in a short transaction.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, cast

from bson.regex import Regex
from pymongo.collection import Collection as DriverCollection
from pymongo.database import Database as DriverDatabase
from pymongo.errors import DuplicateKeyError
from pymongo.results import InsertOneResult
from pymongo.write_concern import WriteConcern

from undaunted.core.fault import Fault
from undaunted.mongodb import scope, seams
from undaunted.mongodb.cursors import AggregateCursor, Cursor
from undaunted.mongodb.many import run_whole
from undaunted.mongodb.resume import is_pipeline_resumable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bson.codec_options import CodecOptions
    from pymongo.client_session import ClientSession
    from pymongo.command_cursor import CommandCursor
    from pymongo.read_concern import ReadConcern
    from pymongo.results import BulkWriteResult, DeleteResult, InsertManyResult, UpdateResult

    from undaunted.core.attempt import Attempt
    from undaunted.core.policy import Policy
    from undaunted.mongodb.client import MongoClient

__all__ = ["Collection", "Database"]


class Database(DriverDatabase[dict[str, Any]]):
    """A `pymongo.database.Database` that hands out collections of this backend."""

    @classmethod
    def of(cls, plain: DriverDatabase[Any]) -> Database:
        """The same database, with the same options, as one of this backend."""
        return cls(
            plain.client,
            plain.name,
            plain.codec_options,
            plain.read_preference,
            plain.write_concern,
            plain.read_concern,
        )

    def __getitem__(self, name: str) -> Collection:
        made = Collection(self, name)
        policy = scope.policy_of_collection(cast("MongoClient", self.client).guard, name)
        return made if policy is None else made.under(policy)

    def get_collection(self, name: str, *args: Any, **kwargs: Any) -> Collection:
        """As pymongo's, with a `Collection` of this backend."""
        return Collection.of(super().get_collection(name, *args, **kwargs), self)

    def create_collection(self, name: str, *args: Any, **kwargs: Any) -> Collection:
        """As pymongo's, with a `Collection` of this backend."""
        return Collection.of(super().create_collection(name, *args, **kwargs), self)

    def with_options(self, *args: Any, **kwargs: Any) -> Database:  # type: ignore[override]  # generic overloads
        """As pymongo's, with a `Database` of this backend."""
        return Database.of(super().with_options(*args, **kwargs))


class Collection(DriverCollection[dict[str, Any]]):
    """A `pymongo.collection.Collection` whose every operation outlives the primary."""

    policy: Policy | None = None
    """The policy of the model that this collection was made for, where the model has one of its own."""

    @classmethod
    def of(cls, plain: DriverCollection[Any], database: DriverDatabase[Any] | None = None) -> Collection:
        """The same collection, with the same options, as one of this backend."""
        return cls(
            database if database is not None else plain.database,
            plain.name,
            False,  # noqa: FBT003  # the driver's own signature
            plain.codec_options,
            plain.read_preference,
            plain.write_concern,
            plain.read_concern,
        )

    def under(self, policy: Policy) -> Collection:
        """This collection for a model with a policy of its own."""
        found = ModelCollection.of(self)
        found.policy = policy
        return found

    @property
    def _guarded_client(self) -> MongoClient:
        return cast("MongoClient", self.database.client)

    def __getitem__(self, name: str) -> Collection:
        return self._like(super().__getitem__(name))

    def with_options(  # type: ignore[override]  # generic overloads
        self,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: Any | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Collection:
        """As pymongo's, with a `Collection` of this backend.

        Itself where nothing changes, as when MongoEngine asks for it before each write: making one is dear.
        """
        if (
            codec_options is None
            and read_preference is None
            and (write_concern is None or write_concern == self._write_concern)
            and (read_concern is None or read_concern == self._read_concern)
        ):
            return self
        return self._like(super().with_options(codec_options, read_preference, write_concern, read_concern))

    def _like(self, plain: DriverCollection[Any]) -> Collection:
        found = type(self).of(plain)
        if self.policy is not None:
            found.policy = self.policy
        return found

    @property
    def write_concern(self) -> WriteConcern:
        """As pymongo's; within a transaction none, since the transaction as a whole has one."""
        if seams.BOUND_SESSION.get() is not None:
            bound = seams.bound_session(self._guarded_client)
            if bound is not None and bound.in_transaction:
                return _NO_CONCERN
        return self._write_concern

    # -- cursors ----------------------------------------------------------------------------------

    def find(self, *args: Any, **kwargs: Any) -> Cursor:
        """As pymongo's, with a cursor that goes on after its node is lost."""
        return Cursor(self, *args, **kwargs)

    def aggregate(  # type: ignore[override]
        self, pipeline: Any, session: ClientSession | None = None, **kwargs: Any
    ) -> CommandCursor[dict[str, Any]]:
        """As pymongo's, with a cursor that goes on after its node is lost where that can be exact."""
        plain = super().aggregate(pipeline, session, **kwargs)
        if plain.session is not None or not plain.cursor_id:  # within a session, or nothing left to lose
            return plain
        resumable = is_pipeline_resumable(pipeline)
        return AggregateCursor(self, plain, pipeline=list(pipeline), options=kwargs, is_resumable=resumable)

    def aggregate_plain(self, pipeline: Sequence[Mapping[str, Any]], **kwargs: Any) -> CommandCursor[dict[str, Any]]:
        """Aggregate with the driver's own cursor, for the one that resumes."""
        return super().aggregate(pipeline, **kwargs)

    def estimated_document_count(self, comment: Any | None = None, **kwargs: Any) -> int:
        """As pymongo's; within a transaction, where a server refuses to estimate, it counts."""
        bound = seams.bound_session(self._guarded_client)
        if bound is not None and bound.in_transaction:
            return self.count_documents({}, comment=comment)
        return super().estimated_document_count(comment, **kwargs)

    # -- writes to one document ---------------------------------------------------------------------

    def insert_one(self, document: Any, *args: Any, **kwargs: Any) -> InsertOneResult:
        """As pymongo's; a duplicate of the ``_id`` that the driver made, met on a re-run, is the first run's doing."""
        has_id = "_id" in document
        try:
            return super().insert_one(document, *args, **kwargs)
        except DuplicateKeyError as error:
            if has_id or not _is_own_duplicate(error):
                raise
        return InsertOneResult(document["_id"], acknowledged=True)

    # -- writes to many documents -----------------------------------------------------------------

    def update_many(self, *args: Any, session: ClientSession | None = None, **kwargs: Any) -> UpdateResult:
        """As pymongo's, in a short transaction of its own, so that a lost reply leaves nothing half done.

        What names a single document by its ``_id`` needs none: it is sent as the write to one document that it is.
        """
        if len(args) <= _COMMON_ARGUMENTS and _names_one(args[0] if args else kwargs.get("filter"), kwargs):
            kwargs["session"] = session
            return self.update_one(*args, **kwargs)
        return run_whole(self, session, functools.partial(super().update_many, *args, **kwargs))

    def delete_many(self, *args: Any, session: ClientSession | None = None, **kwargs: Any) -> DeleteResult:
        """As pymongo's, in a short transaction of its own, so that a lost reply leaves nothing half done.

        What names a single document by its ``_id`` needs none: it is sent as the write to one document that it is.
        """
        if len(args) <= 1 and _names_one(args[0] if args else kwargs.get("filter"), kwargs):
            kwargs["session"] = session
            return self.delete_one(*args, **kwargs)
        return run_whole(self, session, functools.partial(super().delete_many, *args, **kwargs))

    def insert_many(
        self, documents: Iterable[Any], *args: Any, session: ClientSession | None = None, **kwargs: Any
    ) -> InsertManyResult:
        """As pymongo's, in a short transaction of its own, so that a lost reply leaves nothing half done."""
        given = documents if isinstance(documents, list) else list(documents)
        return run_whole(self, session, functools.partial(super().insert_many, given, *args, **kwargs))

    def bulk_write(
        self, requests: Sequence[Any], *args: Any, session: ClientSession | None = None, **kwargs: Any
    ) -> BulkWriteResult:
        """As pymongo's, in a short transaction of its own, so that a lost reply leaves nothing half done."""
        given = requests if isinstance(requests, list) else list(requests)
        return run_whole(self, session, functools.partial(super().bulk_write, given, *args, **kwargs))


_NO_CONCERN = WriteConcern()
_COMMON_ARGUMENTS = 3
"""Positional arguments that ``update_one`` and ``update_many`` have in common: filter, update, upsert."""


def _names_one(query: Any, options: dict[str, Any]) -> bool:
    """Whether a filter names a single document by its ``_id`` (under a collation, two may be level)."""
    if not isinstance(query, dict) or "_id" not in query or options.get("collation") is not None:
        return False
    identity = query["_id"]
    if isinstance(identity, (re.Pattern, Regex)):
        return False
    return not (isinstance(identity, dict) and any(str(key).startswith("$") for key in identity))


def _is_own_duplicate(error: DuplicateKeyError) -> bool:
    """Whether the ``_id`` is there because an earlier run of the same insert, whose answer was lost, put it there."""
    attempts: tuple[Attempt, ...] = getattr(error, "attempts", ())
    pattern = (error.details or {}).get("keyPattern")
    return pattern == {"_id": 1} and any(attempt.fault is Fault.UNKNOWN for attempt in attempts[:-1])


class ModelCollection(Collection):
    """A collection whose operations run under a model's own policy."""


_OPERATIONS = (
    "aggregate", "bulk_write", "count_documents", "create_index", "create_indexes", "delete_many", "delete_one",
    "distinct", "drop", "drop_index", "drop_indexes", "estimated_document_count", "find_one", "find_one_and_delete",
    "find_one_and_replace", "find_one_and_update", "index_information", "insert_many", "insert_one", "list_indexes",
    "options", "rename", "replace_one", "update_many", "update_one",
)  # fmt: skip


def _scoped(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def scoped(self: ModelCollection, *args: Any, **kwargs: Any) -> Any:
        with scope.under(self.policy):
            return method(self, *args, **kwargs)

    return scoped


for _name in _OPERATIONS:
    setattr(ModelCollection, _name, _scoped(getattr(Collection, _name)))
