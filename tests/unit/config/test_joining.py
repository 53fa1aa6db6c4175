"""Several applications in one process: the union of their settings, and what stands against it."""

from __future__ import annotations

from typing import Any

import pytest

from undaunted.config import Settings, joined, load
from undaunted.errors import ConfigurationError

ORDERS: dict[str, Any] = {"backend": "mongodb", "nodes": ["127.0.0.1:1"], "database": "shop"}
LEDGER: dict[str, Any] = {"backend": "sqlalchemy", "url": {"env": "LEDGER"}}
LEDGER_URL = "postgresql://u:sesame@127.0.0.1:1/d"


def settings(url: str = LEDGER_URL, **sections: Any) -> Settings:
    return load(sections, environ={"LEDGER": url}).settings


def mistakes(one: Settings, other: Settings) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        joined(one, other)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_the_union_has_what_either_has() -> None:
    one = settings(clusters={"orders": ORDERS}, profiles={"slow": {"retry.deadline": "60s"}})
    other = settings(clusters={"ledger": LEDGER}, models={"shop.models.Order": {"reads": "fallback"}})
    both = joined(one, other)
    assert list(both.clusters) == ["orders", "ledger"]
    assert {"slow", "web", "worker"} == set(both.profiles)
    assert set(both.models) == {"shop.models.Order"}


def test_the_same_cluster_in_both_is_one() -> None:
    one = settings(clusters={"orders": ORDERS, "ledger": LEDGER})
    assert list(joined(one, settings(clusters={"ledger": LEDGER})).clusters) == ["orders", "ledger"]


def test_every_contradiction_is_told_by_setting_and_without_a_value() -> None:
    one = settings(
        clusters={"orders": ORDERS, "ledger": LEDGER}, retry={"deadline": "3s"}, profiles={"slow": {"reads": "any"}}
    )
    other = settings(
        "postgresql://u:rosebud@127.0.0.1:1/d",
        clusters={"orders": {**ORDERS, "nodes": ["127.0.0.1:2"], "database": "other"}, "ledger": LEDGER},
        profiles={"slow": {"reads": "primary"}},
    )
    found = mistakes(one, other)
    assert set(found) == {"clusters.orders", "clusters.ledger", "profiles.slow", "retry"}
    assert "(nodes, database)" in found["clusters.orders"]
    assert "another name" in found["clusters.orders"]
    assert "undaunted.close()" in found["clusters.orders"]
    assert "(deadline)" in found["retry"]
    assert "[clusters.NAME.retry]" in found["retry"]
    assert not any(secret in text for text in found.values() for secret in ("sesame", "rosebud", "127.0.0.1"))


def test_another_backend_by_the_same_name_is_told() -> None:
    found = mistakes(settings(clusters={"orders": ORDERS}), settings(clusters={"orders": LEDGER}))
    assert "(backend)" in found["clusters.orders"]


def test_two_defaults_of_one_orm_are_a_mistake_of_the_union() -> None:
    one = settings(clusters={"orders": {**ORDERS, "default": True}})
    other = settings(clusters={"carts": {**ORDERS, "default": True}})
    assert set(mistakes(one, other)) == {"clusters.carts.default"}
