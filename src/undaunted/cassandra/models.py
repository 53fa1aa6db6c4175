"""Model bases: cqlengine's own, which find their cluster by declaration and tell the session what they are doing."""

# ruff: noqa: SLF001  (cqlengine has no public names for what a queryset knows of its batch and its model)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cassandra.cqlengine import CQLEngineException, models
from cassandra.cqlengine.query import DMLQuery, ModelQuerySet

from undaunted.cassandra import seams
from undaunted.cassandra.direct import execute
from undaunted.cassandra.partly import keep, tell
from undaunted.cassandra.places import place_of
from undaunted.cassandra.scope import ORIGIN, Origin
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GuardedDML", "GuardedQuerySet", "Model", "ModelMixin"]


class GuardedQuerySet(ModelQuerySet):  # type: ignore[misc]  # cqlengine is untyped
    """cqlengine's queryset, which says what it executes and never mistakes an error for the end of the rows."""

    _undaunted_applied: list[Any] | None = None

    def _execute(self, statement: Any) -> Any:
        own_way = self._batch or self._connection or self._conditional or self._if_not_exists or self._if_exists
        try:
            result = self._undaunted_their_way(statement) if own_way else execute(self, statement)
        except Exception as error:
            if self._undaunted_applied:
                tell(error, self._undaunted_applied, statement, remedy="Run again only what is missing.")
            raise
        if self._undaunted_applied is not None:
            self._undaunted_applied.append(statement)
        return result

    def _undaunted_their_way(self, statement: Any) -> Any:
        """Execute a statement as cqlengine does; the session is told whose it is all the same."""
        if self._batch:
            self._join(self._batch)
        token = ORIGIN.set(Origin(self.model, statement))
        try:
            return super()._execute(statement)
        finally:
            ORIGIN.reset(token)

    def _join(self, batch: Any) -> None:
        """Have the batch go where the model lives: cqlengine would send it to the default connection."""
        connection = self._connection or self.model._get_connection()
        if not batch._connection:
            batch._connection = connection
        elif connection and connection != batch._connection and not batch._connection_explicit:
            raise CQLEngineException("BatchQuery queries must be executed on the same connection")

    def update(self, **values: Any) -> None:
        """As cqlengine's. It is up to two statements; when the second fails, the error says that one was applied."""
        if not self._batch:
            self._undaunted_applied = []
        try:
            super().update(**values)
        finally:
            self._undaunted_applied = None

    def _execute_query(self) -> None:
        if self._batch:
            super()._execute_query()  # which refuses it
        elif self._result_cache is None:
            self._begin_rows()

    def _begin_rows(self) -> None:
        # The rows themselves in place of cqlengine's generator over them: after an error that one is at its end, so
        # whoever iterates again would see only the rows before it, and take them for all.
        self._result_generator = iter(self._execute(self._select_query()))
        self._result_cache: Any = []
        self._construct_result = self._maybe_inject_deferred(self._get_result_constructor())
        if self._materialize_results or self._distinct_fields:
            self._fill_result_cache()

    def _fill_result_cache_to_idx(self, idx: int) -> None:
        at: int | None = self._result_idx
        if at is not None and at >= idx:
            return  # they are there
        try:
            super()._fill_result_cache_to_idx(idx)
        except StopIteration:
            raise
        except Exception:
            self._result_idx: int | None = (
                self._result_idx or 0
            ) - 1  # the row that did not come is the next one again
            raise


class GuardedDML(DMLQuery):  # type: ignore[misc]  # cqlengine is untyped
    """cqlengine's query of one instance, made for one call, which says what it executes."""

    _undaunted_applied: tuple[Any, ...] = ()

    def _execute(self, statement: Any) -> Any:
        own_way = self._batch or self._conditional or self._if_not_exists or self._if_exists
        own_way = own_way or (self.instance is not None and self.instance._connection)
        try:
            result = self._undaunted_their_way(statement) if own_way else execute(self, statement)
        except Exception as error:
            if self._undaunted_applied:
                tell(error, self._undaunted_applied, statement, remedy="Save it again for what is missing.")
                keep(self.instance, self._undaunted_applied)
            raise
        if not self._batch:
            self._undaunted_applied += (statement,)
        return result

    def _undaunted_their_way(self, statement: Any) -> Any:
        """Execute a statement as cqlengine does; the session is told whose it is all the same."""
        token = ORIGIN.set(Origin(self.model, statement))
        try:
            return super()._execute(statement)
        finally:
            ORIGIN.reset(token)


def _name_of(model: Any) -> Any:
    return place_of(model).name


class ModelMixin:
    """Makes a cqlengine model that has a base of its own undaunted: ``class Product(ModelMixin, Base)``.

    Attributes:
        __undaunted__: Which cluster the model lives in and what bounds its statements: ``{"cluster": "catalog",
            "profile": "web", "retry.deadline": "2s", "idempotent": True}``, each key optional. Without a cluster the
            model keeps its ``__connection__``.
    """

    __undaunted__: ClassVar[Mapping[str, Any]]
    __keyspace__: Any
    __queryset__ = GuardedQuerySet
    __dmlquery__ = GuardedDML
    _connection: Any

    def _undaunted_instance_connection(self) -> Any:
        return self._connection or place_of(type(self)).name

    _get_connection = models.hybrid_classmethod(_name_of, _undaunted_instance_connection)

    @classmethod
    def _get_keyspace(cls) -> Any:
        """The model's keyspace, else that of its cluster, else cqlengine's default."""
        if cls.__keyspace__:
            return cls.__keyspace__
        try:
            return place_of(cls).keyspace or models.DEFAULT_KEYSPACE
        except ConfigurationError:
            if not seams.is_defining_model():
                raise
            return None  # of a model with types it is asked at import, which may be before there are settings


class Model(ModelMixin, models.Model):  # type: ignore[misc]  # cqlengine is untyped
    """`cassandra.cqlengine.models.Model`, kept undaunted."""

    __abstract__ = True

    if TYPE_CHECKING:
        objects: ClassVar[Any]
