"""The declarative base and the mixin: what they declare, and that they are SQLAlchemy's in everything else."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm

import undaunted
from undaunted.errors import ConfigurationError
from undaunted.sqlalchemy import DeclarativeBase, Session, SessionMixin
from undaunted.sqlalchemy.declared import cluster_declared, policy_in_force
from undaunted.sqlalchemy.targets import cluster_name, cluster_of

KEYS = "undaunted_keys"


def test_each_base_has_a_registry_and_a_metadata_of_its_own() -> None:
    class One(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    class Two(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    assert One.metadata is not Two.metadata
    assert One.registry is not Two.registry
    assert issubclass(One, DeclarativeBase)
    assert issubclass(One, orm.DeclarativeBase)
    assert list(One.metadata.tables) == list(Two.metadata.tables) == [KEYS]


def test_the_metadata_of_the_application_is_kept() -> None:
    named = sa.MetaData(schema="bank")

    class Base(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}
        metadata = named

    assert Base.metadata is named
    assert list(named.tables) == [f"bank.{KEYS}"]


def test_models_are_mapped_as_with_sqlalchemy() -> None:
    class Base(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}
        type_annotation_map = {str: sa.String(40)}

    class Account(Base):
        __tablename__ = "accounts"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str]
        entries: orm.Mapped[list[Entry]] = orm.relationship(back_populates="account")

    class Entry(Base):
        __tablename__ = "entries"
        __undaunted__ = {"profile": "web"}
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        account_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("accounts.id"))
        account: orm.Mapped[Account] = orm.relationship(back_populates="entries")

    account = Account(id=1, name="a")
    assert account.entries == []
    assert Account.__table__.c.name.type.length == 40
    assert cluster_declared(Entry) == "ledger"


def test_dataclasses() -> None:
    class Base(orm.MappedAsDataclass, DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    class Account(Base):
        __tablename__ = "accounts"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str] = orm.mapped_column(default="a")

    assert repr(Account(id=1)).endswith("Account(id=1, name='a')")


def test_an_abstract_base_between() -> None:
    class Base(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    class Dated(Base):
        __abstract__ = True
        __undaunted__ = {"cluster": "archive"}

    class Account(Dated):
        __tablename__ = "accounts"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    assert cluster_declared(Account) == "archive"
    assert cluster_declared(Base) == "ledger"


def test_the_mixin_for_a_base_of_the_application() -> None:
    class Before(SessionMixin, orm.DeclarativeBase):
        __undaunted__ = {"cluster": "ledger"}

    class Behind(orm.DeclarativeBase, SessionMixin):
        __undaunted__ = {"cluster": "ledger"}

    class Old(SessionMixin, metaclass=orm.DeclarativeMeta):
        __abstract__ = True
        __undaunted__ = {"cluster": "ledger"}
        registry = orm.registry()
        metadata = registry.metadata

    for base in (Before, Behind, Old):
        assert list(base.metadata.tables) == [KEYS]
        with base.session() as session:
            assert type(session) is Session
            assert not session.readonly
        with base.session(readonly=True, expire_on_commit=False) as session:
            assert session.readonly
            assert not session.expire_on_commit


def test_a_base_that_declares_nothing_has_no_table_of_keys() -> None:
    class Base(DeclarativeBase):
        pass

    class Account(Base):
        __tablename__ = "accounts"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    assert list(Base.metadata.tables) == ["accounts"]
    assert cluster_declared(Account) is None


def test_a_wrong_declaration_is_refused_where_the_class_stands() -> None:
    with pytest.raises(ConfigurationError, match=r"Base.__undaunted__.clustr: unknown setting; did you mean 'cluster'"):

        class Base(DeclarativeBase):
            __undaunted__ = {"clustr": "ledger"}


def two_clusters(**more: Any) -> None:
    one = {"backend": "sqlalchemy", "url": "sqlite://"}
    undaunted.configure({"clusters": {"ledger": one, "archive": one}} | more)


def test_the_settings_stand_over_the_class() -> None:
    class Base(DeclarativeBase):
        __undaunted__ = {"cluster": "ledger", "retry.deadline": "3s"}

    class Account(Base):
        __tablename__ = "accounts"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)

    path = f"{Account.__module__}.{Account.__qualname__}"
    two_clusters(models={path: {"cluster": "archive", "retry": {"attempts": 7}}})
    assert cluster_name(Base) == "ledger"
    assert cluster_name(Account) == "archive"
    policy = policy_in_force(Account, cluster_of(Account).guard)
    assert (policy.attempts, policy.deadline_s) == (7, 3.0)
    with undaunted.options(profile="web"):
        assert policy_in_force(Account, cluster_of(Account).guard).deadline_s == 5.0
    two_clusters()
    assert cluster_name(Account) == "ledger"
    assert policy_in_force(Account, cluster_of(Account).guard).attempts == 3
