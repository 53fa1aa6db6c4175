"""One cluster for the whole run, with tables; each test begins with every node well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import orm
from tests.integration.sqlalchemy.sides import Plain
from tests.integration.sqlalchemy.tables import Tables, define, make_tables

import undaunted
from undaunted.sqlalchemy import DeclarativeBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from undaunted.lab import PostgresLab


@pytest.fixture(scope="session")
def filled(postgresql_lab: PostgresLab) -> PostgresLab:
    """The cluster of the run with the tables of these tests, and the rows that are only read."""

    class Base(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    postgresql_lab.heal()
    make_tables(postgresql_lab.url_of(postgresql_lab.primary()), define(Base))
    return postgresql_lab


@pytest.fixture
def lab(filled: PostgresLab, healthy_postgresql_lab: PostgresLab) -> PostgresLab:
    del filled  # once for all
    return healthy_postgresql_lab


@pytest.fixture
def settings(lab: PostgresLab) -> Callable[..., dict[str, Any]]:
    """The settings of the lab as the cluster ``ledger``, with what a test wants otherwise."""

    def make(**changes: Any) -> dict[str, Any]:
        made = lab.settings_for("ledger")
        made["clusters"]["ledger"] |= changes
        return made

    return make


@pytest.fixture
def configure(settings: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Tables]]:
    """Declares the cluster ``ledger`` to undaunted, and forgets it after the test."""

    def declare(**changes: Any) -> Tables:
        class Base(DeclarativeBase):
            __undaunted__ = {"cluster": "ledger"}

        undaunted.configure(settings(**changes))
        return define(Base)

    try:
        yield declare
    finally:
        undaunted.close()


@pytest.fixture
def ledger(configure: Callable[..., Tables]) -> Tables:
    """Models of undaunted, with the default settings."""
    return configure()


@pytest.fixture
def plain(lab: PostgresLab) -> Iterator[Plain]:
    """The same models on SQLAlchemy's own base and engine."""

    class Base(orm.DeclarativeBase):
        pass

    side = Plain(lab.url, define(Base))
    try:
        yield side
    finally:
        side.engine.dispose()
