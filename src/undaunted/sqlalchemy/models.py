"""The declarative base and the mixin: SQLAlchemy's own, which say in which cluster their classes live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sqlalchemy import orm

from undaunted.sqlalchemy import declared

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from undaunted.sqlalchemy.session import Session
    from undaunted.sqlalchemy.tokens import Token

__all__ = ["DECLARED_BY", "DeclarativeBase", "SessionMixin"]

DECLARED_BY = "undaunted"
"""Where a `sqlalchemy.MetaData` keeps the class that declared its cluster, for statements that name tables alone."""


class SessionMixin:
    """Makes a declarative base of the application's own undaunted: ``class Base(SessionMixin, orm.DeclarativeBase)``.

    Attributes:
        __undaunted__: Which cluster the classes live in and what bounds their calls: ``{"cluster": "ledger",
            "profile": "web", "reads": "replica", "retry.deadline": "2s"}``, each key optional. A class may say
            otherwise than its base.
    """

    __undaunted__: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)  # whereby a declarative base gets its metadata
        found = declared.check(cls)
        metadata: sa.MetaData | None = getattr(cls, "metadata", None)
        if found is None or metadata is None:
            return
        from undaunted.sqlalchemy.keys import key_table  # noqa: PLC0415  # it imports what imports this

        key_table(metadata)
        metadata.info.setdefault(DECLARED_BY, cls)

    @classmethod
    def session(cls, *, readonly: bool = False, token: Token | str | None = None, **options: Any) -> Session:
        """A session for this class; the same as `undaunted.sqlalchemy.Session` with the class as its target.

        Args:
            readonly: Whether it only reads, so that replicas may serve it.
            token: A position that it must not be behind, from another process.
            **options: For `sqlalchemy.orm.Session`.
        """
        from undaunted.sqlalchemy.session import Session  # noqa: PLC0415  # it imports this

        return Session(cls, readonly=readonly, token=token, **options)


if TYPE_CHECKING:

    class DeclarativeBase(SessionMixin, orm.DeclarativeBase):
        """SQLAlchemy's declarative base, kept undaunted."""

else:

    class _OwnRegistry(type(orm.MappedAsDataclass)):  # whose metaclass is a subclass of the base's
        """Makes each direct subclass of our base one of SQLAlchemy's too.

        SQLAlchemy gives a registry and a metadata to each direct subclass of its base. Were ours such a subclass, all
        bases of an application would share ours.
        """

        def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
            is_base = any(base.__dict__.get("_undaunted_makes_bases") for base in bases)
            if is_base and not any(issubclass(base, orm.DeclarativeBase) for base in bases):
                bases = (*bases, orm.DeclarativeBase)
            return super().__new__(mcs, name, bases, namespace, **options)

        def __init__(cls, name: str, _: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> None:
            super().__init__(name, cls.__bases__, namespace, **options)

    class DeclarativeBase(SessionMixin, metaclass=_OwnRegistry):
        """`sqlalchemy.orm.DeclarativeBase`, kept undaunted: ``class Base(DeclarativeBase)``.

        Each direct subclass has a registry and a metadata of its own, as with SQLAlchemy's; the table of keys with
        which units of work are settled is one of that metadata.

        Attributes:
            __undaunted__: Which cluster the classes live in and what bounds their calls (see `SessionMixin`).
        """

        _undaunted_makes_bases = True
