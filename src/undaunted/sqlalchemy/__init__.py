"""SQLAlchemy kept undaunted: sessions, units of work that happen exactly once, and the engines beneath them.

May import `undaunted.backend` and what that stands on, SQLAlchemy and psycopg; never another backend, and the registry
only through `undaunted.backend.directory`.
"""

from __future__ import annotations

from undaunted.sqlalchemy.engines import async_engine, engine
from undaunted.sqlalchemy.errors import (
    BudgetExhausted,
    CommitRolledBack,
    CredentialsRefused,
    DeadlineExceeded,
    Exhausted,
    NoNodeAvailable,
    OutcomeUnknown,
    UnusableCluster,
)
from undaunted.sqlalchemy.keys import KeyTableMissing, key_table
from undaunted.sqlalchemy.models import DeclarativeBase, SessionMixin
from undaunted.sqlalchemy.session import AsyncSession, Session, async_sessionmaker, sessionmaker
from undaunted.sqlalchemy.steps import attempts
from undaunted.sqlalchemy.sweeps import sweep
from undaunted.sqlalchemy.tokens import Token, reading_own_writes, token
from undaunted.sqlalchemy.units import run_in_transaction, unit_of_work

__all__ = [
    "AsyncSession",
    "BudgetExhausted",
    "CommitRolledBack",
    "CredentialsRefused",
    "DeadlineExceeded",
    "DeclarativeBase",
    "Exhausted",
    "KeyTableMissing",
    "NoNodeAvailable",
    "OutcomeUnknown",
    "Session",
    "SessionMixin",
    "Token",
    "UnusableCluster",
    "async_engine",
    "async_sessionmaker",
    "attempts",
    "engine",
    "key_table",
    "reading_own_writes",
    "run_in_transaction",
    "sessionmaker",
    "sweep",
    "token",
    "unit_of_work",
]
