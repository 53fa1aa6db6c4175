"""Model bases: cqlengine's own, which find their cluster by declaration and tell the session what they are doing."""

# ruff: noqa: SLF001  (cqlengine has no public names for what a queryset knows of its batch and its model)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from cassandra.cqlengine import models
from cassandra.cqlengine.query import DMLQuery, ModelQuerySet

from undaunted.cassandra import seams
from undaunted.cassandra.places import place_of
from undaunted.cassandra.scope import ORIGIN, Origin
from undaunted.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GuardedDML", "GuardedQuerySet", "Model", "ModelMixin"]


class GuardedQuerySet(ModelQuerySet):  # type: ignore[misc]  # cqlengine is untyped
    """cqlengine's queryset, which says what it executes and never mistakes an error for the end of the rows."""

    def _execute(self, statement: Any) -> Any:
        if self._batch and not self._batch._connection:
            # cqlengine would send it to the default connection, wherever the model lives.
            self._batch._connection = self._connection or self.model._get_connection()
        token = ORIGIN.set(Origin(self.model, statement))
        try:
            return super()._execute(statement)
        finally:
            ORIGIN.reset(token)

    def _execute_query(self) -> None:
        if self._batch or self._result_cache is not None:
            super()._execute_query()
            return
        # The rows themselves in place of cqlengine's generator over them: after an error that one is at its end, so
        # whoever iterates again would see only the rows before it, and take them for all.
        self._result_generator = iter(self._execute(self._select_query()))
        self._result_cache: Any = []
        self._construct_result = self._maybe_inject_deferred(self._get_result_constructor())
        if self._materialize_results or self._distinct_fields:
            self._fill_result_cache()

    def _fill_result_cache_to_idx(self, idx: int) -> None:
        try:
            super()._fill_result_cache_to_idx(idx)
        except StopIteration:
            raise
        except Exception:
            self._result_idx: int = (self._result_idx or 0) - 1  # the row that did not come is the next one again
            raise


class GuardedDML(DMLQuery):  # type: ignore[misc]  # cqlengine is untyped
    """cqlengine's query of one instance, which says what it executes."""

    def _execute(self, statement: Any) -> Any:
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
