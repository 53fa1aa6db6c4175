"""The sessions of an application: `Session`, that for asyncio, and their makers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from sqlalchemy import orm
from sqlalchemy.ext import asyncio as sa_asyncio
from sqlalchemy.util import concurrency

from undaunted.sqlalchemy.bound import sorted_out
from undaunted.sqlalchemy.routed import Session

if TYPE_CHECKING:
    from undaunted.sqlalchemy.tokens import Token

__all__ = ["AsyncSession", "Session", "async_sessionmaker", "sessionmaker"]

S = TypeVar("S", bound=orm.Session)
A = TypeVar("A", bound=sa_asyncio.AsyncSession)


class sessionmaker(orm.sessionmaker[S]):  # noqa: N801  # named like SQLAlchemy's
    """`sqlalchemy.orm.sessionmaker` for our sessions: ``sessionmaker(Base, readonly=True)``.

    Args:
        target: As `Session` takes it.
        class_: The class of the sessions.
        **options: For each session; `readonly` and `token` among them.
    """

    @overload
    def __init__(self, target: Any = None, *, class_: type[S], **options: Any) -> None: ...

    @overload
    def __init__(self: sessionmaker[Session], target: Any = None, **options: Any) -> None: ...

    def __init__(self, target: Any = None, *, class_: Any = Session, **options: Any) -> None:
        bind = options.pop("bind", None)
        super().__init__(bind, class_=class_, **options)
        if target is not None:
            self.kw["target"] = target


class _BeneathAsync(Session):
    """The session that works for an `AsyncSession`, in its greenlets."""

    _undaunted_is_async = True


class AsyncSession(sa_asyncio.AsyncSession):
    """`sqlalchemy.ext.asyncio.AsyncSession`, bound to a cluster; see `Session`.

    Args:
        target: As for `Session`.
        readonly: Whether it only reads.
        token: A position that a readonly session must not be behind.
        bind: As SQLAlchemy's; it goes before the target.
        **options: Everything else that `sqlalchemy.ext.asyncio.AsyncSession` takes.

    Raises:
        TypeError: As `Session`.
        ValueError: The token is none.
    """

    sync_session_class: type[orm.Session] = _BeneathAsync

    def __init__(
        self,
        target: Any = None,
        *,
        readonly: bool = False,
        token: Token | str | None = None,
        bind: Any = None,
        **options: Any,
    ) -> None:
        target, bind = sorted_out(target, bind)
        super().__init__(bind, target=target, readonly=readonly, token=token, **options)

    async def token(self) -> Token | None:
        """As `Session.token`, without blocking the event loop."""
        return await concurrency.greenlet_spawn(cast("Session", self.sync_session).token)


class async_sessionmaker(sa_asyncio.async_sessionmaker[A]):  # noqa: N801  # named like SQLAlchemy's
    """`sqlalchemy.ext.asyncio.async_sessionmaker` for our sessions; see `sessionmaker`."""

    @overload
    def __init__(self, target: Any = None, *, class_: type[A], **options: Any) -> None: ...

    @overload
    def __init__(self: async_sessionmaker[AsyncSession], target: Any = None, **options: Any) -> None: ...

    def __init__(self, target: Any = None, *, class_: Any = AsyncSession, **options: Any) -> None:
        bind = options.pop("bind", None)
        super().__init__(bind, class_=class_, **options)
        if target is not None:
            self.kw["target"] = target
