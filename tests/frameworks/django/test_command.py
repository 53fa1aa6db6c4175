"""``manage.py undaunted …`` is the command line of undaunted with Django's settings and models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from tests.frameworks.django.project import make_project

import undaunted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client

    from undaunted.testing.cql import FakeCassandra

MODELS = """
import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from undaunted.sqlalchemy import DeclarativeBase

class Base(DeclarativeBase):
    __undaunted__ = {"cluster": "ledger"}

class Payment(Base):
    __tablename__ = "payment"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


def test_as_a_program(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    project = make_project(
        tmp_path, undaunted={"clusters": {"ledger": {"backend": "sqlalchemy", "url": url}}}, models=MODELS
    )
    synced = project.manage("undaunted", "sync", "--json", "--settings", "settings")
    assert synced.returncode == 0, synced.stderr
    made = {(one["name"], one["outcome"]) for one in json.loads(synced.stdout)["synced"]}
    assert made == {("payment", "made"), ("undaunted_keys", "made")}
    helped = project.manage("undaunted", "--help")
    assert helped.returncode == 0
    for command in ("check", "config", "provision", "status", "sync"):
        assert command in helped.stdout
    assert "manage.py undaunted" in helped.stdout


def test_wrong_settings_are_a_sentence_and_exit_code_3(tmp_path: Path) -> None:
    """Although every other command of Django would end with the system checks first."""
    project = make_project(tmp_path, undaunted={"clusters": {"ledger": {"backend": "sqlalchemy"}}}, models="")
    ran = project.manage("undaunted", "check")
    assert ran.returncode == 3
    assert "clusters.ledger.url" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_check_asks_the_nodes(
    site: Callable[..., Client], fake_cassandra: FakeCassandra, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_cassandra.create_keyspace("shop")
    site(fake_cassandra.settings_for("catalog", keyspace="shop"))
    call_command("undaunted", "check")
    assert fake_cassandra.traffic
    fake_cassandra.kill(2)
    with pytest.raises(CommandError) as caught:
        call_command("undaunted", "check", "catalog")
    assert caught.value.returncode == 1
    assert fake_cassandra.nodes[1].address in "".join(capsys.readouterr())


def test_where_a_setting_came_from(
    site: Callable[..., Client], ledger: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    site(ledger)
    call_command("undaunted", "config", "show", "--origin", "--json")
    settings = json.loads(capsys.readouterr().out)["settings"]
    [origin] = [each["origin"] for each in settings if each["path"] == "clusters.ledger.backend"]
    assert origin == "UNDAUNTED in Django's settings"


def test_a_second_sync_finds_nothing_to_do(
    site: Callable[..., Client], ledger: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    site(ledger)
    call_command("undaunted", "sync")
    capsys.readouterr()
    call_command("undaunted", "sync")
    assert "unchanged  table undaunted_keys (ledger)" in capsys.readouterr().out


@pytest.mark.parametrize("cluster", ["leger", ""])
def test_a_cluster_that_is_not_there(site: Callable[..., Client], ledger: dict[str, Any], cluster: str) -> None:
    site(ledger)
    with pytest.raises(CommandError) as caught:
        call_command("undaunted", "sync", cluster)
    assert caught.value.returncode == 3


def test_a_cluster_that_is_down(
    site: Callable[..., Client], no_server: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    site(no_server).get("/bounds")  # which imports the models
    with undaunted.options(deadline="2s"), pytest.raises(CommandError) as caught:
        call_command("undaunted", "sync", "orders")
    assert caught.value.returncode in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
