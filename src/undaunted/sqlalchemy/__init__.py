"""SQLAlchemy kept undaunted: sessions, units of work that happen exactly once, and the engines beneath them.

May import `undaunted.backend` and what that stands on, SQLAlchemy and psycopg; never another backend, and the registry
only through `undaunted.backend.directory`.
"""

from __future__ import annotations

from undaunted.sqlalchemy.models import DeclarativeBase, SessionMixin
from undaunted.sqlalchemy.session import AsyncSession, Session, async_sessionmaker, sessionmaker
from undaunted.sqlalchemy.tokens import Token, token

__all__ = [
    "AsyncSession",
    "DeclarativeBase",
    "Session",
    "SessionMixin",
    "Token",
    "async_sessionmaker",
    "sessionmaker",
    "token",
]
