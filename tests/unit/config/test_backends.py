"""What the schema of each backend says beyond its keys."""

from __future__ import annotations

from typing import Any

import pytest

import undaunted.config
from undaunted.config import load
from undaunted.errors import ConfigurationError


def ledger(url: str, **more: Any) -> Any:
    source = {"clusters": {"ledger": {"backend": "sqlalchemy", "url": {"env": "URL"}, **more}}}
    return load(source, environ={"URL": url}).settings.clusters["ledger"]


def test_a_backend_is_imported_when_it_is_named() -> None:
    assert undaunted.config.SQLAlchemySettings.__name__ == "SQLAlchemySettings"
    with pytest.raises(AttributeError, match="has no attribute 'OracleSettings'"):
        undaunted.config.OracleSettings  # noqa: B018


def test_the_node_of_a_sqlalchemy_url() -> None:
    assert ledger("postgresql+psycopg://app@pg1/ledger").nodes == ("pg1:5432",)
    assert ledger("postgresql://app@pg1/ledger", nodes=["pg1", "pg2"]).nodes == ("pg1:5432", "pg2:5432")


@pytest.mark.parametrize(
    ("url", "nodes", "path", "message"),
    [
        ("postgresql://app@/ledger", None, "nodes", "names no node, and neither does the url"),
        ("postgresql://app@pg9/ledger", ["pg1"], "nodes", "but the url names pg9:5432"),
        ("postgresql://app@pg1:geheim/ledger", None, "url", "has as host number 1 what is not an address"),
        ("postgres://app@pg1/ledger", None, "url", "starts with 'postgres', which SQLAlchemy does not know"),
        ("postgresql+asyncpg://app@pg1/ledger", None, "url", "names the driver 'asyncpg'; PostgreSQL is kept through"),
        ("postgresql://app@/ledger?host=pg1,pg2", ["pg1"], "nodes", "but the url names pg1:5432, pg2:5432"),
        ("postgresql://app@/ledger?host=geheim:x", None, "url", "has as host=1 what is not an address"),
        ("postgresql://app@pg1/ledger?target_session_attrs=any", None, "url", "its option target_session_attrs is set"),
        ("sqlite:///x", ["pg1"], "nodes", "are known of PostgreSQL only, and the url starts with 'sqlite'"),
    ],
)
def test_a_wrong_sqlalchemy_cluster(url: str, nodes: list[str] | None, path: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ledger(url, nodes=nodes)
    [problem] = caught.value.problems
    assert problem.path == f"clusters.ledger.{path}"
    assert message in problem.message
    assert "geheim" not in str(caught.value)


def test_the_nodes_of_a_sqlalchemy_url_with_several() -> None:
    assert ledger("postgresql://app@/ledger?host=pg1:6000&host=pg2").nodes == ("pg1:6000", "pg2:5432")
    assert ledger("postgresql://app@/ledger?host=pg1,pg2&port=6000,6001").nodes == ("pg1:6000", "pg2:6001")


def test_another_database_than_postgresql_has_no_nodes() -> None:
    shop = ledger("mysql+pymysql://app@db1:3306/shop")
    assert (shop.is_postgresql, shop.nodes) == (False, ())
    assert ledger("sqlite:///x").is_postgresql is False
    assert ledger("postgresql://app@pg1/ledger").is_postgresql is True


def test_a_heartbeat_that_leaves_no_room_for_a_late_answer() -> None:
    with pytest.raises(ConfigurationError, match=r"give twice the interval, 0.4 s"):
        ledger("postgresql://app@pg1/ledger", heartbeat={"timeout": 0.3})


def test_options_of_create_engine_that_a_setting_decides() -> None:
    with pytest.raises(ConfigurationError, match=r"set by undaunted itself; set clusters\.ledger\.pool\.si"):
        ledger("postgresql://app@pg1/ledger", options={"pool_size": 3})
    assert ledger("postgresql://app@pg1/ledger", options={"echo": True}).options == {"echo": True}


def test_a_mongodb_url_is_decoded() -> None:
    source = {"clusters": {"o": {"backend": "mongodb", "url": "mongodb://a/my%2Dshop?replicaSet=rs%30"}}}
    orders: Any = load(source, environ={}).settings.clusters["o"]
    assert (orders.database, orders.replica_set) == ("my-shop", "rs0")
