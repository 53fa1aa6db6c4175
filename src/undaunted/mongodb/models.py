"""The document bases and the mixin: MongoEngine's own, kept undaunted."""

from __future__ import annotations

import contextvars
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import mongoengine
from mongoengine import connection as registered
from mongoengine.base.metaclasses import TopLevelDocumentMetaclass
from mongoengine.connection import DEFAULT_CONNECTION_NAME
from mongoengine.context_managers import set_write_concern
from mongoengine.fields import ObjectIdField

from undaunted.mongodb import connection
from undaunted.mongodb.errors import OutcomeUnknown
from undaunted.mongodb.memory import current_memory
from undaunted.mongodb.routing import ROUTES, ContextMeta, route_of, set_route

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from undaunted.mongodb.database import Collection, Database
    from undaunted.mongodb.memory import Memory

__all__ = ["Document", "DocumentMixin", "DynamicDocument", "DynamicEmbeddedDocument", "EmbeddedDocument"]

EmbeddedDocument = mongoengine.EmbeddedDocument
DynamicEmbeddedDocument = mongoengine.DynamicEmbeddedDocument


class DocumentMetaclass(TopLevelDocumentMetaclass):  # type: ignore[misc]  # MongoEngine is untyped
    """Keeps a class's database, collection and name apart for each context (see `undaunted.mongodb.routing`)."""

    def __new__(mcs, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> Any:
        if not any(issubclass(base, mongoengine.Document) for base in bases):
            return type.__new__(mcs, name, bases, attrs)  # a mixin is no document
        _check_inheritance(name, bases, attrs)
        declared = attrs.get("__undaunted__")
        if declared is not None:
            alias = connection.alias_of(declared, where=f"{attrs.get('__module__')}.{name}")
            if alias is not None:
                attrs["meta"] = {**attrs.get("meta", {}), "db_alias": alias}
        made = super().__new__(mcs, name, bases, attrs)
        type.__setattr__(made, "_undaunted_collections", {})
        type.__setattr__(made, "_undaunted_home", None)
        type.__setattr__(made, "_meta", ContextMeta(made, made._meta))
        return made

    @property
    def _collection(cls) -> Collection | None:  # noqa: N805  # a class is the instance of a metaclass
        """The collection in use in this context, or None before its first use there."""
        found: Collection | None = cls._undaunted_current()
        return found

    @_collection.setter
    def _collection(cls, value: Collection | None) -> None:  # noqa: N805
        """MongoEngine forgets a collection by setting None; what it sets back later is known here anyway."""
        if value is None and "_undaunted_collections" in cls.__dict__:
            cls._undaunted_forget()

    def __setattr__(cls, name: str, value: Any) -> None:  # noqa: N805
        if name != "_get_collection_name" or "_undaunted_collections" not in cls.__dict__:
            super().__setattr__(name, value)
        elif isinstance(value, classmethod):  # switch_collection comes
            set_route(cls, route_of(cls).entering(value.__func__(cls)))
        else:  # and goes
            set_route(cls, route_of(cls).leaving())


def _check_inheritance(name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> None:
    """MongoEngine's two rules for sub-documents, which it applies to classes of its own metaclass only.

    Raises:
        ValueError: An abstract document has a base that is not abstract.
    """
    parents = [b for base in bases for b in base.__mro__ if isinstance(b, DocumentMetaclass) and hasattr(b, "_meta")]
    if not parents:
        return
    meta: dict[str, Any] = attrs.get("meta", {})
    if meta.get("abstract") and not parents[0]._meta.get("abstract", False):  # noqa: SLF001
        raise ValueError("Abstract document cannot have non-abstract base")
    if "collection" in meta and not parents[0]._meta.get("abstract", True):  # noqa: SLF001
        warnings.warn(f"Trying to set a collection on a subclass ({name})", SyntaxWarning, stacklevel=4)
        attrs["meta"] = {key: value for key, value in meta.items() if key != "collection"}


class _InstanceCollection:
    """What ``document._collection`` reads; an instance that was switched by itself has its own."""

    def __get__(self, instance: Any, owner: Any) -> Any:
        return owner._undaunted_current()  # noqa: SLF001


if TYPE_CHECKING:

    class _Model:
        """What MongoEngine's documents bring to the mixin."""

        _meta: ClassVar[dict[str, Any]]
        _fields: ClassVar[dict[str, Any]]
        _created: bool
        ensure_indexes: ClassVar[Callable[[], None]]
        _get_capped_collection: ClassVar[Callable[[], Any]]
        _get_timeseries_collection: ClassVar[Callable[[], Any]]

        def __setitem__(self, name: str, value: Any) -> None: ...
        def _get_changed_fields(self) -> list[str]: ...
        def _mark_as_changed(self, key: str) -> None: ...
        def _save_create(self, doc: dict[str, Any], force_insert: Any, write_concern: dict[str, Any]) -> Any: ...
        def save(self, *args: Any, **kwargs: Any) -> Any: ...
        def modify(self, *args: Any, **kwargs: Any) -> Any: ...
        def reload(self, *args: Any, **kwargs: Any) -> Any: ...

else:
    _Model = object


class DocumentMixin(_Model, metaclass=DocumentMetaclass):
    """Makes a MongoEngine document that has a base of its own undaunted: ``class Order(DocumentMixin, Base)``.

    Attributes:
        __undaunted__: Which cluster the class lives in and what bounds its operations: ``{"cluster": "orders",
            "profile": "web", "reads": "fallback", "retry.deadline": "2s", "idempotent": True}``, each key optional.
            Without a cluster the class keeps its ``meta["db_alias"]``.
    """

    __undaunted__: ClassVar[Mapping[str, Any]]
    _undaunted_collections: ClassVar[dict[tuple[str, str], Collection]]
    _undaunted_home: ClassVar[tuple[str, Database, Collection] | None]
    _collection = _InstanceCollection()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        memory = current_memory.get()
        if memory is not None:
            memory.born(self)
        super().__init__(*args, **kwargs)

    # -- where it lives -------------------------------------------------------------------------

    @classmethod
    def _get_collection_name(cls) -> Any:
        route = route_of(cls)
        return route.collections[-1] if route.collections else cls._meta.get("collection")

    @classmethod
    def _get_db(cls) -> Database:
        return connection.database(cls._undaunted_alias())

    @classmethod
    def _undaunted_alias(cls) -> str:
        alias: str = cls._meta.get("db_alias", DEFAULT_CONNECTION_NAME)
        return alias

    @classmethod
    def _undaunted_current(cls) -> Collection | None:
        """The collection of this context, if it has been used and its client is still the registered one."""
        is_at_home = cls not in ROUTES.get()
        home = cls._undaunted_home
        if is_at_home and home is not None and registered._dbs.get(home[0]) is home[1]:  # noqa: SLF001
            return home[2]
        alias, name = cls._undaunted_alias(), cls._get_collection_name()
        found = cls._undaunted_collections.get((alias, name))
        if found is None or not connection.is_current(alias, found):
            return None
        # A name that the application makes up by itself may be another one next time.
        if is_at_home and getattr(cls._get_collection_name, "__func__", None) is _OWN_NAME:
            cls._undaunted_home = (alias, registered._dbs[alias], found)  # noqa: SLF001
        return found

    @classmethod
    def _undaunted_forget(cls) -> None:
        cls._undaunted_home = None
        cls._undaunted_collections.pop((cls._undaunted_alias(), cls._get_collection_name()), None)

    @classmethod
    def _get_collection(cls) -> Collection | None:
        """The collection of this context; makes its indexes on first use, as MongoEngine does."""
        home = cls._undaunted_home
        if home is not None and registered._dbs.get(home[0]) is home[1] and cls not in ROUTES.get():  # noqa: SLF001
            return home[2]  # as `_undaunted_current` would say; MongoEngine asks this on each operation
        found = cls._undaunted_current()
        return cls._undaunted_arrive() if found is None else found

    @classmethod
    def _undaunted_arrive(cls) -> Collection | None:
        """The collection of this context, on its first use."""
        db = cls._undaunted_place()
        alias, name = cls._undaunted_alias(), cls._get_collection_name()
        if name is None:
            return None  # an abstract document, as in MongoEngine
        made = cls._undaunted_make(db, name)
        policy = connection.model_policy(alias, cls)
        if policy is not None:
            made = made.under(policy)
        if not cls._meta.get("auto_create_index", True):
            cls._undaunted_collections[alias, name] = made
        elif db.client.is_primary:
            cls._undaunted_collections[alias, name] = made
            try:
                # outside of any transaction that is open here: a server makes no index within one
                contextvars.Context().run(_in_route, cls, alias, name, cls.ensure_indexes)
            except BaseException:
                cls._undaunted_collections.pop((alias, name), None)
                raise
        return made  # with no primary to be had, it is asked again next time

    @classmethod
    def _undaunted_place(cls) -> Database:
        """The database, in the cluster where ``[models]`` puts the class if it says so."""
        db = cls._get_db()
        declared = dict.get(cls._meta, "db_alias", DEFAULT_CONNECTION_NAME)
        place = connection.place_of(cls, declared)
        if place == declared or route_of(cls).alias is not None:
            return db
        dict.__setitem__(cls._meta, "db_alias", place)
        return cls._get_db()

    @classmethod
    def _undaunted_make(cls, db: Database, name: str) -> Collection:
        from undaunted.mongodb.database import Collection  # noqa: PLC0415

        meta = cls._meta
        if meta.get("max_size") or meta.get("max_documents"):
            return Collection.of(cls._get_capped_collection())
        if meta.get("timeseries"):
            return Collection.of(cls._get_timeseries_collection())
        return db[name]

    # -- what it was before ---------------------------------------------------------------------

    def _mark_as_changed(self, key: str) -> None:
        memory = current_memory.get()
        if memory is not None and not memory.knows(self):
            field = self._fields.get(key.split(".", 1)[0])
            if isinstance(field, mongoengine.fields.ComplexBaseField) or "." in key:
                memory.met_changed(self)
            memory.remember(self)
        super()._mark_as_changed(key)

    def _remember(self, memory: Memory) -> None:
        if memory.knows(self):
            return
        if not self._created and self._get_changed_fields():
            memory.met_changed(self)
        memory.remember(self)

    def save(self, *args: Any, **kwargs: Any) -> Any:
        """As MongoEngine's. A new document's ``_id`` is made before the first attempt, and stays if that is unknown."""
        if (memory := current_memory.get()) is not None:
            self._remember(memory)
        return super().save(*args, **kwargs)

    def modify(self, *args: Any, **kwargs: Any) -> Any:
        """As MongoEngine's."""
        if (memory := current_memory.get()) is not None:
            self._remember(memory)
        return super().modify(*args, **kwargs)

    def reload(self, *args: Any, **kwargs: Any) -> Any:
        """As MongoEngine's."""
        if (memory := current_memory.get()) is not None:
            self._remember(memory)
        return super().reload(*args, **kwargs)

    def _save_create(self, doc: dict[str, Any], force_insert: Any, write_concern: dict[str, Any]) -> Any:
        id_name = self._meta["id_field"]
        if "_id" in doc or not isinstance(self._fields[id_name], ObjectIdField):
            return super()._save_create(doc, force_insert, write_concern)
        try:
            with set_write_concern(self._get_collection(), write_concern) as collection:
                return collection.insert_one(doc).inserted_id
        except OutcomeUnknown:
            # The server may have it, under the _id that the driver made before it sent anything: a second save()
            # must meet this document and not make another.
            self[id_name] = doc["_id"]
            raise


_OWN_NAME = DocumentMixin.__dict__["_get_collection_name"].__func__


def _in_route(document_class: Any, alias: str, name: str, action: Any) -> None:
    """Run `action` with the class routed as it is here, in a context that holds nothing else of the caller's."""
    if alias != document_class._undaunted_alias():  # noqa: SLF001
        document_class._meta["db_alias"] = alias  # noqa: SLF001
    if name != document_class._get_collection_name():  # noqa: SLF001
        set_route(document_class, route_of(document_class).entering(name))
    action()


class Document(DocumentMixin, mongoengine.Document):  # type: ignore[misc]  # MongoEngine is untyped
    """`mongoengine.Document`, kept undaunted."""

    meta: ClassVar[dict[str, Any]] = {"abstract": True}

    if TYPE_CHECKING:
        objects: ClassVar[Any]


class DynamicDocument(Document, mongoengine.DynamicDocument):  # type: ignore[misc]  # MongoEngine is untyped
    """`mongoengine.DynamicDocument`, kept undaunted."""

    meta: ClassVar[dict[str, Any]] = {"abstract": True}
