"""The base of all tables of the shop that are on PostgreSQL."""

from undaunted.sqlalchemy import DeclarativeBase


class Base(DeclarativeBase):
    """The one place where their cluster is named."""

    __undaunted__ = {"cluster": "ledger"}  # noqa: RUF012
