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
        ("sqlite:///x", None, "url", "starts with 'sqlite'"),
    ],
)
def test_a_wrong_sqlalchemy_cluster(url: str, nodes: list[str] | None, path: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ledger(url, nodes=nodes)
    [problem] = caught.value.problems
    assert problem.path == f"clusters.ledger.{path}"
    assert message in problem.message
    assert "geheim" not in str(caught.value)


def test_a_mongodb_url_is_decoded() -> None:
    source = {"clusters": {"o": {"backend": "mongodb", "url": "mongodb://a/my%2Dshop?replicaSet=rs%30"}}}
    orders: Any = load(source, environ={}).settings.clusters["o"]
    assert (orders.database, orders.replica_set) == ("my-shop", "rs0")
